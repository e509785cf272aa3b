"""Every error Weightdrop raises on purpose.

::

    WeightdropError
    ├── PermanentError      record it, acknowledge the message
    │   └── NotFoundError   the thing asked for does not exist
    ├── TransientError      raise it: the substrate redelivers
    ├── StaleError          somebody else moved the record: acknowledge quietly
    └── UsageError          the caller asked for something impossible: exit 2

Adapters translate every vendor error into one of these; nothing outside
`weightdrop.adapters` and `weightdrop.local` catches a vendor's exception.
"""

from __future__ import annotations


class WeightdropError(Exception):
    """Base of all deliberate errors; the message is written for a person."""


class PermanentError(WeightdropError):
    """Repeating the call cannot help; the cause belongs into the record."""


class NotFoundError(PermanentError):
    """The object, record or resource asked for does not exist."""


class ConflictError(PermanentError):
    """The request contradicts the state the thing is in now."""


class QuotaError(PermanentError):
    """The platform refuses for lack of quota or capacity."""


class TransientError(WeightdropError):
    """The same call may succeed later.

    Args:
        message: What happened, for a person.
        retry_after: Seconds to wait before the next try, if the other side
            said so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StaleError(WeightdropError):
    """The record moved between the read and the guarded write."""


class UsageError(WeightdropError):
    """The call is wrong or its source cannot be read (exit status 2)."""
