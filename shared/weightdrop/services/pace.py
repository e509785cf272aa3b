"""The pace at which Vertex AI lets one project upload and deploy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from weightdrop.errors import TransientError
from weightdrop.ports import Clock, Records

LINE = "vertex"
"""Name of the line that every upload and deploy of a project stands in."""

PATIENCE = 30.0
"""Seconds that a function waits for its turn: well below its lease."""

LATE = timedelta(seconds=0.2)
"""How long after its time a turn is still taken."""

_LONG = 10.0 * 365 * 86400
"""Seconds that outlast every line."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A line of callers, kept among the records: no lock is held while one waits.

    Attributes:
        records: Where the line is kept.
        clock: Time.
        every: Seconds between two turns; 0 for no line.
        pause: How to wait, in seconds.
    """

    records: Records
    clock: Clock
    every: float
    pause: Callable[[float], None]

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn; what is done in the block is done in it.

        If the platform says that calls come too fast, all who stand in line
        wait for as long as it asks for.

        Raises:
            TransientError: If the line is too long; come again later.
        """
        if self.every:
            self._wait()
        try:
            yield
        except TransientError as error:
            if error.retry_after and self.every:
                self._hold_up(error.retry_after)
            raise

    def _wait(self) -> None:
        asked = self.clock.now()
        latest = asked + timedelta(seconds=PATIENCE)
        turn = self._place(asked, latest)
        # Whoever comes too late to its turn would meet the next in line.
        while (now := self.clock.now()) > turn + LATE:
            asked, at = now, now + 2 * (now - asked)
            turn = self._place(at, latest)
        if turn > now:
            self.pause((turn - now).total_seconds())

    def _place(self, at: datetime, latest: datetime) -> datetime:
        """The first free turn from `at` to `latest`."""
        patience = (latest - at).total_seconds()
        turn = self.records.turn(LINE, now=at, every=self.every, patience=patience)
        if turn is None:
            raise TransientError(
                "Many deployments are waiting for their turn at Vertex AI.",
                retry_after=PATIENCE,
            )
        return turn

    def _hold_up(self, seconds: float) -> None:
        """Keep everybody in the line waiting for so long."""
        now = self.clock.now()
        self.records.turn(LINE, now=now, every=seconds, patience=_LONG)
