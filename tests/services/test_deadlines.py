"""A phase whose time is over is looked at once more before it is given up."""

from __future__ import annotations

import pytest

from fakes.pipeline import Pipeline
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.errors import TransientError
from weightdrop.ports import Answer, Endpoint


def at(phase: Phase) -> Pipeline:
    """A first revision that has come to this phase."""
    pipeline = Pipeline()
    pipeline.drop(1)
    for _ in range(12):
        pipeline.reconciler.deployment(pipeline.id)
        if pipeline.revision(1).phase is phase:
            return pipeline
        pipeline.platform.step()
        pipeline.clock.advance(20)
    raise LookupError(phase)


def long_after(pipeline: Pipeline) -> None:
    """Nobody looks for longer than any phase may last; then somebody does."""
    limits = pipeline.settings
    pipeline.clock.advance(limits.deploy_seconds + limits.verify_seconds + 60)
    pipeline.reconciler.deployment(pipeline.id)


def test_what_came_up_while_nobody_looked_serves() -> None:
    """Its machines are paid for: it is not thrown away because a tick was late."""
    pipeline = at(Phase.DEPLOYING)
    pipeline.platform.settle()

    long_after(pipeline)

    assert pipeline.phases() == {1: Phase.READY}


def test_what_is_still_coming_up_is_given_up() -> None:
    """The platform's own word is that it is not done."""
    pipeline = at(Phase.DEPLOYING)

    with pytest.raises(TransientError, match="still being deployed"):
        long_after(pipeline)

    assert pipeline.phases() == {1: Phase.FAILED}
    assert pipeline.revision(1).reason is Reason.TIMED_OUT


def verifying(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A revision whose server is not reached yet."""
    pipeline = at(Phase.DEPLOYING)
    pipeline.platform.settle()

    def nobody(endpoint: Endpoint, prompt: str, *, model: str) -> Answer:
        raise TransientError("nobody there")

    with monkeypatch.context() as then:
        then.setattr(pipeline.platform, "ask", nobody)
        pipeline.reconciler.deployment(pipeline.id)
    assert pipeline.phases() == {1: Phase.VERIFYING}
    return pipeline


def test_what_answers_late_is_asked_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A last question costs nothing beside a deployment."""
    pipeline = verifying(monkeypatch)

    long_after(pipeline)

    assert pipeline.phases() == {1: Phase.READY}


def test_what_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the last question find anybody."""
    pipeline = verifying(monkeypatch)

    def nobody(endpoint: Endpoint, prompt: str, *, model: str) -> Answer:
        raise TransientError("nobody there")

    monkeypatch.setattr(pipeline.platform, "ask", nobody)
    long_after(pipeline)

    assert pipeline.phases() == {1: Phase.FAILED}
    assert pipeline.revision(1).reason is Reason.NO_ANSWER
