"""The table of moves, and what every move writes."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.builders import NOON, make_deployment, make_revision
from weightdrop.core.deployment.events import EVENT_TYPES, REQUESTS_TOPIC, event
from weightdrop.core.deployment.phases import ADVICE, MOVES, RESTING, Phase, Reason
from weightdrop.core.deployment.record import Deployment
from weightdrop.core.deployment.transitions import (
    KEPT_REVISIONS,
    IllegalMoveError,
    add,
    move,
    progress,
    reactivate,
)


def only(deployment: Deployment) -> tuple[Phase, int]:
    """Phase and number of messages of a deployment with one revision."""
    return deployment.revisions[0].phase, len(deployment.outbox)


def test_every_phase_has_its_moves() -> None:
    """The table is total, so a new phase cannot be forgotten in it."""
    assert set(MOVES) == set(Phase)


def test_every_phase_can_be_reached_and_can_come_to_rest() -> None:
    """No phase is an island, and none goes round for ever."""
    reached = {Phase.WAITING}
    while True:
        more = {to for phase in reached for to in MOVES[phase]} | reached
        if more == reached:
            break
        reached = more
    resting = set(RESTING)
    while True:
        more = {phase for phase in Phase if MOVES[phase] & resting} | resting
        if more == resting:
            break
        resting = more

    assert (set(Phase), set(Phase)) == (reached, resting)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason])
def test_every_reason_says_what_to_do(reason: Reason) -> None:
    """A failure without advice leaves its user alone."""
    assert ADVICE[reason].endswith(".")


@given(st.data())
def test_a_walk_along_the_table_tells_each_resting_phase_once(
    data: st.DataObject,
) -> None:
    """Whatever the walk, ids are unique per phase and attempt, and moves legal."""
    deployment = make_deployment(revisions=(make_revision(digest="d" * 64),))
    now = NOON
    rests = 0
    for _ in range(data.draw(st.integers(0, 12))):
        revision = deployment.revisions[0]
        options = sorted(MOVES[revision.phase])
        if not options:
            break
        phase = data.draw(st.sampled_from(options))
        now += timedelta(seconds=1)
        if phase is Phase.ACCEPTED and revision.phase is not Phase.WAITING:
            deployment = reactivate(deployment, revision, now)
        else:
            deployment = move(deployment, revision, phase, now=now)
        rests += phase.resting
    told = [m for m in deployment.outbox if m.type and m.topic != REQUESTS_TOPIC]
    resting = [m for m in told if Phase(json.loads(m.data)["phase"]) in RESTING]

    assert rests == len(resting)
    assert len({m.id for m in deployment.outbox}) == len(deployment.outbox)
    assert {m.type for m in told} <= set(EVENT_TYPES)


def test_a_move_off_the_table_is_a_bug() -> None:
    """Nothing that was rejected can become ready."""
    revision = make_revision(phase=Phase.REJECTED)

    with pytest.raises(IllegalMoveError):
        move(make_deployment(revisions=(revision,)), revision, Phase.READY, now=NOON)


def test_accepting_writes_the_event_and_the_request_together() -> None:
    """Either both are in the outbox or the phase was never written."""
    deployment = make_deployment()

    moved = move(deployment, deployment.revisions[0], Phase.ACCEPTED, now=NOON)

    assert [message.topic for message in moved.outbox] == [
        "weightdrop-events",
        "weightdrop-requests",
    ]


def test_a_stage_is_told_once() -> None:
    """Polling an operation that did not move says nothing new."""
    revision = make_revision(phase=Phase.DEPLOYING)
    deployment = make_deployment(revisions=(revision,))
    for _ in range(3):
        deployment = progress(
            deployment,
            deployment.revisions[0],
            operation="op",
            stage="STARTING_MODEL_SERVER",
            now=NOON,
        )

    assert only(deployment) == (Phase.DEPLOYING, 1)


def test_the_same_news_has_the_same_id_at_any_time() -> None:
    """A crash between write and publish must not make a second event."""
    deployment = make_deployment(revisions=(make_revision(phase=Phase.READY),))
    first = event(deployment, deployment.revisions[0], NOON)
    second = event(deployment, deployment.revisions[0], NOON + timedelta(hours=1))

    assert first is not None
    assert second is not None
    assert first.id == second.id


def test_a_retry_has_news_of_its_own() -> None:
    """The second failure of the same bytes is told, too."""
    failed = make_revision(phase=Phase.FAILED)
    again = make_revision(phase=Phase.FAILED, attempt=2)
    deployment = make_deployment(revisions=(failed,))
    first, second = (event(deployment, one, NOON) for one in (failed, again))

    assert first is not None
    assert second is not None
    assert first.id != second.id


def test_old_revisions_are_cut_but_never_what_is_alive() -> None:
    """A record stays small however often a folder is dropped."""
    deployment = make_deployment(
        revisions=(
            make_revision(1, phase=Phase.READY, deployed=True),
            make_revision(2, phase=Phase.FAILED, deployed=True),
        )
    )
    for number in range(3, 40):
        deployment = add(deployment, make_revision(number, phase=Phase.REJECTED))

    numbers = [revision.number for revision in deployment.revisions]
    assert [1, 2, *range(40 - KEPT_REVISIONS + 2, 40)] == numbers
