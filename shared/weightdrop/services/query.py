"""Reading for people and programs: lists, one deployment, its events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Message
from weightdrop.core.deployment.views import deployment_view
from weightdrop.errors import NotFoundError, PermanentError
from weightdrop.ports import Records

MAX_PAGE = 500
MAX_EVENTS = 500
MAX_WAIT = 50.0
"""Seconds a long poll may take: below every front end's own limit."""

WAIT_STEP = 0.25
"""Seconds between two looks of a long poll at the one record it waits for."""


@dataclass(frozen=True, slots=True)
class Query:
    """The port that reading takes.

    Attributes:
        records: The records.
        pause: How a long poll waits, in seconds.
    """

    records: Records
    pause: Callable[[float], None] = time.sleep

    def page(
        self, *, phase: str = "", size: int = 50, token: str = ""
    ) -> dict[str, object]:
        """One page of deployments, newest change first.

        Raises:
            PermanentError: If a parameter is not what it should be.
        """
        if not 1 <= size <= MAX_PAGE:
            raise PermanentError(f"pageSize must be between 1 and {MAX_PAGE}")
        if phase and phase not in set(Phase):
            names = ", ".join(Phase)
            raise PermanentError(f"phase must be one of: {names}")
        page = self.records.page(
            phase=Phase(phase) if phase else None, size=size, token=token
        )
        return {
            "deployments": [deployment_view(one) for one in page.deployments],
            "nextPageToken": page.next_token,
        }

    def deployment(self, deployment_id: str) -> Deployment:
        """One deployment.

        Raises:
            NotFoundError: If there is none of this id.
        """
        held = self.records.get(deployment_id)
        if held is None:
            raise NotFoundError(f"There is no deployment {deployment_id!r}.")
        return held.deployment

    def wait(self, deployment_id: str, *, seconds: float, phase: str) -> Deployment:
        """One deployment, once its phase is no longer `phase` or time is up.

        An empty `phase` means the one it has at the first look.
        """
        deployment = self.deployment(deployment_id)
        left = min(seconds, MAX_WAIT)
        known = phase or deployment.phase.value
        while deployment.phase.value == known and left > 0:
            self.pause(min(WAIT_STEP, left))
            left -= WAIT_STEP
            deployment = self.deployment(deployment_id)
        return deployment

    def events(self, deployment_id: str) -> dict[str, object]:
        """What was told of a deployment, oldest first.

        Raises:
            NotFoundError: If there is none of this id.
        """
        self.deployment(deployment_id)
        events = self.records.events(deployment_id, limit=MAX_EVENTS)
        return {"events": [event_view(message) for message in events]}


def event_view(message: Message) -> dict[str, object]:
    """One event, its body as JSON and not as text."""
    return {
        "id": message.id,
        "type": message.type,
        "time": message.time.isoformat(),
        "data": json.loads(message.data),
    }
