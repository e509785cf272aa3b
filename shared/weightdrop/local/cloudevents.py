"""CloudEvents as Eventarc sends them: binary form over HTTP, to loopback."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from weightdrop.core.deployment.triggers import MESSAGE_PUBLISHED


@dataclass(frozen=True, slots=True)
class Delivery:
    """One CloudEvent in binary form, ready to be posted.

    Attributes:
        id: The event's id; the same on every try.
        type: CloudEvents type.
        source: What it happened to.
        subject: Part of `source`, may be empty.
        time: When it happened.
        data: JSON text of the body.
        extensions: Further attributes ("bucket", …).
    """

    id: str
    type: str
    source: str
    subject: str
    time: datetime
    data: str
    extensions: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        """The HTTP headers of the binary form."""
        named = {
            "ce-specversion": "1.0",
            "ce-id": self.id,
            "ce-type": self.type,
            "ce-source": self.source,
            "ce-time": self.time.isoformat(),
            "content-type": "application/json",
        }
        if self.subject:
            named["ce-subject"] = self.subject
        return named | {f"ce-{key}": value for key, value in self.extensions.items()}


def published(
    *,
    project: str,
    topic: str,
    message_id: str,
    time: datetime,
    data: str,
    attributes: Mapping[str, str],
    ordering_key: str = "",
) -> Delivery:
    """A Pub/Sub message as Eventarc hands it to a function."""
    message: dict[str, object] = {
        "data": base64.b64encode(data.encode()).decode(),
        "attributes": dict(attributes),
        "messageId": message_id,
        "publishTime": time.isoformat(),
    }
    if ordering_key:
        message["orderingKey"] = ordering_key
    name = f"projects/{project}/subscriptions/{topic}-function"
    return Delivery(
        id=message_id,
        type=MESSAGE_PUBLISHED,
        source=f"//pubsub.googleapis.com/projects/{project}/topics/{topic}",
        subject="",
        time=time,
        data=json.dumps({"message": message, "subscription": name}),
    )
