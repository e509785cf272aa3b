"""What Firestore's documents hold: the record as JSON, and what is queried."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from weightdrop import codec
from weightdrop.core.deployment.record import Deployment, Message
from weightdrop.errors import StaleError

EVENTS = "events"

EXPIRES = "expires"
"""Field of an event after which Firestore's time-to-live policy removes it."""

EVENT_RETENTION = timedelta(days=90)
"""How long an event stays after it happened."""


def fields_of(deployment: Deployment, *, writes: int) -> dict[str, Any]:
    """What the document of a deployment holds.

    Args:
        deployment: The record.
        writes: How often it has been written, this time included.
    """
    # The nonce also makes each write a change: Firestore keeps the update time
    # of a document that is overwritten with the same content.
    codec.microseconds(deployment.updated)
    return {
        "record": codec.encode(deployment),
        "phase": deployment.phase.value,
        "updated": deployment.updated,
        "due": deployment.due,
        "serving": deployment.serving is not None,
        "writes": writes,
        "nonce": uuid.uuid4().hex,
    }


def event_document(
    reference: Any, event: Message, *, sequence: int
) -> tuple[Any, dict[str, Any]]:
    """Where an event is kept, and what its document holds.

    Args:
        reference: The deployment's document.
        event: The event.
        sequence: Its place among the deployment's events.
    """
    fields = {
        "record": codec.encode(event),
        "sequence": sequence,
        EXPIRES: event.time + EVENT_RETENTION,
    }
    return reference.collection(EVENTS).document(event.id), fields


def record_in(snapshot: Any) -> str:
    """The encoded record of a document; empty if there is none."""
    return str((snapshot.to_dict() or {}).get("record", ""))


def version_of(update_time: Any, writes: int) -> str:
    """What guards the next write of a document."""
    return f"{update_time.rfc3339()}/{writes}"


def read_version(version: str) -> tuple[Any, int]:
    """The update time and the number of writes of a version.

    Raises:
        StaleError: If nobody gave it out.
    """
    from google.api_core.datetime_helpers import (  # noqa: PLC0415
        DatetimeWithNanoseconds,
    )

    time, _, writes = version.partition("/")
    try:
        return DatetimeWithNanoseconds.from_rfc3339(time), int(writes)
    except ValueError as error:
        raise StaleError(f"No record ever had the version {version!r}.") from error
