"""What a user may order: retry, rollback, undeploy. Each is one guarded write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Revision
from weightdrop.core.deployment.transitions import reactivate
from weightdrop.errors import ConflictError, NotFoundError, StaleError, TransientError
from weightdrop.ports import Bus, Clock, Records
from weightdrop.services.session import Session
from weightdrop.settings import Settings

TRIES = 10
"""Times an order starts over because a tick wrote in between."""


@dataclass(frozen=True, slots=True)
class Commands:
    """The ports that orders take.

    Attributes:
        records: The records.
        bus: Where the request goes that makes the order happen.
        clock: Time.
        settings: How long ticks leave the platform alone.
    """

    records: Records
    bus: Bus
    clock: Clock
    settings: Settings

    def retry(self, deployment_id: str) -> Deployment:
        """Send the newest revision on its way again.

        Raises:
            NotFoundError: If there is no such deployment.
            ConflictError: If it did not end in a way that a retry can change.
        """
        return self._order(deployment_id, self._retried)

    def rollback(self, deployment_id: str) -> Deployment:
        """Bring the revision back that served before; its weights are kept.

        Raises:
            NotFoundError: If there is no such deployment.
            ConflictError: If there is no earlier revision to go back to.
        """
        return self._order(deployment_id, self._rolled_back)

    def undeploy(self, deployment_id: str) -> Deployment:
        """Free everything the deployment holds; the endpoint's id is kept.

        Raises:
            NotFoundError: If there is no such deployment.
            ConflictError: If nothing of it is deployed or on its way.
        """
        return self._order(deployment_id, self._withdrawn)

    def possible(self, deployment: Deployment) -> frozenset[str]:
        """Which of the orders this deployment would take now, by their names."""
        orders = {
            "retry": self._retried,
            "rollback": self._rolled_back,
            "undeploy": self._withdrawn,
        }
        return frozenset(name for name, it in orders.items() if _takes(it, deployment))

    def _order(
        self, deployment_id: str, decide: Callable[[Deployment], Deployment]
    ) -> Deployment:
        for _ in range(TRIES):
            session = Session(
                self.records, self.bus, self.clock, self.settings.poll_seconds
            )
            deployment = session.load(deployment_id)
            if deployment is None:
                raise NotFoundError(f"There is no deployment {deployment_id!r}.")
            try:
                session.save(decide(deployment))
                session.close()
            except StaleError:
                continue
            return session.deployment
        raise TransientError(f"{deployment_id} is being worked on; try again.")

    def _retried(self, deployment: Deployment) -> Deployment:
        latest = deployment.latest
        if latest is None or latest.phase not in {Phase.FAILED, Phase.RETIRED}:
            phase = deployment.phase.value
            raise ConflictError(
                f"{deployment.id} is {phase}; only a failed or retired one is retried."
            )
        return self._again(deployment, latest)

    def _rolled_back(self, deployment: Deployment) -> Deployment:
        earlier = [
            revision
            for revision in deployment.revisions
            if revision.phase is Phase.SUPERSEDED and revision.model_name
        ]
        if not earlier:
            raise ConflictError(f"{deployment.id} has no earlier revision to go to.")
        return self._again(deployment, earlier[-1])

    def _again(self, deployment: Deployment, revision: Revision) -> Deployment:
        if revision.deployed or revision.operation:
            raise ConflictError(
                f"Revision {revision.number} of {deployment.id} is still being "
                "cleaned up; try again in a moment."
            )
        if not revision.reason.retryable and revision.phase is Phase.FAILED:
            raise ConflictError(
                f"The same bytes would end the same way ({revision.reason.value}): "
                "drop corrected ones."
            )
        return reactivate(deployment, revision, self.clock.now())

    def _withdrawn(self, deployment: Deployment) -> Deployment:
        live = any(
            revision.phase.in_flight
            or revision.phase in {Phase.READY, Phase.ACCEPTED, Phase.RETIRING}
            for revision in deployment.revisions
        )
        if not live:
            raise ConflictError(f"Nothing of {deployment.id} is deployed.")
        return replace(deployment, withdrawn=True)


def _takes(decide: Callable[[Deployment], Deployment], deployment: Deployment) -> bool:
    try:
        decide(deployment)
    except ConflictError:
        return False
    return True
