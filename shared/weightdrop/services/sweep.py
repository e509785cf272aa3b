"""The sweep: what is ours on the platform and in the records is made to agree.

What carries our label and no record claims is removed: it would be paid for. What
a record says is ready and the platform no longer has was taken away by somebody
else; the record says so, and `retry` brings it back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

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

OTHERS = 2
"""Regions that no setting names which one sweep looks at: 30 of them in 75 minutes."""


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
        for region in regions:
            try:
                removed += self.run(region)
            except WeightdropError as error:
                log.warning("not swept: %s: %s", region, error)
        return tuple(removed)

    def run(self, region: str) -> tuple[str, ...]:
        """Make one region agree; returns the names of what was removed."""
        removed: list[str] = []
        seen = self.platform.labelled(region)
        endpoints = frozenset(one.name for one in seen if one.kind == "endpoint")
        for resource in seen:
            try:
                if resource.kind == "endpoint":
                    removed += self._endpoint(resource)
                else:
                    removed += self._model(resource, endpoints)
            except WeightdropError as error:
                log.warning("%s stays for now: %s", resource.name, error)
        return tuple(removed)

    def _model(self, resource: Resource, endpoints: frozenset[str]) -> tuple[str, ...]:
        deployment = self._claimant(resource)
        claims = [
            revision
            for revision in (deployment.revisions if deployment else ())
            if revision.model_name == resource.name
        ]
        if deployment and claims:
            # An endpoint that is gone is not among what is seen: its model is.
            gone = deployment.endpoint_name not in endpoints
            if gone and any(map(_serves, claims)):
                self._note(deployment.id)
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
            if _gone(deployment, found.deployed):
                self._note(deployment.id)
        orphans = tuple(one for one in found.deployed if one not in claimed)
        for one in orphans:
            self.platform.undeploy(resource.name, one)
            log.warning("removed the orphan %s of %s", one, resource.name)
        if not ours and not found.deployed:
            self.platform.delete_endpoint(resource.name)
            return (resource.name,)
        return tuple(f"{resource.name}/{one}" for one in orphans)

    def _note(self, deployment_id: str) -> None:
        """Write down what the platform no longer has.

        Here the record is read before the platform is looked at: what it calls
        ready by then must be there. If it moves meanwhile nothing is written.

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
        if _serves(revision) and deployed_model_id(revision.digest) not in deployed
    )


def _serves(revision: Revision) -> bool:
    return revision.phase is Phase.READY


def _at_rest(deployment: Deployment) -> bool:
    """Whether nobody is about to move the deployment's traffic."""
    return all(revision.phase.resting for revision in deployment.revisions)


def swept(
    settled: Sequence[str], others: Sequence[str], now: datetime, *, every: float
) -> tuple[str, ...]:
    """The regions that a sweep looks at: all that are settled, of the others some.

    A folder may name any region, so each is looked at now and then: `OTHERS` of
    them in a sweep, whichever process it is that sweeps.

    Args:
        settled: Where things are deployed that name no region.
        others: Every region there is.
        now: The present.
        every: Seconds from one sweep to the next.
    """
    left = [region for region in others if region not in settled]
    first = int(now.timestamp() // every) * OTHERS
    turn = [left[(first + step) % len(left)] for step in range(min(OTHERS, len(left)))]
    return (*settled, *turn)


def sweep_is_due(last: datetime | None, now: datetime, *, every: float) -> bool:
    """Whether `every` seconds have passed since the last sweep."""
    return last is None or now - last >= timedelta(seconds=every)
