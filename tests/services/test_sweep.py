"""The sweep makes agree what the platform has and what the records say."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from fakes.builders import make_deploy_spec
from fakes.clock import START
from fakes.pipeline import Pipeline, own
from weightdrop.core.deployment import naming
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.errors import PermanentError
from weightdrop.ports import EndpointSpec, Resource
from weightdrop.services.sweep import EVERY, IDLE, Sweep, swept


def sweep(pipeline: Pipeline) -> tuple[str, ...]:
    """Sweep the deployment's region once; returns what was removed."""
    return sweeper(pipeline).everywhere([pipeline.deployment.region])


def serving() -> Pipeline:
    """A deployment that serves."""
    pipeline = Pipeline()
    pipeline.drop(1)
    pipeline.run()
    assert pipeline.phases() == {1: Phase.READY}
    return pipeline


def stranger(pipeline: Pipeline, name: str, **labels: str) -> str:
    """An endpoint that no record claims."""
    region = pipeline.deployment.region
    pipeline.platform.create_endpoint(EndpointSpec(region, name, name, labels))
    pipeline.platform.settle()
    return pipeline.platform.endpoint_name(region, name)


def sweeper(pipeline: Pipeline) -> Sweep:
    """What sweeps."""
    return Sweep(
        pipeline.records,
        pipeline.bus,
        pipeline.platform,
        pipeline.clock,
        pipeline.settings,
    )


def test_what_serves_is_left_alone() -> None:
    """Nothing is removed, and the record stays as it is."""
    pipeline = serving()
    before = pipeline.deployment

    assert sweep(pipeline) == ()
    assert pipeline.deployment == before


def test_only_what_carries_our_label_is_removed() -> None:
    """An orphan of ours goes, somebody else's endpoint stays."""
    pipeline = serving()
    ours = stranger(pipeline, "gone", **naming.labels("gone-00000000", "f" * 64))
    theirs = stranger(pipeline, "theirs", team="theirs")

    assert sweep(pipeline) == (ours,)
    assert pipeline.platform.endpoint(ours) is None
    assert pipeline.platform.endpoint(theirs) is not None


def test_one_refusal_keeps_nothing_else_from_being_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What may not be deleted stays, and the next one is looked at."""
    pipeline = serving()
    orphans = [
        stranger(pipeline, name, **naming.labels("gone-00000000", "f" * 64))
        for name in ("kept", "removed")
    ]
    honest = pipeline.platform.delete_endpoint

    def refused(name: str) -> None:
        if name == orphans[0]:
            raise PermanentError("no permission")
        honest(name)

    monkeypatch.setattr(pipeline.platform, "delete_endpoint", refused)

    assert sweep(pipeline) == (orphans[1],)


@pytest.mark.parametrize("taken", ["deployed model", "endpoint", "endpoint and model"])
def test_what_was_taken_away_is_no_longer_called_ready(taken: str) -> None:
    """Whoever asks is told, so is who listens, and a retry brings it back."""
    pipeline = serving()
    name = pipeline.deployment.endpoint_name
    pipeline.platform.undeploy(name, own(1))
    pipeline.platform.settle()
    if "endpoint" in taken:
        pipeline.platform.delete_endpoint(name)
    if taken.endswith("and model"):
        pipeline.platform.delete_model(pipeline.revision(1).model_name)
        pipeline.platform.settle()
        assert pipeline.platform.labelled(pipeline.deployment.region) == ()

    sweep(pipeline)
    pipeline.run()
    retired = pipeline.revision(1)
    told = [
        json.loads(message.data)
        for message in pipeline.records.events(pipeline.id, limit=100)
        if message.type.endswith("retired.v1")
    ]
    pipeline.commands.retry(pipeline.id)
    pipeline.run()

    assert (retired.phase, retired.reason) == (Phase.RETIRED, Reason.REMOVED)
    assert [event["reason"] for event in told] == ["removed"]
    assert pipeline.phases() == {1: Phase.READY}


def test_what_has_just_come_up_was_not_taken_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A list that was made before the record called it ready says nothing."""
    pipeline = serving()
    honest = pipeline.platform.labelled

    def early(region: str) -> tuple[Resource, ...]:
        return tuple(replace(one, deployed=()) for one in honest(region))

    monkeypatch.setattr(pipeline.platform, "labelled", early)

    sweep(pipeline)

    assert pipeline.phases() == {1: Phase.READY}


def test_a_region_that_may_not_be_looked_at_keeps_from_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An organisation may forbid regions: the others are swept."""
    pipeline = serving()
    orphan = stranger(pipeline, "gone", **naming.labels("gone-00000000", "f" * 64))
    honest = pipeline.platform.labelled

    def labelled(region: str) -> tuple[Resource, ...]:
        if region == "forbidden":
            raise PermanentError("no permission")
        return honest(region)

    monkeypatch.setattr(pipeline.platform, "labelled", labelled)

    there = pipeline.deployment.region
    assert sweeper(pipeline).everywhere(["forbidden", there]) == (orphan,)


def test_what_lies_idle_is_looked_at_in_turn() -> None:
    """However much is kept, a sweep looks at a part of it; none is left out."""
    pipeline = serving()
    labels = naming.labels("gone-00000000", "f" * 64)
    orphans = {
        stranger(pipeline, f"gone-{number}", **labels) for number in range(3 * IDLE)
    }
    removed: list[str] = []

    for _ in range(12):
        some = sweep(pipeline)
        assert len(some) <= IDLE
        removed += some
        pipeline.clock.advance(EVERY)

    assert len(removed) == len(orphans)
    assert set(removed) == orphans


def test_what_is_deployed_is_looked_at_by_every_sweep() -> None:
    """What is paid for does not wait for its turn among what is not."""
    pipeline = serving()
    labels = naming.labels("gone-00000000", "f" * 64)
    for number in range(3 * IDLE):
        stranger(pipeline, f"idle-{number}", **labels)
    running = stranger(pipeline, "zz", **labels)
    pipeline.platform.deploy(make_deploy_spec(running, pipeline.revision(1).model_name))
    pipeline.platform.settle()

    assert f"{running}/1234567890" in sweep(pipeline)


def test_every_region_has_its_turn() -> None:
    """Settled ones in each sweep, the others one after another, none left out."""
    others = [f"region-{number}" for number in range(7)]
    settled = ("region-3", "elsewhere")
    looked = [
        swept(settled, others, START + timedelta(seconds=EVERY * turn))
        for turn in range(6)
    ]

    assert all(regions[:2] == settled for regions in looked)
    assert {one for regions in looked for one in regions[2:]} == {*others} - {*settled}
    assert all(len(set(regions)) == len(regions) for regions in looked)


def test_no_other_region_is_no_fault() -> None:
    """Where all regions are settled, those are looked at."""
    assert swept(("here",), ["here"], START) == ("here",)
