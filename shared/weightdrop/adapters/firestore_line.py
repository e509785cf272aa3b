"""A line of callers in one Firestore document: whose turn it is, and when."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from weightdrop.errors import TransientError

LINES = "lines"
"""Collection of the lines."""

_TRIES = 10
"""Tries to take a place before somebody else does."""

_TIMEOUT_SECONDS = 20.0


def take_turn(
    client: Any, line: str, *, now: datetime, every: float, patience: float
) -> datetime | None:
    """See weightdrop.ports.Records.turn; raises Google's errors.

    The document says from when on the line is free. It is written where it is
    still as it was read, so no two callers get one place.

    Raises:
        TransientError: If somebody else was always faster.
    """
    from google.api_core import exceptions  # noqa: PLC0415  # costs a cold start

    lost = (
        exceptions.Aborted,
        exceptions.AlreadyExists,
        exceptions.FailedPrecondition,
    )
    reference = client.collection(LINES).document(line)
    for _ in range(_TRIES):
        found = reference.get(timeout=_TIMEOUT_SECONDS)
        turn = max(found.get("free"), now) if found.exists else now
        if (turn - now).total_seconds() > patience:
            return None
        batch = client.batch()
        # A write that changes nothing would keep the time it is guarded by.
        fields = {
            "free": turn + timedelta(seconds=every),
            "nonce": uuid.uuid4().hex,
        }
        if found.exists:
            guard = client.write_option(last_update_time=found.update_time)
            batch.update(reference, fields, option=guard)
        else:
            batch.create(reference, fields)
        try:
            batch.commit(timeout=_TIMEOUT_SECONDS)
        except lost:
            continue
        return turn
    raise TransientError(f"Too many stand in the line {line}; come again.")
