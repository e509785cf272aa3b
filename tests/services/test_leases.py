"""A record is one run's at a time, and nobody's once that run has ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fakes.pipeline import Pipeline
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment
from weightdrop.errors import StaleError, TransientError
from weightdrop.ports import EndpointSpec, ModelSpec, Operation, Versioned
from weightdrop.services.session import Session


def dropped() -> Pipeline:
    """A folder that was accepted."""
    pipeline = Pipeline()
    pipeline.drop(1)
    return pipeline


def test_a_step_cut_short_by_another_write_leaves_no_lease() -> None:
    """The next look goes on at once, and finds what had been begun."""
    pipeline = dropped()
    honest = pipeline.platform.upload_model

    def meanwhile(spec: ModelSpec) -> Operation:
        held = pipeline.records.get(pipeline.id)
        assert held is not None
        pipeline.records.put(held.deployment, version=held.version)
        return honest(spec)

    pipeline.platform.upload_model = meanwhile  # type: ignore[method-assign]
    with pytest.raises(StaleError):
        pipeline.reconciler.deployment(pipeline.id)
    left = pipeline.deployment.leased_until
    pipeline.platform.upload_model = honest  # type: ignore[method-assign]
    pipeline.run()

    assert left is None
    assert pipeline.deployment.phase is Phase.READY


def test_a_slow_run_keeps_the_others_out() -> None:
    """The lease is renewed before a step that it would not outlast."""
    pipeline = dropped()
    lease = pipeline.settings.lease_seconds
    honest = pipeline.platform.create_endpoint

    def slow(spec: EndpointSpec) -> Operation:
        pipeline.clock.advance(lease * 0.6)
        with pytest.raises(StaleError):
            pipeline.reconciler.deployment(pipeline.id)
        return honest(spec)

    pipeline.platform.create_endpoint = slow  # type: ignore[method-assign]
    upload = pipeline.platform.upload_model

    def also_slow(spec: ModelSpec) -> Operation:
        pipeline.clock.advance(lease * 0.6)
        return replace(upload(spec), done=True)

    pipeline.platform.upload_model = also_slow  # type: ignore[method-assign]
    pipeline.reconciler.deployment(pipeline.id)

    assert pipeline.deployment.leased_until is None


def test_a_lease_that_is_heard_of_too_late_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever stood still while it was written begins nothing: others have come."""
    pipeline = dropped()
    upload, put = pipeline.platform.upload_model, pipeline.records.put
    begun: list[ModelSpec] = []

    def refused(spec: ModelSpec) -> Operation:
        raise TransientError("too many requests")

    monkeypatch.setattr(pipeline.platform, "upload_model", refused)
    with pytest.raises(TransientError):
        pipeline.reconciler.deployment(pipeline.id)

    def counted(spec: ModelSpec) -> Operation:
        begun.append(spec)
        return upload(spec)

    # The lease itself takes half its time; its renewal takes longer than it lasts.
    late = [2.0, 0.5]

    def slow(deployment: Deployment, **named: Any) -> Versioned:
        written = put(deployment, **named)
        if late:
            pipeline.clock.advance(late.pop() * pipeline.settings.lease_seconds)
            if not late:
                pipeline.reconciler.deployment(pipeline.id)
        return written

    monkeypatch.setattr(pipeline.platform, "upload_model", counted)
    monkeypatch.setattr(pipeline.records, "put", slow)
    with pytest.raises(StaleError):
        pipeline.reconciler.deployment(pipeline.id)

    assert len(begun) == 1


def test_a_refused_step_leaves_no_lease() -> None:
    """Whoever comes again after a refusal is not kept out by who was refused."""
    pipeline = dropped()

    def busy(spec: ModelSpec) -> Operation:
        raise TransientError("too many requests")

    pipeline.platform.upload_model = busy  # type: ignore[method-assign]
    with pytest.raises(TransientError):
        pipeline.reconciler.deployment(pipeline.id)

    assert pipeline.deployment.leased_until is None


def test_the_lease_of_another_is_left_alone() -> None:
    """A run that was kept out frees nothing."""
    pipeline = dropped()
    held = pipeline.records.get(pipeline.id)
    assert held is not None
    until = pipeline.clock.now().replace(year=pipeline.clock.now().year + 1)
    leased = replace(held.deployment, leased_until=until)
    pipeline.records.put(leased, version=held.version)
    with pytest.raises(StaleError):
        pipeline.reconciler.deployment(pipeline.id)

    assert pipeline.deployment.leased_until == until


def test_a_look_writes_nothing_while_another_works() -> None:
    """What stands in the outbox is published by who put it there."""
    pipeline = dropped()
    worker, passer = (
        Session(pipeline.records, pipeline.bus, pipeline.clock, 10) for _ in range(2)
    )
    worker.load(pipeline.id)
    worker.claim(120)
    passer.load(pipeline.id)
    passer.close()
    worker.close()

    assert pipeline.deployment.leased_until is None
