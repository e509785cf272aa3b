"""Orders that come at an awkward moment are carried out all the same."""

from __future__ import annotations

from fakes.pipeline import Pipeline
from weightdrop.core.deployment.events import REQUESTS_TOPIC
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.views import deployment_view


def newer() -> Pipeline:
    """A second revision has just become ready; the first is being undeployed."""
    pipeline = Pipeline()
    pipeline.drop(1)
    pipeline.run()
    pipeline.drop(2)
    while pipeline.phases().get(2) is not Phase.READY:
        pipeline.clock.advance(60)
        pipeline.reconciler.deployment(pipeline.id)
        if pipeline.phases()[2] is not Phase.READY:
            pipeline.platform.settle()
    assert pipeline.revision(1).deployed
    return pipeline


def test_a_rollback_right_after_ready_is_remembered() -> None:
    """The earlier one is still being let go of: it comes back once it is gone."""
    pipeline = newer()

    pipeline.commands.rollback(pipeline.id)
    ordered = deployment_view(pipeline.deployment)["ordered"]
    pipeline.run()

    assert ordered == "rollback"
    assert deployment_view(pipeline.deployment)["ordered"] == ""
    assert pipeline.phases() == {1: Phase.READY, 2: Phase.SUPERSEDED}
    assert pipeline.traffic() == {1: 100}


def test_a_newer_drop_or_an_undeploy_makes_it_forgotten() -> None:
    """The last wish counts."""
    dropped, undeployed = newer(), newer()
    dropped.commands.rollback(dropped.id)
    dropped.drop(3)
    undeployed.commands.rollback(undeployed.id)
    undeployed.commands.undeploy(undeployed.id)
    dropped.run()
    undeployed.run()

    assert (dropped.phases()) == {
        1: Phase.SUPERSEDED,
        2: Phase.SUPERSEDED,
        3: Phase.READY,
    }
    assert undeployed.phases() == {1: Phase.SUPERSEDED, 2: Phase.RETIRED}


def test_an_undeploy_takes_what_was_there_and_not_what_comes() -> None:
    """A drop that is noticed after the order is deployed; the rest is freed."""
    pipeline = Pipeline()
    pipeline.drop(1)
    pipeline.run()

    pipeline.commands.undeploy(pipeline.id)
    pipeline.drop(2)
    pipeline.run()

    assert pipeline.phases() == {1: Phase.RETIRED, 2: Phase.READY}
    assert not pipeline.deployment.withdrawn


def test_a_retry_takes_an_undeploy_back() -> None:
    """Before it was touched it stays; after, it comes back once it is gone."""
    early, late = Pipeline(), Pipeline()
    for pipeline in (early, late):
        pipeline.drop(1)
        pipeline.run()
        pipeline.commands.undeploy(pipeline.id)
    late.clock.advance(60)
    late.reconciler.deployment(late.id)
    assert late.phases() == {1: Phase.RETIRING}

    early.commands.retry(early.id)
    late.commands.retry(late.id)
    early.run()
    late.run()

    assert (early.revision(1).phase, early.revision(1).attempt) == (Phase.READY, 1)
    assert (late.revision(1).phase, late.revision(1).attempt) == (Phase.READY, 2)


def test_orders_ask_for_a_look() -> None:
    """Nobody waits for the next tick."""
    pipeline = newer()
    sent = len(pipeline.bus.on(REQUESTS_TOPIC))

    pipeline.commands.undeploy(pipeline.id)

    assert len(pipeline.bus.on(REQUESTS_TOPIC)) == sent + 1


def test_one_that_scales_to_zero_is_alone_on_its_endpoint() -> None:
    """The one before makes room first, and is deployed alone again by a rollback."""
    pipeline = Pipeline()
    pipeline.drop(1)
    pipeline.run()
    pipeline.drop(2, scale_to_zero=True)
    crowd = 0
    for _ in range(12):
        pipeline.run(1)
        found = pipeline.platform.endpoint(pipeline.deployment.endpoint_name)
        crowd = max(crowd, len(found.deployed) if found else 0)

    assert crowd == 1
    assert pipeline.phases() == {1: Phase.SUPERSEDED, 2: Phase.READY}
    assert pipeline.traffic() == {2: 100}
