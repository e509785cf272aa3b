"""The tick: look at every record that is due, and at what nobody claims.

It is the safety net under every event that was lost, and the pulse of every
operation under way. One record's trouble never keeps it from the next.
"""

from __future__ import annotations

import logging
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

log = logging.getLogger(__name__)

BATCH = 100
"""Records looked at by one tick; the next takes the rest."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Looks at what is due.

    Attributes:
        records: The records.
        admission: For folders that wait.
        reconciler: For everything else.
    """

    records: Records
    admission: Admission
    reconciler: Reconciler

    def run(self) -> int:
        """Look at what is due; returns how many records were looked at."""
        ids = self.records.due(self.reconciler.clock.now(), limit=BATCH)
        for deployment_id in ids:
            with telemetry.work("on_tick"):
                self._try(deployment_id)
        return len(ids)

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
        if held.deployment.phase is Phase.WAITING:
            self.admission.folder(held.deployment.bucket, held.deployment.prefix)
        self.reconciler.deployment(deployment_id)

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
        wait = seconds or self.reconciler.settings.poll_seconds
        try:
            self.records.put(
                replace(held.deployment, due=now + timedelta(seconds=wait)),
                version=held.version,
            )
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
        held = self.records.get(resource.deployment_id)
        deployment = held.deployment if held else None
        if resource.kind == "endpoint":
            return self._endpoint(resource, deployment)
        claimed = deployment and any(
            revision.model_name == resource.name for revision in deployment.revisions
        )
        if claimed:
            return ()
        self.platform.delete_model(resource.name)
        log.warning("removed the orphan %s", resource.name)
        return (resource.name,)

    def _endpoint(
        self, resource: Resource, deployment: Deployment | None
    ) -> tuple[str, ...]:
        found = self.platform.endpoint(resource.name)
        if found is None:
            return ()
        ours = (
            resource.name.endswith(f"/{deployment.endpoint_id}")
            if (deployment)
            else False
        )
        claimed = {
            deployed_model_id(revision.digest)
            for revision in (deployment.revisions if deployment and ours else ())
            if revision.deployed
        }
        orphans = tuple(one for one in found.deployed if one not in claimed)
        for one in orphans:
            self.platform.undeploy(resource.name, one)
            log.warning("removed the orphan %s of %s", one, resource.name)
        if not ours and not found.deployed:
            self.platform.delete_endpoint(resource.name)
            return (resource.name,)
        return tuple(f"{resource.name}/{one}" for one in orphans)


def sweep_is_due(last: datetime | None, now: datetime, *, every: float) -> bool:
    """Whether `every` seconds have passed since the last sweep."""
    return last is None or now - last >= timedelta(seconds=every)
