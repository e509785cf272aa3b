"""The tick: look at every record that is due, and at what nobody claims.

It is the safety net under every event that was lost, and the pulse of every
operation under way. One record's trouble never keeps it from the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from weightdrop import logs, telemetry
from weightdrop.core.deployment.naming import deployed_model_id
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment
from weightdrop.errors import StaleError, TransientError, WeightdropError
from weightdrop.ports import Platform, Records, Resource
from weightdrop.services.admit import Admission
from weightdrop.services.reconcile import Reconciler
from weightdrop.services.verify import settle_traffic

log = logging.getLogger(__name__)

BATCH = 100
"""Records looked at by one tick; the next takes the rest."""

WORKERS = 8
"""Records looked at side by side: most of a look is waiting for an answer."""


LONGEST_WAIT = 600.0
"""Seconds that a record which makes trouble is left alone, at most."""

MOST_SETBACKS = 10
"""Setbacks that are counted: by then the longest wait is reached."""

Each = Callable[[Callable[[str], None], Sequence[str]], None]


def one_by_one(act: Callable[[str], None], things: Sequence[str]) -> None:
    """Do `act` to each of `things`, in their order."""
    for thing in things:
        act(thing)


def at_once(act: Callable[[str], None], things: Sequence[str]) -> None:
    """Do `act` to each of `things`, several at a time; returns when all is done."""
    if len(things) < 2:  # noqa: PLR2004 - a pair is the least that has company
        one_by_one(act, things)
        return
    with ThreadPoolExecutor(min(WORKERS, len(things)), "tick") as pool:
        for done in [pool.submit(copy_context().run, act, one) for one in things]:
            done.result()


@dataclass(frozen=True, slots=True)
class Tick:
    """Looks at what is due.

    Attributes:
        records: The records.
        admission: For folders that wait.
        reconciler: For everything else.
        each: Does one thing to each of many; several at once, if it likes.
    """

    records: Records
    admission: Admission
    reconciler: Reconciler
    each: Each = one_by_one

    def run(self) -> int:
        """Look at what is due; returns how many records were looked at."""
        ids = self.records.due(self.reconciler.clock.now(), limit=BATCH)
        self.each(self._one, ids)
        return len(ids)

    def _one(self, deployment_id: str) -> None:
        with telemetry.work("on_tick"):
            self._try(deployment_id)

    def _try(self, deployment_id: str) -> None:
        try:
            self._look(deployment_id)
        except StaleError as error:
            log.info("%s: %s", deployment_id, error)
        except TransientError as error:
            log.warning("%s: %s", deployment_id, error)
            self._later(deployment_id, error.retry_after)
        except WeightdropError:
            log.exception("%s", deployment_id)
            self._later(deployment_id, None)

    def _look(self, deployment_id: str) -> None:
        held = self.records.get(deployment_id)
        if held is None:
            return
        self._tell(held.deployment)
        deployment: Deployment | None = held.deployment
        if held.deployment.phase is Phase.WAITING:
            bucket, prefix = held.deployment.bucket, held.deployment.prefix
            deployment = self.admission.folder(bucket, prefix, held=held)
        # What admission wrote is read anew: the version of it is not known here.
        same = deployment is held.deployment
        self.reconciler.deployment(deployment_id, held=held if same else None)

    def _tell(self, deployment: Deployment) -> None:
        """Log how long the record has been where it is, if it is to leave there."""
        latest = deployment.latest
        if latest is None or latest.phase.resting:
            return
        age = (self.reconciler.clock.now() - latest.phase_since).total_seconds()
        facts = {
            logs.DEPLOYMENT: deployment.id,
            logs.PHASE: latest.phase.value,
            logs.PHASE_SECONDS: age,
        }
        log.info(
            "%s is %s since %d s",
            deployment.id,
            latest.phase,
            age,
            extra={"facts": facts},
        )

    def _later(self, deployment_id: str, seconds: float | None) -> None:
        """Put a record that made trouble behind the others."""
        held = self.records.get(deployment_id)
        if held is None:
            return
        now = self.reconciler.clock.now()
        setbacks = held.deployment.setbacks
        poll = self.reconciler.settings.poll_seconds
        wait = max(seconds or 0.0, min(LONGEST_WAIT, poll * 2**setbacks))
        later = replace(
            held.deployment,
            due=now + timedelta(seconds=wait),
            setbacks=min(setbacks + 1, MOST_SETBACKS),
        )
        try:
            self.records.put(later, version=held.version)
        except StaleError:
            return


@dataclass(frozen=True, slots=True)
class Sweep:
    """Removes what carries our label and no record claims.

    Attributes:
        records: The records.
        platform: Vertex AI.
    """

    records: Records
    platform: Platform

    def run(self, region: str) -> tuple[str, ...]:
        """Remove the orphans of one region; returns their names."""
        removed: list[str] = []
        for resource in self.platform.labelled(region):
            try:
                removed += self._look(resource)
            except TransientError as error:
                log.warning("%s stays for now: %s", resource.name, error)
        return tuple(removed)

    def _look(self, resource: Resource) -> tuple[str, ...]:
        if resource.kind == "endpoint":
            return self._endpoint(resource)
        deployment = self._claimant(resource)
        claimed = deployment and any(
            revision.model_name == resource.name for revision in deployment.revisions
        )
        if claimed:
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


def _at_rest(deployment: Deployment) -> bool:
    """Whether nobody is about to move the deployment's traffic."""
    return all(revision.phase.resting for revision in deployment.revisions)


def sweep_is_due(last: datetime | None, now: datetime, *, every: float) -> bool:
    """Whether `every` seconds have passed since the last sweep."""
    return last is None or now - last >= timedelta(seconds=every)
