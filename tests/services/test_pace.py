"""Uploads and deployments of a project are two seconds apart."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fakes.clock import START, FakeClock
from fakes.pipeline import Pipeline
from fakes.records import MemoryRecords
from weightdrop.errors import TransientError
from weightdrop.services.pace import LINE, PATIENCE, Pace


def line() -> tuple[Pace, list[float]]:
    """A line, and how long each in it waited."""
    waited: list[float] = []
    return Pace(MemoryRecords(), FakeClock(), every=2, pause=waited.append), waited


def test_each_waits_for_its_turn() -> None:
    """The first goes at once, the others two seconds after the one before."""
    pace, waited = line()
    for _ in range(3):
        with pace.turn():
            pass

    assert waited == [2, 4]


class Sluggish(MemoryRecords):
    """Records whose first answer about a line takes three seconds."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self._late = [3.0]

    def turn(
        self, line: str, *, now: datetime, every: float, patience: float
    ) -> datetime | None:
        """See weightdrop.ports.Records."""
        taken = super().turn(line, now=now, every=every, patience=patience)
        self._clock.advance(self._late.pop() if self._late else 0.0)
        return taken


def test_a_turn_that_was_missed_is_taken_anew() -> None:
    """Whoever hears of it too late would meet the next in line."""
    clock = FakeClock()
    records = Sluggish(clock)
    pace = Pace(records, clock, every=2, pause=clock.advance)
    with pace.turn():
        gone = clock.now()
    following = records.turn(LINE, now=clock.now(), every=2, patience=10)

    assert gone > START + timedelta(seconds=3)
    assert following == gone + timedelta(seconds=2)


def test_records_that_never_answer_in_time_are_for_another_time() -> None:
    """The wait for a turn that is always missed has an end."""
    clock = FakeClock()
    records = Sluggish(clock)
    records._late = [40.0]
    pace = Pace(records, clock, every=2, pause=clock.advance)

    with pytest.raises(TransientError), pace.turn():
        pytest.fail("its turn is beyond its patience")


def test_a_long_line_is_for_another_time() -> None:
    """No function waits longer than it has patience; it takes no place."""
    pace, waited = line()
    while len(waited) < PATIENCE / 2:
        with pace.turn():
            pass
    with pytest.raises(TransientError) as refused, pace.turn():
        pytest.fail("its turn is beyond its patience")

    assert max(waited) <= PATIENCE
    assert refused.value.retry_after == PATIENCE


def test_who_came_too_fast_holds_the_whole_line_up() -> None:
    """A refusal for the rate is everybody's, not only the caller's."""
    pace, _ = line()
    with pytest.raises(TransientError), pace.turn():
        raise TransientError("too many requests", retry_after=60)

    assert pace.records.turn(LINE, now=START, every=0, patience=10) is None


def test_no_pace_is_no_line() -> None:
    """A stand-in needs none."""
    pace = Pace(MemoryRecords(), FakeClock(), every=0, pause=pytest.fail)
    for _ in range(3):
        with pace.turn():
            pass


def test_upload_and_deployment_stand_in_line() -> None:
    """Both calls, and no other."""
    pipeline = Pipeline()
    pipeline.drop(1)
    taken: list[str] = []
    honest = pipeline.records.turn

    def counted(*args: object, **named: object) -> object:
        taken.append("turn")
        return honest(*args, **named)  # type: ignore[arg-type]

    pipeline.records.turn = counted  # type: ignore[assignment,method-assign]
    pipeline.run()

    assert taken == ["turn", "turn"]
