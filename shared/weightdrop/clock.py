"""The system's clock."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """The Clock port over the system's time."""

    def now(self) -> datetime:
        """See weightdrop.ports.Clock."""
        return datetime.now(UTC)
