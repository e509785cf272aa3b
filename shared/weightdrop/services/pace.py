"""The pace at which Vertex AI lets one project upload and deploy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from weightdrop.errors import TransientError
from weightdrop.ports import Clock, Records

LINE = "vertex"
"""Name of the line that every upload and deploy of a project stands in."""

PATIENCE = 30.0
"""Seconds that a function waits for its turn: well below its lease."""

_LONG_AGO = 10.0 * 365 * 86400


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
                self._take(error.retry_after, patience=_LONG_AGO)
            raise

    def _wait(self) -> None:
        left = self._take(self.every, patience=PATIENCE)
        if left is None:
            raise TransientError(
                "Many deployments are waiting for their turn at Vertex AI.",
                retry_after=PATIENCE,
            )
        if left > 0:
            self.pause(left)

    def _take(self, every: float, *, patience: float) -> float | None:
        """Seconds until one's turn; None if that is beyond `patience`."""
        now = self.clock.now()
        turn = self.records.turn(LINE, now=now, every=every, patience=patience)
        return None if turn is None else (turn - now).total_seconds()
