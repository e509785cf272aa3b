"""Where a first revision goes when its region has no machine for it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import Deployment, Revision
from weightdrop.core.deployment.transitions import relocate
from weightdrop.core.planning.plan import Plan
from weightdrop.ports import Clock, Platform
from weightdrop.services import specs
from weightdrop.settings import Settings

log = logging.getLogger(__name__)

_ROOMLESS = frozenset({Reason.NO_CAPACITY, Reason.QUOTA})


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What moving takes.

    Attributes:
        platform: Vertex AI; only asked for names.
        clock: Time.
        settings: The regions, in the order in which they are tried.
    """

    platform: Platform
    clock: Clock
    settings: Settings

    def begin(
        self, deployment: Deployment, revision: Revision, reason: Reason
    ) -> Deployment | None:
        """The record as it begins anew in the next region; None if it is to fail.

        Only what never served moves: an endpoint stays in its region, and its
        users know its name. A folder that names a region is deployed there or
        nowhere. A region that the key is not of is passed over.
        """
        bound = deployment.served or revision.options.region
        if bound or reason not in _ROOMLESS or revision.phase is not Phase.DEPLOYING:
            return None
        plan = self._plan(deployment, revision)
        if plan is None:
            return None
        if self.settings.private_projects:
            log.warning(
                "%s: its private endpoint will be in %s, where the network needs a "
                "way to it as well",
                deployment.id,
                plan.region,
            )
        return relocate(
            deployment,
            revision,
            plan,
            model_name=self.platform.model_name(
                plan.region, specs.model_id(deployment, revision)
            ),
            limit=self.settings.operation_seconds,
            now=self.clock.now(),
        )

    def _plan(self, deployment: Deployment, revision: Revision) -> Plan | None:
        """The same plan in the first region that is left and has the machine."""
        # Imported when a region has no room: few processes ever need the tables.
        from weightdrop.core.planning.moving import moved  # noqa: PLC0415
        from weightdrop.core.planning.tables import packaged_tables  # noqa: PLC0415

        tried = {*revision.tried, deployment.region}
        options = revision.options
        for region in self.settings.regions if revision.plan else ():
            found = region not in tried and moved(
                specs.plan(revision),
                region,
                packaged_tables(),
                most=options.max_hourly_usd,
                replicas=options.max_replica_count,
            )
            if found and self._has_key(deployment, region):
                return found
        return None

    def _has_key(self, deployment: Deployment, region: str) -> bool:
        """Whether what is made in a region can be encrypted: a key is of one region."""
        key = self.settings.kms_key
        if not key or f"/locations/{region}/" in key:
            return True
        log.warning(
            "%s does not move to %s: the key %s is of another region",
            deployment.id,
            region,
            key,
        )
        return False
