"""What to do next for a record, decided from the record alone.

`next_step` is total and pure; services/reconcile.py performs the step and
writes what came of it. The same record gives the same step, however often
and by whomever it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Revision


@dataclass(frozen=True, slots=True)
class Start:
    """Let an accepted revision begin: no call, one write."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Upload:
    """Create the Vertex AI model."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class CreateEndpoint:
    """Create the endpoint, or find it."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Deploy:
    """Deploy the model on the endpoint."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Await:
    """Look at the operation under way."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Verify:
    """Have the new deployed model answer a prompt."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The phase's deadline has passed."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Undeploy:
    """Free the GPUs of a revision that no longer serves."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class RemoveModel:
    """Remove the half-made model of a failed revision."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Finish:
    """A retiring revision has nothing left on the platform: no call, one write."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Retire a revision that the user, or its ttl, no longer wants."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do."""


Step = (
    Start
    | Upload
    | CreateEndpoint
    | Deploy
    | Await
    | Verify
    | GiveUp
    | Undeploy
    | RemoveModel
    | Finish
    | Withdraw
    | Rest
)

_ACTS: dict[Phase, type[Upload | CreateEndpoint | Deploy]] = {
    Phase.UPLOADING: Upload,
    Phase.CREATING_ENDPOINT: CreateEndpoint,
    Phase.DEPLOYING: Deploy,
}

_LET_GO = frozenset({Phase.SUPERSEDED, Phase.FAILED, Phase.RETIRING})


def next_step(deployment: Deployment, now: datetime) -> Step:
    """The one step that comes next.

    What was let go of comes first, because it holds GPUs; then the revision
    that is under way; only then may the next accepted one start, so that a
    deployment never has more than two deployed models.
    """
    for revision in deployment.revisions:
        step = _release(revision)
        if step:
            return step
    for revision in deployment.revisions:
        if _unwanted(deployment, revision, now):
            return Withdraw(revision)
    for revision in deployment.revisions:
        if revision.phase.in_flight:
            return _advance(revision, now)
    for revision in deployment.revisions:
        if revision.phase is Phase.ACCEPTED:
            return Start(revision)
    return Rest()


def _release(revision: Revision) -> Step | None:
    if revision.phase not in _LET_GO:
        return None
    if revision.deployed:
        return Undeploy(revision)
    if revision.phase is Phase.RETIRING:
        return Finish(revision)
    if revision.phase is Phase.FAILED and revision.model_name:
        return RemoveModel(revision)
    return None


def expiry(revision: Revision) -> datetime | None:
    """When a ready revision's ttl runs out; None without one."""
    if revision.phase is not Phase.READY or not revision.options.ttl:
        return None
    return revision.phase_since + timedelta(seconds=revision.options.ttl)


def _unwanted(deployment: Deployment, revision: Revision, now: datetime) -> bool:
    live = revision.phase.in_flight or revision.phase in {Phase.READY, Phase.ACCEPTED}
    end = expiry(revision)
    return live and (deployment.withdrawn or (end is not None and end <= now))


def _advance(revision: Revision, now: datetime) -> Step:
    if revision.deadline and revision.deadline <= now:
        return GiveUp(revision)
    if revision.operation:
        return Await(revision)
    if revision.phase is Phase.VERIFYING:
        return Verify(revision)
    return _ACTS[revision.phase](revision)


def due(deployment: Deployment, now: datetime, poll: float) -> datetime | None:
    """When a tick must look at the record again; None if there is no need.

    Args:
        deployment: The record.
        now: The present.
        poll: Seconds to leave the platform alone while it works.
    """
    if deployment.outbox:
        return now
    candidates: list[datetime] = []
    if not isinstance(next_step(deployment, now), Rest):
        candidates.append(now + timedelta(seconds=poll))
    latest = deployment.latest
    if latest and latest.phase is Phase.WAITING:
        candidates.append(latest.recheck or now + timedelta(seconds=poll))
    candidates += [end for end in map(expiry, deployment.revisions) if end]
    return min(candidates, default=None)
