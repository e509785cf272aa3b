"""What comes next for a record, decided from the record alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fakes.builders import NOON, make_deployment, make_revision
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.deployment import steps
from weightdrop.core.deployment.phases import Phase


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({"phase": Phase.WAITING}, steps.Rest),
        ({"phase": Phase.REJECTED}, steps.Rest),
        ({"phase": Phase.ACCEPTED}, steps.Start),
        ({"phase": Phase.UPLOADING}, steps.Upload),
        ({"phase": Phase.UPLOADING, "operation": "op"}, steps.Await),
        ({"phase": Phase.CREATING_ENDPOINT}, steps.CreateEndpoint),
        ({"phase": Phase.DEPLOYING, "deployed": True}, steps.Deploy),
        ({"phase": Phase.DEPLOYING, "deadline": NOON}, steps.GiveUp),
        ({"phase": Phase.VERIFYING, "deployed": True}, steps.Verify),
        ({"phase": Phase.READY, "deployed": True}, steps.Rest),
        ({"phase": Phase.FAILED, "deployed": True}, steps.Undeploy),
        ({"phase": Phase.FAILED, "model_name": "m"}, steps.RemoveModel),
        ({"phase": Phase.FAILED}, steps.Rest),
        ({"phase": Phase.SUPERSEDED, "deployed": True}, steps.Undeploy),
        ({"phase": Phase.SUPERSEDED, "model_name": "m"}, steps.Rest),
        ({"phase": Phase.RETIRING, "deployed": True}, steps.Undeploy),
        ({"phase": Phase.RETIRING}, steps.Finish),
        ({"phase": Phase.RETIRED, "model_name": "m"}, steps.Rest),
    ],
)
def test_each_phase_has_its_step(fields: dict[str, Any], step: type) -> None:
    """One revision, one phase, one step."""
    deployment = make_deployment(revisions=(make_revision(**fields),))

    assert step is type(steps.next_step(deployment, NOON))


def test_gpus_are_freed_before_the_next_revision_starts() -> None:
    """Never more than two deployed models at one endpoint."""
    deployment = make_deployment(
        revisions=(
            make_revision(1, phase=Phase.SUPERSEDED, deployed=True),
            make_revision(2, phase=Phase.READY, deployed=True),
            make_revision(3, phase=Phase.ACCEPTED),
        )
    )

    step = steps.next_step(deployment, NOON)

    assert isinstance(step, steps.Undeploy)
    assert step.revision.number == 1


def test_one_revision_is_under_way_at_a_time() -> None:
    """A newer accepted one waits until the one before it came to rest."""
    deployment = make_deployment(
        revisions=(
            make_revision(1, phase=Phase.UPLOADING, operation="op"),
            make_revision(2, phase=Phase.ACCEPTED),
        )
    )

    step = steps.next_step(deployment, NOON)

    assert isinstance(step, steps.Await)
    assert step.revision.number == 1


@pytest.mark.parametrize(
    "phase", [Phase.ACCEPTED, Phase.UPLOADING, Phase.VERIFYING, Phase.READY]
)
def test_what_the_user_withdrew_is_let_go_from_anywhere(phase: Phase) -> None:
    """Undeploy works while a deployment is still coming up."""
    deployment = make_deployment(
        revisions=(make_revision(phase=phase),), withdrawn=True
    )

    assert isinstance(steps.next_step(deployment, NOON), steps.Withdraw)


def test_a_ttl_ends_a_ready_revision_and_wakes_the_tick_for_it() -> None:
    """Idle GPUs are not paid for longer than was said."""
    options = FolderOptions(ttl=60)
    deployment = make_deployment(
        revisions=(make_revision(phase=Phase.READY, options=options),)
    )
    end = NOON + timedelta(seconds=60)

    assert isinstance(steps.next_step(deployment, NOON), steps.Rest)
    assert end == steps.due(deployment, NOON, poll=1, owing=False)
    assert isinstance(steps.next_step(deployment, end), steps.Withdraw)


def test_a_record_at_rest_costs_no_tick() -> None:
    """Nothing to do means never due."""
    deployment = make_deployment(revisions=(make_revision(phase=Phase.REJECTED),))

    assert steps.due(deployment, NOON, poll=1, owing=False) is None
