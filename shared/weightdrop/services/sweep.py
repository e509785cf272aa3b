"""The sweep: what is ours on the platform and in the records is made to agree.

What carries our label and no record claims is removed: it would be paid for. What
a record says is ready and the platform no longer has was taken away by somebody
else; the record says so, and `retry` brings it back.

It costs as much as what is deployed. What is kept and costs nothing (the models of
revisions that served before, endpoints with nothing on them) may be any number: each
sweep looks at some of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from weightdrop.core.deployment.naming import deployed_model_id
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import Deployment, Revision
from weightdrop.core.deployment.transitions import withdraw
from weightdrop.errors import WeightdropError
from weightdrop.ports import Bus, Clock, Platform, Records, Resource
from weightdrop.services.session import Session
from weightdrop.services.verify import settle_traffic
from weightdrop.settings import Settings

log = logging.getLogger(__name__)

EVERY = 300.0
"""Seconds from one sweep of a process to the next."""

OTHERS = 2
"""Regions that no setting names which one sweep looks at: 30 of them in 75 minutes."""

IDLE = 100
"""Models, and endpoints with nothing on them, that one sweep looks at in a region:
10,000 of them in eight and a half hours."""

_PAGE = 100
"""Records that are asked for at a time."""

_Thing = TypeVar("_Thing")


@dataclass(frozen=True, slots=True)
class Sweep:
    """Compares what is ours with what is said of it.

    Attributes:
        records: The records.
        bus: Where events go.
        platform: Vertex AI.
        clock: Time.
        settings: How long the platform is left alone while it works.
    """

    records: Records
    bus: Bus
    platform: Platform
    clock: Clock
    settings: Settings

    def everywhere(self, regions: Sequence[str]) -> tuple[str, ...]:
        """Make regions agree; returns the names of what was removed.

        One in which we may not look, or that is out of order, keeps us from no other.
        """
        removed: list[str] = []
        seen: dict[str, tuple[Resource, ...]] = {}
        for region in regions:
            with _passing_over(region):
                seen[region] = self.platform.labelled(region)
                removed += self._region(seen[region])
        with _passing_over("what serves"):
            for deployment_id in self._missed(seen):
                with _passing_over(deployment_id):
                    self._note(deployment_id)
        return tuple(removed)

    def _region(self, seen: Sequence[Resource]) -> Iterator[str]:
        idle = sorted((one for one in seen if not one.deployed), key=lambda it: it.name)
        some = in_turn(idle, IDLE, self.clock.now())
        for resource in (*(one for one in seen if one.deployed), *some):
            with _passing_over(resource.name):
                if resource.kind == "endpoint":
                    yield from self._endpoint(resource)
                else:
                    yield from self._model(resource)

    def _model(self, resource: Resource) -> tuple[str, ...]:
        deployment = self._claimant(resource)
        known = deployment.revisions if deployment else ()
        if any(revision.model_name == resource.name for revision in known):
            return ()
        self.platform.delete_model(resource.name)
        log.warning("removed the orphan %s", resource.name)
        return (resource.name,)

    def _claimant(self, resource: Resource) -> Deployment | None:
        """Who may claim `resource`: read after it was seen.

        A record claims before the platform makes. Read the other way round, it
        could be older than what it is to claim.
        """
        held = self.records.get(resource.deployment_id)
        return held.deployment if held else None

    def _endpoint(self, resource: Resource) -> tuple[str, ...]:
        found = self.platform.endpoint(resource.name)
        if found is None:
            return ()
        deployment = self._claimant(resource)
        # The same endpoint in a region that the deployment has left is not its own.
        ours = deployment is not None and resource.name == (
            self.platform.endpoint_name(deployment.region, deployment.endpoint_id)
        )
        claimed = {
            deployed_model_id(revision.digest)
            for revision in (deployment.revisions if deployment and ours else ())
            if revision.deployed
        }
        if deployment and ours and _at_rest(deployment):
            settle_traffic(self.platform, deployment)
        orphans = tuple(one for one in found.deployed if one not in claimed)
        for one in orphans:
            self.platform.undeploy(resource.name, one)
            log.warning("removed the orphan %s of %s", one, resource.name)
        if not ours and not found.deployed:
            self.platform.delete_endpoint(resource.name)
            return (resource.name,)
        return tuple(f"{resource.name}/{one}" for one in orphans)

    def _missed(self, seen: Mapping[str, Sequence[Resource]]) -> tuple[str, ...]:
        """Deployments that are ready, and were not seen where they should be.

        Whoever takes away an endpoint together with its models leaves nothing that
        could be seen.
        """
        deployed = {one.name: one.deployed for some in seen.values() for one in some}
        return tuple(
            one.id
            for one in self._ready()
            if one.region in seen and _gone(one, deployed.get(one.endpoint_name, ()))
        )

    def _ready(self) -> Iterator[Deployment]:
        some = self.records.serving(after="", limit=_PAGE)
        while some:
            yield from some
            some = self.records.serving(after=some[-1].id, limit=_PAGE)

    def _note(self, deployment_id: str) -> None:
        """Write down what the platform no longer has.

        Lists are older than the records that were read after them. Here the record
        is read, then the platform is looked at: what is ready must be there by then.
        If the record moves meanwhile nothing is written.

        Raises:
            StaleError: It moved meanwhile.
        """
        poll = self.settings.poll_seconds
        session = Session(self.records, self.bus, self.clock, poll)
        deployment = session.load(deployment_id)
        if deployment is None or not _at_rest(deployment):
            return
        found = self.platform.endpoint(deployment.endpoint_name)
        changed = deployment
        for revision in _gone(deployment, found.deployed if found else ()):
            log.warning("%s: what served was taken away", deployment_id)
            now = self.clock.now()
            changed = withdraw(changed, revision, Reason.REMOVED, now)
        if changed is not deployment:
            session.save(changed)
            session.close()


def _gone(deployment: Deployment, deployed: tuple[str, ...]) -> tuple[Revision, ...]:
    """What is ready, but not among what is deployed."""
    return tuple(
        revision
        for revision in deployment.revisions
        if revision.phase is Phase.READY
        and deployed_model_id(revision.digest) not in deployed
    )


def _at_rest(deployment: Deployment) -> bool:
    """Whether nobody is about to move the deployment's traffic."""
    return all(revision.phase.resting for revision in deployment.revisions)


@contextmanager
def _passing_over(what: str) -> Iterator[None]:
    """Let no refusal, and no failure of the platform, keep us from what is next."""
    try:
        yield
    except WeightdropError as error:
        log.warning("%s stays as it is for now: %s", what, error)


def in_turn(things: Sequence[_Thing], most: int, now: datetime) -> tuple[_Thing, ...]:
    """At most so many of `things`: those whose turn it is, whoever asks.

    Args:
        things: All of them, in an order that stays.
        most: How many.
        now: The present: `EVERY` seconds later it is the turn of the next.
    """
    first = int(now.timestamp() // EVERY) * most
    count = min(most, len(things))
    return tuple(things[(first + step) % len(things)] for step in range(count))


def swept(
    settled: Sequence[str], others: Sequence[str], now: datetime
) -> tuple[str, ...]:
    """The regions that a sweep looks at: all that are settled, of the others some.

    A folder may name any region, so each is looked at now and then: `OTHERS` of
    them in a sweep, whichever process it is that sweeps.

    Args:
        settled: Where things are deployed that name no region.
        others: Every region there is.
        now: The present.
    """
    left = [region for region in others if region not in settled]
    return (*settled, *in_turn(left, OTHERS, now))


def sweep_is_due(last: datetime | None, now: datetime) -> bool:
    """Whether it is time for a process that swept at `last`."""
    return last is None or now - last >= timedelta(seconds=EVERY)
