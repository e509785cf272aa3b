"""Admit: look at a folder, and write down what it amounts to.

Called for an object's event and for every tick while a folder waits. It only
ever asks what is in the bucket now; the event that caused the call says
nothing but where to look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from weightdrop import telemetry
from weightdrop.core.artifacts.findings import Severity, Verdict
from weightdrop.core.artifacts.model import ModelFacts
from weightdrop.core.artifacts.objects import CONFIG_NAME, ArtifactSet
from weightdrop.core.artifacts.overrides import Overrides, identity
from weightdrop.core.artifacts.policy import Policy
from weightdrop.core.artifacts.report import Report
from weightdrop.core.deployment import admission, naming
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import Deployment, Revision
from weightdrop.core.deployment.settling import settles_at
from weightdrop.core.deployment.transitions import tell, with_revision
from weightdrop.core.deployment.triggers import (
    folder_of,
    is_config,
)
from weightdrop.core.planning.choose import plan
from weightdrop.core.planning.plan import NoPlan, Plan, PlanRequest
from weightdrop.core.planning.tables import packaged_tables
from weightdrop.errors import ConflictError, StaleError, TransientError
from weightdrop.ports import Artifacts, Bus, Clock, Records, Versioned
from weightdrop.services.listing import list_drop
from weightdrop.services.planning import request_for
from weightdrop.services.policy import policy_of
from weightdrop.services.session import Session
from weightdrop.settings import Settings

log = logging.getLogger(__name__)

TRIES = 5
"""Times a run starts over because the record or the folder moved under it."""


Inspect = Callable[[Artifacts, ArtifactSet, Policy], Report]
Choose = Callable[[ModelFacts, PlanRequest], Plan | NoPlan]


def _inspect(store: Artifacts, artifacts: ArtifactSet, policy: Policy) -> Report:
    # Imported when a folder is looked at: most events are about single objects.
    from weightdrop.services.inspection import inspect_artifacts  # noqa: PLC0415

    return inspect_artifacts(store, artifacts, policy=policy)


def _choose(model: ModelFacts, request: PlanRequest) -> Plan | NoPlan:
    return plan(model, request, packaged_tables())


@dataclass(frozen=True, slots=True)
class Admission:
    """The ports that admitting takes.

    Attributes:
        artifacts: The bucket.
        records: The records.
        bus: Where events and requests go.
        clock: Time.
        settings: Quiet time, deadlines, region, strictness.
        inspect: What finds out what a folder holds.
        choose: What finds a machine for it.
    """

    artifacts: Artifacts
    records: Records
    bus: Bus
    clock: Clock
    settings: Settings
    inspect: Inspect = _inspect
    choose: Choose = _choose

    def object_changed(
        self, bucket: str, name: str, *, size: int, crc32c: str
    ) -> Deployment | None:
        """React to a new object; returns the record if it was looked at.

        An object that is exactly what the newest revision already holds costs
        one read of the record.

        Raises:
            TransientError: If the folder must be looked at again later.
        """
        prefix = folder_of(name)
        if not is_config(name):
            held = self.records.get(naming.deployment_id(bucket, prefix))
            if held is None or admission.unchanged(held.deployment, name, size, crc32c):
                return None
        return self.folder(bucket, prefix)

    def object_deleted(self, bucket: str, name: str) -> Deployment | None:
        """React to an object that is gone: only a folder that waits is looked at.

        What was admitted stays as it is: Vertex AI serves a copy of its own, and
        whoever tidies a bucket up does not mean to drop anything.

        Raises:
            TransientError: If the folder must be looked at again later.
        """
        prefix = folder_of(name)
        held = self.records.get(naming.deployment_id(bucket, prefix))
        if held is None or admission.waiting_revision(held.deployment) is None:
            return None
        return self.folder(bucket, prefix)

    def folder(
        self,
        bucket: str,
        prefix: str,
        *,
        overrides: Overrides | None = None,
        held: Versioned | None = None,
    ) -> Deployment | None:
        """Look at a folder until what is written is what is there.

        Args:
            bucket: Where it is.
            prefix: Which it is.
            overrides: Options that an order lays over the folder's own, now and
                for whatever is dropped there later; none ends those of an earlier
                order. Left out where nobody ordered anything.
            held: The record, where it has just been read.

        Raises:
            TransientError: If it kept moving; the next event or tick goes on.
            ConflictError: If the order asks for what this deployment cannot do.
        """
        for read in (held, *(None for _ in range(1, TRIES))):
            try:
                return self._once(bucket, prefix, overrides, read)
            except StaleError as error:
                log.info("gs://%s/%s moved while read: %s", bucket, prefix, error)
        raise TransientError(f"gs://{bucket}/{prefix} is still changing")

    def _once(
        self,
        bucket: str,
        prefix: str,
        overrides: Overrides | None,
        held: Versioned | None,
    ) -> Deployment | None:
        session = Session(
            self.records, self.bus, self.clock, self.settings.poll_seconds
        )
        identity = naming.deployment_id(bucket, prefix)
        deployment = session.load(identity, held=held)
        artifacts = list_drop(self.artifacts, bucket, prefix)
        if artifacts.get(CONFIG_NAME) is None:
            changed = self._without_config(deployment)
        else:
            wanted = _ordered(deployment or self._blank(bucket, prefix), overrides)
            changed = self._decide(
                wanted, artifacts=artifacts, ordered=overrides is not None
            )
            if changed is None and wanted is not deployment:
                changed = wanted
        if changed is not None:
            session.save(changed)
        session.close()
        return session.deployment if session.held else None

    def _without_config(self, deployment: Deployment | None) -> Deployment | None:
        """A folder that lost its config.json waits for it, if it waited at all."""
        waiting = admission.waiting_revision(deployment) if deployment else None
        if deployment is None or waiting is None:
            return None
        return self._still_waiting(deployment, waiting, waiting.digest, (CONFIG_NAME,))

    def _blank(self, bucket: str, prefix: str) -> Deployment:
        now = self.clock.now()
        deployment = naming.deployment_id(bucket, prefix)
        return Deployment(
            id=deployment,
            bucket=bucket,
            prefix=prefix,
            region=self.settings.region,
            created=now,
            updated=now,
            endpoint_id=naming.endpoint_id(deployment),
        )

    def _decide(
        self, deployment: Deployment, *, artifacts: ArtifactSet, ordered: bool
    ) -> Deployment | None:
        """The record after looking at `artifacts`; None if nothing is new."""
        now = self.clock.now()
        relevant = admission.relevant(artifacts)
        digest = identity(relevant, deployment.overrides)
        known = deployment.find(digest)
        if known and known.phase is not Phase.WAITING:
            return admission.known_again(deployment, known, now, ordered=ordered)
        waiting = admission.waiting_revision(deployment)
        gaps = admission.gaps(waiting, relevant)
        if waiting and gaps:
            return self._still_waiting(deployment, waiting, digest, gaps)
        return self._inspect(deployment, waiting, artifacts, relevant)

    def _still_waiting(
        self,
        deployment: Deployment,
        waiting: Revision,
        digest: str,
        gaps: tuple[str, ...],
    ) -> Deployment | None:
        """Files that were named before have still not arrived: read nothing."""
        now = self.clock.now()
        if waiting.deadline and waiting.deadline <= now:
            return admission.reject(deployment, waiting, Reason.INCOMPLETE, now)
        known = (waiting.digest, waiting.missing) == (digest, gaps)
        if known and waiting.recheck and waiting.recheck > now:
            return None
        noted = replace(
            waiting,
            digest=digest,
            missing=gaps,
            # What was found missing then is told by `missing` now.
            findings=tuple(
                one for one in waiting.findings if one.severity is not Severity.MISSING
            ),
            recheck=self._recheck(waiting),
        )
        return with_revision(deployment, noted)

    def _recheck(self, waiting: Revision | None) -> datetime:
        """Look again at every tick at first, ever more rarely later on."""
        now = self.clock.now()
        age = (now - waiting.phase_since).total_seconds() if waiting else 0.0
        return now + timedelta(seconds=max(self.settings.poll_seconds, age / 10))

    def _inspect(
        self,
        deployment: Deployment,
        waiting: Revision | None,
        artifacts: ArtifactSet,
        relevant: ArtifactSet,
    ) -> Deployment:
        known = identity(relevant, deployment.overrides)
        blank = self._revision(deployment, waiting, known)
        listed = self.clock.now()
        with telemetry.step("Inspect"):
            report = self._report(artifacts, deployment.overrides)
        settles = settles_at(
            relevant,
            first=all(rev.phase is Phase.WAITING for rev in deployment.revisions),
            quiet=self.settings.settle_seconds,
        )
        # What came while the folder was read is not in the listing.
        settling = settles is not None and settles > listed
        now = self.clock.now()
        revision = replace(
            blank,
            content=relevant.digest if deployment.overrides else "",
            overrides=deployment.overrides,
            findings=report.findings,
            missing=report.missing,
            files=relevant.files,
            model=admission.summary(report),
            options=admission.named(report.options, deployment),
        )
        if settling:
            revision = replace(revision, recheck=settles)
        changed = admission.placed(deployment, revision)
        if report.verdict is Verdict.INCOMPLETE or settling:
            if revision.deadline and revision.deadline <= now:
                return admission.reject(changed, revision, Reason.INCOMPLETE, now)
            return changed if waiting else tell(changed, revision, now)
        if report.verdict is Verdict.REJECTED:
            return admission.reject(changed, revision, Reason.INVALID, now)
        return self._plan(changed, revision, report)

    def _report(self, artifacts: ArtifactSet, overrides: Overrides) -> Report:
        from weightdrop.core.artifacts.overlay import laid_over  # noqa: PLC0415

        policy = policy_of(self.settings)
        return laid_over(self.inspect(self.artifacts, artifacts, policy), overrides)

    def _revision(
        self, deployment: Deployment, waiting: Revision | None, digest: str
    ) -> Revision:
        now = self.clock.now()
        if waiting:
            return replace(waiting, digest=digest, recheck=self._recheck(waiting))
        numbers = (revision.number for revision in deployment.revisions)
        return Revision(
            number=max(numbers, default=0) + 1,
            digest=digest,
            phase=Phase.WAITING,
            phase_since=now,
            created=now,
            deadline=now + timedelta(seconds=self.settings.waiting_seconds),
            recheck=self._recheck(None),
        )

    def _plan(
        self, deployment: Deployment, revision: Revision, report: Report
    ) -> Deployment:
        if report.model is None:
            raise LookupError("an accepted report without model facts")
        options = report.options
        if deployment.endpoint_name:
            # An endpoint cannot move; a new revision comes up beside the old one.
            options = replace(options, region=deployment.region)
        with telemetry.step("Plan"):
            planned = self.choose(
                report.model, request_for(options, region=self.settings.region)
            )
        now = self.clock.now()
        findings = (*report.findings, *planned.findings)
        if isinstance(planned, NoPlan):
            return admission.reject(
                deployment, revision, Reason.NO_PLAN, now, findings=findings
            )
        return admission.accept(
            deployment, replace(revision, findings=findings), planned, now
        )


def _ordered(deployment: Deployment, overrides: Overrides | None) -> Deployment:
    """`deployment` with the overrides of an order; itself where nothing changes."""
    if overrides is None or overrides == deployment.overrides:
        return deployment
    region = dict(overrides).get("region", deployment.region)
    if deployment.endpoint_name and region != deployment.region:
        raise ConflictError(
            f"{deployment.id} has its endpoint in {deployment.region}, and an endpoint "
            f"cannot move to {region}. Copy the folder to another place and deploy "
            "that there."
        )
    return replace(deployment, overrides=overrides)
