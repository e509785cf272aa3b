"""The tick: side by side, one read each, and patience with what makes trouble."""

from __future__ import annotations

import threading
from dataclasses import replace

from fakes.builders import make_deployment, make_revision
from fakes.pipeline import Pipeline
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.platform import Operation
from weightdrop.core.deployment.record import Deployment
from weightdrop.core.deployment.views import deployment_view
from weightdrop.errors import TransientError
from weightdrop.ports import Versioned
from weightdrop.services.tick import LONGEST_WAIT, LONGEST_WORDS, Tick, at_once


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
        tick(pipeline)._later(pipeline.id, TransientError("not now"))
        due = pipeline.deployment.due
        assert due is not None
        waits.append((due - now).total_seconds())
        pipeline.clock.advance(waits[-1])
    pipeline.run(2)

    assert waits == sorted(waits)
    assert (waits[0], waits[1], waits[-1]) == (20, 40, LONGEST_WAIT)
    assert pipeline.deployment.setbacks == 0
    assert pipeline.deployment.setback == ""


def stuck(pipeline: Pipeline, *, said: str) -> None:
    """Have the platform not answer when it is asked about an operation."""
    pipeline.drop(1)
    pipeline.run(2)
    operation = pipeline.revision(1).operation
    assert operation
    answer = pipeline.platform.operation

    def refused(name: str) -> Operation:
        raise TransientError(said)

    pipeline.platform.operation = refused  # type: ignore[method-assign]
    for _ in range(2):
        pipeline.clock.advance(LONGEST_WAIT)
        tick(pipeline).run()
    pipeline.platform.operation = lambda name: replace(  # type: ignore[method-assign]
        answer(name) or Operation(name, done=False), done=False
    )


def test_a_setback_leaves_its_words() -> None:
    """Who looks at the record learns what the log knows, and when it is tried again."""
    pipeline = Pipeline()
    stuck(pipeline, said="429: Quota exceeded. " + "x" * 10_000)
    view = deployment_view(pipeline.deployment)["setback"]

    assert isinstance(view, dict)
    assert view["times"] == 2
    assert view["message"].startswith("429: Quota exceeded. xxx")
    assert len(view["message"]) == LONGEST_WORDS
    assert view["nextLook"] > pipeline.clock.now().isoformat()


def test_a_look_that_is_answered_ends_the_setbacks() -> None:
    """Also where nothing has moved: an operation that still runs is no trouble."""
    pipeline = Pipeline()
    stuck(pipeline, said="503")
    before = pipeline.deployment.phase
    pipeline.clock.advance(LONGEST_WAIT)
    tick(pipeline).run()

    assert pipeline.deployment.phase is before
    assert deployment_view(pipeline.deployment)["setback"] is None
    assert pipeline.deployment.setback == ""


class Storage:
    """Cloud Storage: answers or not.

    Attributes:
        down: Whether it does not.
    """

    down = True

    def folder(self, bucket: str, prefix: str, *, held: Versioned) -> Deployment:
        """See Admission: a folder that is still incomplete."""
        if self.down:
            raise TransientError(f"gs://{bucket}/{prefix}: 503")
        return held.deployment


def test_a_folder_that_can_be_listed_again_is_held_up_no_longer() -> None:
    """Nothing is written of a folder that waits as before, but that it does."""
    pipeline, storage = Pipeline(), Storage()
    due = pipeline.clock.now()
    waiting = make_deployment("slow-12345678", revisions=(make_revision(),), due=due)
    pipeline.records.create(waiting)
    looks = replace(tick(pipeline), admission=storage)  # type: ignore[arg-type]
    seen = []
    for storage.down in (True, False):
        looks.run()
        held = pipeline.records.get(waiting.id)
        assert held is not None
        seen.append((held.deployment.setbacks, held.deployment.setback))
        pipeline.clock.advance(LONGEST_WAIT)

    assert seen == [(1, "gs://models/slow: 503"), (0, "")]
