"""How a record moves: every change of phase goes through `move`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from weightdrop.core.deployment.events import event, request
from weightdrop.core.deployment.phases import MOVES, Phase, Reason
from weightdrop.core.deployment.record import WHOLE, Deployment, Message, Revision
from weightdrop.core.planning.plan import Plan

KEPT_REVISIONS = 10
"""How many revisions a record holds; the history keeps them all."""


class IllegalMoveError(Exception):
    """A bug: the table of moves does not allow what was asked for."""


def with_revision(deployment: Deployment, revision: Revision) -> Deployment:
    """`deployment` with the revision of the same number replaced."""
    revisions = tuple(
        revision if old.number == revision.number else old
        for old in deployment.revisions
    )
    return replace(deployment, revisions=revisions)


def move(
    deployment: Deployment,
    revision: Revision,
    phase: Phase,
    *,
    now: datetime,
    limit: float | None = None,
    **changes: Any,
) -> Deployment:
    """Take `revision` to `phase` and put the event of it into the outbox.

    Args:
        deployment: The record.
        revision: One of its revisions.
        phase: Where to.
        now: When.
        limit: Seconds after which the new phase gives up; None for never.
        changes: Further fields of the revision.

    Raises:
        IllegalMoveError: If the table does not allow the move.
    """
    if phase not in MOVES[revision.phase]:
        raise IllegalMoveError(f"{revision.phase} -> {phase} ({deployment.id})")
    moved = replace(
        revision,
        **{
            "phase": phase,
            "phase_since": now,
            "deadline": now + timedelta(seconds=limit) if limit else None,
            "operation": "",
            "stage": "",
            **changes,
        },
    )
    return tell(with_revision(deployment, moved), moved, now)


def add(deployment: Deployment, revision: Revision) -> Deployment:
    """`deployment` with a further revision at its end; nothing is told yet.

    Earlier ones lose their list of files unless they are on their way: only the
    newest is compared with the bucket, and a record must stay below Firestore's
    1 MiB.
    """
    earlier = tuple(
        one if one.phase.in_flight else replace(one, files=())
        for one in _trim(deployment.revisions)
    )
    return replace(deployment, revisions=(*earlier, revision))


def tell(deployment: Deployment, revision: Revision, now: datetime) -> Deployment:
    """Put the event of the revision's phase into the outbox, once.

    An accepted revision's deploy request goes with it.
    """
    messages: list[Message | None] = [event(deployment, revision, now)]
    if revision.phase is Phase.ACCEPTED:
        messages.append(request(deployment, revision, now))
    waiting = {message.id for message in deployment.outbox}
    fresh = tuple(
        message for message in messages if message and message.id not in waiting
    )
    return replace(deployment, outbox=deployment.outbox + fresh)


def progress(
    deployment: Deployment,
    revision: Revision,
    *,
    operation: str,
    stage: str,
    now: datetime,
) -> Deployment:
    """Note how far the platform's operation is; a new stage is told."""
    told = revision.operation == operation and revision.stage == stage
    noted = replace(revision, operation=operation, stage=stage)
    changed = with_revision(deployment, noted)
    return changed if told or not stage else tell(changed, noted, now)


def relocate(
    deployment: Deployment,
    revision: Revision,
    plan: Plan,
    *,
    model_name: str,
    limit: float,
    now: datetime,
) -> Deployment:
    """Begin anew in the region of `plan`; what was made so far is to be removed.

    Args:
        deployment: The record.
        revision: The revision that found no machine.
        plan: Its plan in the other region.
        model_name: Full name its model will have there.
        limit: Seconds after which the upload gives up.
        now: When.
    """
    left = (deployment.endpoint_name, revision.model_name)
    there = replace(
        deployment,
        region=plan.region,
        endpoint_name="",
        endpoint_dns="",
        endpoint_url="",
        leftovers=(*deployment.leftovers, *(name for name in left if name)),
    )
    return move(
        there,
        revision,
        Phase.UPLOADING,
        now=now,
        limit=limit,
        plan=plan,
        tried=(*revision.tried, deployment.region),
        model_name=model_name,
        deployed=False,
    )


def fail(
    deployment: Deployment,
    revision: Revision,
    reason: Reason,
    message: str,
    *,
    now: datetime,
    log_tail: tuple[str, ...] = (),
) -> Deployment:
    """End `revision` badly, with the words of whoever refused it."""
    return move(
        deployment,
        revision,
        Phase.FAILED,
        now=now,
        reason=reason,
        message=message,
        log_tail=log_tail,
    )


def supersede(deployment: Deployment, revision: Revision, now: datetime) -> Deployment:
    """Note that a newer revision has taken the place of `revision`."""
    return move(deployment, revision, Phase.SUPERSEDED, now=now)


def withdraw(
    deployment: Deployment, revision: Revision, reason: Reason, now: datetime
) -> Deployment:
    """Let a live revision go because the user, or its ttl, no longer wants it."""
    phase = Phase.RETIRED if revision.phase is Phase.ACCEPTED else Phase.RETIRING
    return move(deployment, revision, phase, now=now, reason=reason)


def withdraw_all(deployment: Deployment, now: datetime) -> Deployment:
    """Carry an undeploy out that was ordered: on all that was there by then."""
    changed = replace(deployment, withdrawn=False)
    for revision in deployment.revisions if deployment.withdrawn else ():
        if revision.phase.live:
            changed = withdraw(changed, revision, Reason.WITHDRAWN, now)
    return changed


def last(deployment: Deployment, revision: Revision) -> Deployment:
    """`deployment` with one of its revisions as the newest; its number stays."""
    others = tuple(rev for rev in deployment.revisions if rev is not revision)
    return replace(deployment, revisions=(*others, revision))


def _with_canary(deployment: Deployment) -> tuple[Revision, Revision]:
    serving, canary = deployment.serving, deployment.canary
    if serving is None or canary is None:
        raise LookupError(f"{deployment.id} has no canary")
    return serving, canary


def promote(deployment: Deployment, now: datetime) -> Deployment:
    """Give the canary all traffic: what served before is let go of.

    Raises:
        LookupError: There is no canary.
    """
    serving, canary = _with_canary(deployment)
    whole = replace(canary, share=WHOLE)
    return supersede(with_revision(deployment, whole), serving, now)


def give_up_canary(deployment: Deployment, now: datetime) -> Deployment:
    """Give all traffic back to what served before the canary.

    Raises:
        LookupError: There is no canary.
    """
    serving, canary = _with_canary(deployment)
    changed = supersede(last(deployment, serving), canary, now)
    for other in deployment.revisions:
        if other.phase in {Phase.ACCEPTED, Phase.WAITING}:
            changed = supersede(changed, other, now)
    return changed


def recall(deployment: Deployment, revision: Revision) -> Deployment:
    """Note that `revision` is wanted again, once it has been let go of."""
    changed = replace(forget_recalls(deployment), withdrawn=False)
    return with_revision(changed, replace(revision, recalled=True))


def forget_recalls(deployment: Deployment) -> Deployment:
    """`deployment` without any order to bring a revision back."""
    revisions = tuple(
        replace(rev, recalled=False) if rev.recalled else rev
        for rev in deployment.revisions
    )
    return replace(deployment, revisions=revisions)


def wake(
    deployment: Deployment, revision: Revision, order: str, now: datetime
) -> Deployment:
    """Ask for the deployment to be looked at now, for the sake of an order."""
    asked = request(deployment, revision, now, detail=order)
    waiting = {message.id for message in deployment.outbox}
    outbox = deployment.outbox if asked.id in waiting else (*deployment.outbox, asked)
    return replace(deployment, outbox=outbox)


def reactivate(deployment: Deployment, revision: Revision, now: datetime) -> Deployment:
    """Send an ended revision on its way again (retry, rollback, old bytes back).

    It becomes the newest of the record; its number stays, and what was ordered
    over its options holds again. A revision that is still on its way to the
    platform, but has not started, makes room for it.
    """
    again = replace(revision, recalled=False)
    changed = last(with_revision(forget_recalls(deployment), again), again)
    changed = replace(changed, withdrawn=False, overrides=again.overrides)
    for other in changed.revisions:
        if other.phase in {Phase.ACCEPTED, Phase.WAITING}:
            changed = supersede(changed, other, now)
    return move(
        changed,
        again,
        Phase.ACCEPTED,
        now=now,
        attempt=revision.attempt + 1,
        tried=(),
        started=now,
        reason=Reason.NONE,
        message="",
        log_tail=(),
    )


def _trim(revisions: tuple[Revision, ...]) -> tuple[Revision, ...]:
    """Cut the oldest revisions that nothing on the platform belongs to."""
    surplus = len(revisions) + 1 - KEPT_REVISIONS
    kept: list[Revision] = []
    for revision in revisions:
        ended = revision.phase.resting and revision.phase is not Phase.READY
        if surplus > 0 and ended and not revision.deployed:
            surplus -= 1
        else:
            kept.append(revision)
    return tuple(kept)
