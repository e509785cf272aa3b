"""What a user may order. Each order is one guarded write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import WHOLE, Deployment, Revision
from weightdrop.core.deployment.transitions import (
    forget_recalls,
    give_up_canary,
    promote,
    reactivate,
    recall,
    wake,
    with_revision,
)
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

        One that is still being let go of comes back once it is gone; one that
        was ordered away and has not been touched yet stays.

        Raises:
            NotFoundError: If there is no such deployment.
            ConflictError: If it did not end in a way that a retry can change.
        """
        return self._order(deployment_id, self._retried)

    def rollback(self, deployment_id: str) -> Deployment:
        """Bring the revision back that served before; its weights are kept.

        Beside a canary that is the one that still serves: it gets all traffic
        back. One that is still being let go of comes back once it is gone.

        Raises:
            NotFoundError: If there is no such deployment.
            ConflictError: If there is no earlier revision to go back to.
        """
        return self._order(deployment_id, self._rolled_back)

    def promote(self, deployment_id: str) -> Deployment:
        """Give the canary all traffic; the revision beside it is let go of.

        Raises:
            NotFoundError: If there is no such deployment.
            ConflictError: If it has no canary.
        """
        return self._order(deployment_id, self._promoted)

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
            "promote": self._promoted,
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
        if latest and latest.phase.live and deployment.withdrawn:
            return replace(deployment, withdrawn=False)
        if latest is None or latest.phase not in _ENDED:
            phase = deployment.phase.value
            raise ConflictError(
                f"{deployment.id} is {phase}; only a failed or retired one is retried."
            )
        return self._again(deployment, latest)

    def _rolled_back(self, deployment: Deployment) -> Deployment:
        if deployment.canary:
            now = self.clock.now()
            changed = give_up_canary(deployment, now)
            return wake(changed, deployment.canary, "rollback", now)
        earlier = [
            revision
            for revision in deployment.revisions
            if revision.phase is Phase.SUPERSEDED and revision.model_name
        ]
        if not earlier:
            raise ConflictError(f"{deployment.id} has no earlier revision to go to.")
        # It is to serve again: as a canary it would not.
        back = replace(earlier[-1], share=WHOLE)
        return self._again(with_revision(deployment, back), back)

    def _again(self, deployment: Deployment, revision: Revision) -> Deployment:
        if not revision.reason.retryable and revision.phase is Phase.FAILED:
            raise ConflictError(
                f"The same bytes would end the same way ({revision.reason.value}): "
                "drop corrected ones."
            )
        if revision.deployed or revision.phase is Phase.RETIRING:
            return recall(deployment, revision)
        return reactivate(deployment, revision, self.clock.now())

    def _promoted(self, deployment: Deployment) -> Deployment:
        if deployment.canary is None:
            raise ConflictError(
                f"{deployment.id} has no canary: nothing is ready beside what serves."
            )
        now = self.clock.now()
        return wake(promote(deployment, now), deployment.canary, "promote", now)

    def _withdrawn(self, deployment: Deployment) -> Deployment:
        live = [
            revision
            for revision in deployment.revisions
            if revision.phase.live
            or revision.recalled
            or revision.phase is Phase.RETIRING
        ]
        if not live:
            raise ConflictError(f"Nothing of {deployment.id} is deployed.")
        changed = replace(forget_recalls(deployment), withdrawn=True)
        return wake(changed, live[-1], "undeploy", self.clock.now())


_ENDED = frozenset({Phase.FAILED, Phase.RETIRED, Phase.RETIRING})


def _takes(decide: Callable[[Deployment], Deployment], deployment: Deployment) -> bool:
    try:
        decide(deployment)
    except ConflictError:
        return False
    return True
