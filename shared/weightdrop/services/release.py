"""Letting go: what a revision holds on the platform is freed, step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace

from weightdrop.core.deployment.naming import deployed_model_id
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Revision
from weightdrop.core.deployment.transitions import with_revision
from weightdrop.ports import Platform, Records
from weightdrop.services.verify import settle_traffic


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a step.

    Attributes:
        deployment: The record to write; None if nothing is new.
        wait: Whether the platform needs time before the next step.
    """

    deployment: Deployment | None
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """The ports that letting go takes.

    Attributes:
        records: The records.
        platform: Vertex AI.
    """

    records: Records
    platform: Platform

    def undeploy(self, deployment: Deployment, revision: Revision) -> Taken:
        """Free the GPUs of a revision, after its traffic went to what is ready."""
        if revision.operation:
            operation = self.platform.operation(revision.operation)
        else:
            settle_traffic(self.platform, deployment)
            operation = self.platform.undeploy(
                self.platform.endpoint_name(deployment.region, deployment.endpoint_id),
                deployed_model_id(revision.digest),
            )
        if operation is None or operation.fault:
            again = replace(revision, operation="")
            return Taken(with_revision(deployment, again), wait=True)
        if operation.done:
            gone = replace(revision, operation="", deployed=False)
            return Taken(with_revision(deployment, gone))
        under_way = replace(revision, operation=operation.name)
        return Taken(with_revision(deployment, under_way), wait=True)

    def remove_model(self, deployment: Deployment, revision: Revision) -> Taken:
        """Remove the model of a failed revision."""
        self.platform.delete_model(revision.model_name)
        gone = replace(revision, model_name="")
        return Taken(with_revision(deployment, gone))

    def clear(self, deployment: Deployment, _: Revision) -> Taken:
        """Remove one thing that was left behind in another region."""
        name, *rest = deployment.leftovers
        # Whoever has come back to a region has its own there again.
        if not self._claims(deployment, name) and not self._remove(name):
            return Taken(None, wait=True)
        return Taken(replace(deployment, leftovers=tuple(rest)))

    def _claims(self, deployment: Deployment, name: str) -> bool:
        place = deployment.region, deployment.endpoint_id
        models = {revision.model_name for revision in deployment.revisions}
        return name in {self.platform.endpoint_name(*place), *models}

    def _remove(self, name: str) -> bool:
        """Remove an endpoint or a model; whether it is gone."""
        if "/endpoints/" not in name:
            self.platform.delete_model(name)
            return True
        found = self.platform.endpoint(name)
        for one in found.deployed if found else ():
            self.platform.undeploy(name, one)
        if found and found.deployed:
            return False
        self.platform.delete_endpoint(name)
        return True

    def undo(self, before: Deployment) -> None:
        """Undo a deploy that was started for a record that has moved on.

        The other writer may have ended the revision while ours was talking to
        the platform; what it no longer wants would run on, and be paid for.
        """
        held = self.records.get(before.id)
        for revision in before.revisions:
            if revision.phase is not Phase.DEPLOYING:
                continue
            now = held.deployment.find(revision.digest) if held else None
            if held is None or now is None or not now.deployed:
                self.platform.undeploy(
                    self.platform.endpoint_name(before.region, before.endpoint_id),
                    deployed_model_id(revision.digest),
                )
