"""The form in which a handler keeps a message that it can never handle.

The letter's body holds the reason, the topic the message came from, and the
message as Pub/Sub delivers it: enough to publish it anew, as it was.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from weightdrop.core.deployment.events import (
    DEAD_LETTERS_TOPIC,
    EVENTS_TOPIC,
    REQUESTS_TOPIC,
)
from weightdrop.core.deployment.record import Message

_TOPICS = "//pubsub.googleapis.com/projects/"

KNOWN = frozenset({EVENTS_TOPIC, REQUESTS_TOPIC})
"""Topics to which a letter may go back. What a letter says is not trusted."""


@dataclass(frozen=True, slots=True)
class Buried:
    """What a handler's letter holds.

    Attributes:
        reason: Why the message can never be handled.
        origin: Topic it came from; empty if it cannot go back there.
        ordering_key: Of the message.
        attributes: Of the message.
        data: Its body.
    """

    reason: str
    origin: str
    ordering_key: str
    attributes: Mapping[str, str]
    data: bytes


def bury(
    attributes: Mapping[str, object], data: object, *, reason: str, now: datetime
) -> Message:
    """The letter that keeps a delivered message.

    Args:
        attributes: Of the CloudEvent that brought it.
        data: Of the CloudEvent: message and subscription.
        reason: Why it can never be handled.
        now: The present.
    """
    body = {
        "reason": reason,
        "origin": _topic(attributes.get("source")),
        "message": data,
    }
    return Message(
        id=f"dead-{attributes.get('id', '')}",
        topic=DEAD_LETTERS_TOPIC,
        ordering_key="",
        type="",
        time=now,
        data=json.dumps(body, default=str),
    )


def _topic(source: object) -> str:
    text = source if isinstance(source, str) else ""
    project, _, topic = text.removeprefix(_TOPICS).partition("/topics/")
    return topic if text.startswith(_TOPICS) and "/" not in project else ""


def read(text: str) -> Buried | None:
    """What a letter holds; None if no handler of ours wrote it."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or not isinstance(body.get("reason"), str):
        return None
    origin = body.get("origin")
    delivered = _mapping(_mapping(body.get("message")).get("message"))
    data = _decoded(delivered.get("data"))
    return Buried(
        reason=body["reason"],
        origin=origin if origin in KNOWN and data is not None else "",
        ordering_key=str(delivered.get("orderingKey") or ""),
        attributes={
            str(name): str(value)
            for name, value in _mapping(delivered.get("attributes")).items()
        },
        data=data if data is not None else text.encode(),
    )


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _decoded(text: object) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
