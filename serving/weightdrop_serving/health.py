"""Whether the engine is alive, from what passes through the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

IDLE_SECONDS: Final = 30.0


class State(StrEnum):
    """What health says; only `OK` is healthy."""

    STARTING = "starting"
    OK = "ok"
    DRAINING = "draining"
    HUNG = "hung"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Health at one moment.

    Attributes:
        state: The word for it.
        reason: The same for a person.
        silent_seconds: How long there has been work without a sign of life.
    """

    state: State
    reason: str
    silent_seconds: float = 0.0


class Health:
    """Counts the work in flight and remembers the last sign of life.

    A sign of life is a step of the engine, a piece of an answer, or work that ends.
    Work whose client does not read is not counted as waiting for the engine.

    Args:
        clock: Seconds that only grow.
        hang_seconds: Silence with work waiting, from which on the engine is hung.
        dead: Says whether the engine reported its own end.
        on_idle: Called when the last work in flight ends.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        hang_seconds: float,
        dead: Callable[[], bool] = lambda: False,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._hang_seconds = hang_seconds
        self._dead = dead
        self._on_idle = on_idle
        self._sign_of_life = clock()
        self.in_flight = 0
        self._writing = 0
        self.answered = False
        self.draining = False

    def enter(self, count: int = 1) -> None:
        """Work arrives."""
        if self.in_flight == self._writing:
            self._sign_of_life = self._clock()  # silence before work means nothing
        self.in_flight += count

    def leave(self, count: int = 1) -> None:
        """Work ends, well or not."""
        self.in_flight -= count
        self.sign_of_life()
        if not self.in_flight:
            self._on_idle()

    def writing(self, change: int) -> None:
        """So much work (or less, if negative) waits for its client to read."""
        self._writing += change
        self.sign_of_life()

    def sign_of_life(self) -> None:
        """The engine did something."""
        self._sign_of_life = self._clock()

    @property
    def idle(self) -> bool:
        """Whether nothing has happened for long enough to ask the engine."""
        silent = self._clock() - self._sign_of_life
        return not self.in_flight and silent > IDLE_SECONDS

    def verdict(self) -> Verdict:
        """Health now."""
        if self._dead():
            return Verdict(State.DEAD, "the engine died; see the log above")
        silent = self._clock() - self._sign_of_life
        if self.in_flight > self._writing and silent > self._hang_seconds:
            return Verdict(
                State.HUNG,
                f"{self.in_flight} requests wait and the engine has shown no sign "
                f"of life for {silent:.0f} s",
                silent,
            )
        if self.draining:
            return Verdict(State.DRAINING, "the server is shutting down")
        if not self.answered:
            return Verdict(State.STARTING, "the model has not produced a token yet")
        return Verdict(State.OK, "ok")
