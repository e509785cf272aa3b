"""The tick: side by side, one read each, and patience with what makes trouble."""

from __future__ import annotations

import threading

from fakes.builders import make_deployment, make_revision
from fakes.pipeline import Pipeline
from weightdrop.core.deployment.phases import Phase
from weightdrop.ports import Versioned
from weightdrop.services.tick import LONGEST_WAIT, Tick, at_once


def tick(pipeline: Pipeline) -> Tick:
    """A tick for records that wait for no folder."""
    return Tick(pipeline.records, None, pipeline.reconciler)  # type: ignore[arg-type]


def test_several_are_looked_at_at_once() -> None:
    """Each meets another one half-way: one after the other nobody would."""
    meeting = threading.Barrier(2, timeout=20)

    at_once(lambda _: meeting.wait() and None, ["a", "b", "c", "d"])  # type: ignore[func-returns-value]


def test_each_record_is_read_once() -> None:
    """What the tick has read is not read again."""
    pipeline = Pipeline()
    identity = "calm-12345678"
    ready = make_revision(phase=Phase.READY, deployed=True)
    now = pipeline.clock.now()
    pipeline.records.create(make_deployment(identity, revisions=(ready,), due=now))
    reads: list[str] = []
    honest = pipeline.records.get

    def counted(name: str) -> Versioned | None:
        reads.append(name)
        return honest(name)

    pipeline.records.get = counted  # type: ignore[method-assign]

    assert tick(pipeline).run() == 1
    assert reads == [identity]


def test_what_gets_nowhere_is_left_alone_for_ever_longer() -> None:
    """Ten minutes at most, and at once again when something moved."""
    pipeline = Pipeline()
    pipeline.drop(1)
    waits = []

    for _ in range(8):
        now = pipeline.clock.now()
        tick(pipeline)._later(pipeline.id, None)
        due = pipeline.deployment.due
        assert due is not None
        waits.append((due - now).total_seconds())
        pipeline.clock.advance(waits[-1])
    pipeline.run(2)

    assert waits == sorted(waits)
    assert (waits[0], waits[1], waits[-1]) == (20, 40, LONGEST_WAIT)
    assert pipeline.deployment.setbacks == 0
