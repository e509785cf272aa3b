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
class Displace:
    """End a canary that a newer revision overtakes: no call, one write."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """Let the serving revision go where an endpoint holds one: no call, one write."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Recall:
    """Send a revision that was ordered back on its way: no call, one write."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Clear:
    """Remove what was left behind in another region."""

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
    | Displace
    | MakeRoom
    | Recall
    | Clear
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
    that is under way; only then may the next accepted one start, in the place
    of a canary if there is one, so that a deployment never has more than two
    deployed models. What was left behind in another region comes last: that
    region may be out of order, and nothing waits for it.
    """
    for revision in deployment.revisions:
        step = _release(revision)
        if step:
            return step
    for revision in deployment.revisions:
        if _unwanted(deployment, revision, now):
            return Withdraw(revision)
    for revision in deployment.revisions:
        if revision.recalled:
            return Recall(revision)
    for revision in deployment.revisions:
        if revision.phase.in_flight:
            return _advance(deployment, revision, now)
    return _begin(deployment)


def _begin(deployment: Deployment) -> Step:
    waiting = [rev for rev in deployment.revisions if rev.phase is Phase.ACCEPTED]
    if not waiting:
        latest = deployment.latest
        return Clear(latest) if latest and deployment.leftovers else Rest()
    canary = deployment.canary
    return Displace(canary) if canary else Start(waiting[0])


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
    end = expiry(revision)
    expired = end is not None and end <= now
    return revision.phase.live and (deployment.withdrawn or expired)


def _advance(deployment: Deployment, revision: Revision, now: datetime) -> Step:
    if revision.deadline and revision.deadline <= now:
        return GiveUp(revision)
    if revision.operation:
        return Await(revision)
    if revision.phase is Phase.VERIFYING:
        return Verify(revision)
    serving = deployment.serving
    if revision.phase is Phase.DEPLOYING and serving and _alone(serving, revision):
        return MakeRoom(serving)
    return _ACTS[revision.phase](revision)


def _alone(*revisions: Revision) -> bool:
    """Whether one of these must be the only one on its endpoint.

    Vertex AI scales to zero only where an endpoint holds a single model.
    """
    return any(revision.options.scale_to_zero for revision in revisions)


def due(
    deployment: Deployment, now: datetime, poll: float, *, owing: bool
) -> datetime | None:
    """When a tick must look at the record again; None if there is no need.

    Args:
        deployment: The record.
        now: The present.
        poll: Seconds to leave the platform alone while it works.
        owing: Whether messages of it are still to be published.
    """
    if owing:
        return now
    candidates: list[datetime] = []
    if not isinstance(next_step(deployment, now), Rest):
        candidates.append(now + timedelta(seconds=poll))
    latest = deployment.latest
    if latest and latest.phase is Phase.WAITING:
        candidates.append(latest.recheck or now + timedelta(seconds=poll))
    candidates += [end for end in map(expiry, deployment.revisions) if end]
    return min(candidates, default=None)
