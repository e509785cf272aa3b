"""Reading for people and programs: lists, one deployment, its events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, repeat

from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Message, Revision
from weightdrop.core.deployment.views import (
    deployment_view,
    finding_view,
    model_view,
    plan_view,
    revision_view,
)
from weightdrop.errors import NotFoundError, PermanentError
from weightdrop.ports import Records

MAX_PAGE = 500
MAX_EVENTS = 500
MAX_WAIT = 50.0
"""Seconds a long poll may take: below every front end's own limit."""

WAIT_STEPS = (0.1, 0.2, 0.3, 0.5, 1.0)
"""Seconds between two looks of a long poll; the last goes on. A look is one read
of a record, which Firestore counts."""


@dataclass(frozen=True, slots=True)
class Query:
    """The port that reading takes.

    Attributes:
        records: The records.
        vertex_endpoint: Base URL of a stand-in, whose port may be another one than
            when an endpoint was made; empty for Google's.
        pause: How a long poll waits, in seconds.
        seconds: How a long poll tells what time has passed.
    """

    records: Records
    vertex_endpoint: str = ""
    pause: Callable[[float], None] = time.sleep
    seconds: Callable[[], float] = time.monotonic

    def page(
        self, *, phase: str = "", size: int = 50, token: str = ""
    ) -> dict[str, object]:
        """One page of deployments, newest change first.

        Raises:
            PermanentError: If a parameter is not what it should be.
        """
        if not 1 <= size <= MAX_PAGE:
            raise PermanentError(f"pageSize must be between 1 and {MAX_PAGE}")
        page = self.records.page(phase=_phase(phase), size=size, token=token)
        return {
            "deployments": [
                deployment_view(self._located(one)) for one in page.deployments
            ],
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
        return self._located(held.deployment)

    def _located(self, deployment: Deployment) -> Deployment:
        if not self.vertex_endpoint or not deployment.endpoint_name:
            return deployment
        url = f"{self.vertex_endpoint}/v1beta1/{deployment.endpoint_name}"
        return replace(deployment, endpoint_url=url)

    def wait(self, deployment_id: str, *, seconds: float, phase: str) -> Deployment:
        """One deployment, once its phase is no longer `phase` or time is up.

        An empty `phase` means the one it has at the first look.

        Raises:
            NotFoundError: If there is none of this id.
            PermanentError: If there is no such phase.
        """
        named = _phase(phase)
        deployment = self.deployment(deployment_id)
        known = named or deployment.phase
        end = self.seconds() + min(seconds, MAX_WAIT)
        steps = chain(WAIT_STEPS, repeat(WAIT_STEPS[-1]))
        while deployment.phase is known and (left := end - self.seconds()) > 0:
            self.pause(min(next(steps), left))
            deployment = self.deployment(deployment_id)
        return deployment

    def revisions(self, deployment_id: str) -> dict[str, object]:
        """Every revision there ever was of a deployment, oldest first.

        Raises:
            NotFoundError: If there is none of this id.
        """
        self.deployment(deployment_id)
        found = self.records.revisions(deployment_id)
        return {"revisions": [history_view(revision) for revision in found]}

    def events(self, deployment_id: str) -> dict[str, object]:
        """What was told of a deployment, oldest first.

        Raises:
            NotFoundError: If there is none of this id.
        """
        self.deployment(deployment_id)
        events = self.records.events(deployment_id, limit=MAX_EVENTS)
        return {"events": [event_view(message) for message in events]}


def _phase(text: str) -> Phase | None:
    if text and text not in set(Phase):
        raise PermanentError(f"phase must be one of: {', '.join(Phase)}")
    return Phase(text) if text else None


def history_view(revision: Revision) -> dict[str, object]:
    """One revision, with what it was and how it ended."""
    return revision_view(revision) | {
        "created": revision.created.isoformat(),
        "attempt": revision.attempt,
        "message": revision.message,
        "findings": [finding_view(finding) for finding in revision.findings],
        "model": model_view(revision.model) if revision.model else None,
        "plan": plan_view(revision.plan) if revision.plan else None,
    }


def event_view(message: Message) -> dict[str, object]:
    """One event, its body as JSON and not as text."""
    return {
        "id": message.id,
        "type": message.type,
        "time": message.time.isoformat(),
        "data": json.loads(message.data),
    }
