"""A canary: two revisions answer, until it is promoted or given up."""

from __future__ import annotations

import json

import pytest

from fakes.pipeline import Pipeline, digest_of, own
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.views import deployment_view
from weightdrop.errors import ConflictError

READY, GONE = Phase.READY, Phase.SUPERSEDED


@pytest.fixture
def canary() -> Pipeline:
    """A revision that serves, and one of a quarter of the traffic beside it."""
    pipeline = Pipeline()
    pipeline.drop(1)
    pipeline.run()
    pipeline.drop(2, traffic=25)
    pipeline.run()
    return pipeline


def test_both_stay(canary: Pipeline) -> None:
    """It answered a prompt: it has its share, and nothing more happens."""
    calls = list(canary.platform.calls)
    canary.run()

    assert canary.phases() == {1: READY, 2: READY}
    assert canary.traffic() == {1: 75, 2: 25}
    assert calls == canary.platform.calls
    assert canary.deployment.due is None


def test_status_and_event_tell_the_split(canary: Pipeline) -> None:
    """Who asks sees both parts; who listens learns how much the new one takes."""
    view = deployment_view(canary.deployment)
    told = [
        json.loads(message.data)["traffic"]
        for message in canary.records.events(canary.id, limit=100)
        if message.type.endswith(".ready.v1")
    ]

    assert view["serving"] == {"revision": 1, "digest": digest_of(1)}
    assert [part["percent"] for part in view["traffic"]] == [75, 25]  # type: ignore[attr-defined]
    assert told == [100, 25]


def test_a_first_revision_takes_everything() -> None:
    """There is nobody to share with."""
    pipeline = Pipeline()
    pipeline.drop(1, traffic=25)
    pipeline.run()

    assert pipeline.traffic() == {1: 100}
    assert pipeline.deployment.canary is None


def test_it_is_promoted(canary: Pipeline) -> None:
    """One order, no new weights: it takes everything, the other one goes."""
    canary.commands.promote(canary.id)
    canary.run()

    assert canary.phases() == {1: GONE, 2: READY}
    assert canary.traffic() == {2: 100}
    assert not canary.revision(1).deployed
    with pytest.raises(ConflictError, match="no canary"):
        canary.commands.promote(canary.id)


def test_it_is_rolled_back(canary: Pipeline) -> None:
    """What served all the time gets everything back; nothing is deployed anew."""
    canary.commands.rollback(canary.id)
    canary.run()

    assert canary.phases() == {1: READY, 2: GONE}
    assert canary.traffic() == {1: 100}
    assert (canary.deployment.phase, canary.revision(1).attempt) == (READY, 1)


def test_what_was_promoted_before_comes_back_whole(canary: Pipeline) -> None:
    """A rollback to a revision that once was a canary makes it serve alone."""
    canary.commands.promote(canary.id)
    canary.run()
    canary.drop(3)
    canary.run()
    canary.commands.rollback(canary.id)
    canary.run()

    assert canary.traffic() == {2: 100}


def test_a_third_revision_takes_the_place_of_the_canary(canary: Pipeline) -> None:
    """Never three deployed models: the newer drop ends the trial of the other."""
    canary.drop(3, traffic=10)
    canary.run()

    assert canary.phases() == {1: READY, 2: GONE, 3: READY}
    assert canary.traffic() == {1: 90, 3: 10}


@pytest.mark.parametrize(("ends", "left"), [(1, {2: 100}), (2, {1: 100})])
def test_a_ttl_leaves_the_other_one_everything(ends: int, left: dict[int, int]) -> None:
    """Each has its own time; who is left has all of the traffic."""
    pipeline = Pipeline()
    pipeline.drop(1, ttl=10_000 if ends == 1 else 0)
    pipeline.run()
    pipeline.drop(2, traffic=0, ttl=10_000 if ends == 2 else 0)
    pipeline.run()
    pipeline.clock.advance(10_000)
    pipeline.run()

    assert left == pipeline.traffic()
    assert pipeline.phases()[ends] is Phase.RETIRED


def test_an_undeploy_takes_both(canary: Pipeline) -> None:
    """Everything is freed."""
    canary.commands.undeploy(canary.id)
    canary.run()

    assert canary.phases() == {1: Phase.RETIRED, 2: Phase.RETIRED}
    assert canary.traffic() == {}


def test_one_that_never_answers_leaves_the_traffic_where_it_was() -> None:
    """A canary is proved like any other revision."""
    pipeline = Pipeline()
    pipeline.drop(1)
    pipeline.run()
    pipeline.platform.mute.add(own(2))
    pipeline.drop(2, traffic=50)
    pipeline.run(20)

    assert pipeline.traffic() == {1: 100}
    assert pipeline.phases()[2] is Phase.FAILED


def test_its_share_is_not_exceeded_while_it_is_proved() -> None:
    """Who wishes for one percent does not get ten."""
    pipeline = Pipeline()
    pipeline.drop(1)
    pipeline.run()
    seen: list[dict[str, int]] = []
    honest = pipeline.platform.set_traffic

    def watched(endpoint: str, traffic: tuple[tuple[str, int], ...]) -> None:
        seen.append(dict(traffic))
        honest(endpoint, traffic)

    pipeline.platform.set_traffic = watched  # type: ignore[method-assign]
    pipeline.drop(2, traffic=1)
    pipeline.run(20)

    assert [{own(2): 1, own(1): 99}] == seen
    assert pipeline.traffic() == {1: 99, 2: 1}
