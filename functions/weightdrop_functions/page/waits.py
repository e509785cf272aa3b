"""Why a deployment stands still, where that is not its phase's own business."""

from __future__ import annotations

from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Revision
from weightdrop_functions.page.words import plain

_LET_GO = frozenset({Phase.SUPERSEDED, Phase.FAILED, Phase.RETIRING})


def why(deployment: Deployment) -> str:
    """A sentence or two for a person; empty where nothing is waited for.

    What keeps it comes before what it would do otherwise: a platform that
    cannot be asked, another revision, a folder that still changes.
    """
    latest = deployment.latest
    if latest is None:
        return ""
    if deployment.setbacks and deployment.due:
        return f"The last {_times(deployment.setbacks)} got nowhere."
    if latest.phase is Phase.ACCEPTED:
        other = _before(deployment, latest)
        return _first(other) if other else ""
    if latest.phase is Phase.WAITING and not latest.missing:
        return "No file is missing: it begins once the folder stays as it is."
    if deployment.leftovers:
        return "What was made in another region is still to be removed there."
    return ""


def _first(other: Revision) -> str:
    now = plain(other.phase.value)
    return (
        f"Revision {other.number} comes to rest first ({now}): one at a time comes up."
    )


def _times(setbacks: int) -> str:
    return "look" if setbacks == 1 else f"{setbacks} looks"


def _before(deployment: Deployment, latest: Revision) -> Revision | None:
    """The revision whose turn it is while `latest` waits."""
    for one in deployment.revisions:
        going = one.phase in _LET_GO and one.deployed
        if one is not latest and (going or one.phase.in_flight):
            return one
    return None
