"""The Records port in memory: fast and deterministic."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from weightdrop import codec
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Message, Revision
from weightdrop.errors import PermanentError, StaleError
from weightdrop.ports import Page, Versioned


class MemoryRecords:
    """Records in dictionaries; passes the contract suite of the port.

    What is put in goes through the codec only where `strict` is set: a
    simulation wants the speed, the contract suite the same refusals.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._lock = threading.Lock()
        self._records: dict[str, Versioned] = {}
        self._revisions: dict[str, dict[str, Revision]] = {}
        self._events: dict[str, dict[str, Message]] = {}
        self._lines: dict[str, datetime] = {}
        self.writes = 0

    def get(self, deployment_id: str) -> Versioned | None:
        """See weightdrop.ports.Records."""
        return self._records.get(deployment_id)

    def create(
        self, deployment: Deployment, *, events: tuple[Message, ...] = ()
    ) -> Versioned:
        """See weightdrop.ports.Records."""
        with self._lock:
            if deployment.id in self._records:
                raise StaleError(f"The record {deployment.id} exists already.")
            return self._write(deployment, events, version="1")

    def put(
        self,
        deployment: Deployment,
        *,
        version: str,
        events: tuple[Message, ...] = (),
    ) -> Versioned:
        """See weightdrop.ports.Records."""
        with self._lock:
            there = self._records.get(deployment.id)
            if there is None or there.version != version:
                raise StaleError(f"The record {deployment.id} lacks version {version}.")
            return self._write(deployment, events, version=str(int(version) + 1))

    def _write(
        self, deployment: Deployment, events: tuple[Message, ...], *, version: str
    ) -> Versioned:
        if self._strict:
            deployment = codec.decode_deployment(codec.encode(deployment))
        written = Versioned(deployment, version)
        self._records[deployment.id] = written
        history = self._revisions.setdefault(deployment.id, {})
        history.update({revision.digest: revision for revision in deployment.revisions})
        told = self._events.setdefault(deployment.id, {})
        for event in events:
            told.setdefault(event.id, event)
        self.writes += 1
        return written

    def turn(
        self, line: str, *, now: datetime, every: float, patience: float
    ) -> datetime | None:
        """See weightdrop.ports.Records."""
        with self._lock:
            turn = max(self._lines.get(line, now), now)
            if (turn - now).total_seconds() > patience:
                return None
            self._lines[line] = turn + timedelta(seconds=every)
            return turn

    def due(self, now: datetime, *, limit: int) -> tuple[str, ...]:
        """See weightdrop.ports.Records."""
        found = sorted(
            (record.deployment.due, record.deployment.id)
            for record in self._records.values()
            if record.deployment.due is not None and record.deployment.due <= now
        )
        return tuple(identity for _, identity in found[: max(limit, 0)])

    def page(self, *, phase: Phase | None, size: int, token: str) -> Page:
        """See weightdrop.ports.Records."""
        if size < 1:
            raise PermanentError(f"A page has at least one record, not {size}.")
        after = codec.read_page_token(token, phase=phase) if token else None
        found = sorted(
            (
                record.deployment
                for record in self._records.values()
                if phase is None or record.deployment.phase is phase
            ),
            key=_place,
            reverse=True,
        )
        if after is not None:
            found = [deployment for deployment in found if _place(deployment) < after]
        more = len(found) > size
        chosen = tuple(found[:size])
        return Page(chosen, codec.page_token(chosen[-1], phase=phase) if more else "")

    def serving(self, *, after: str, limit: int) -> tuple[Deployment, ...]:
        """See weightdrop.ports.Records."""
        found = [
            record.deployment
            for identity, record in sorted(self._records.items())
            if identity > after and record.deployment.serving
        ]
        return tuple(found[: max(limit, 0)])

    def revisions(self, deployment_id: str) -> tuple[Revision, ...]:
        """See weightdrop.ports.Records."""
        found = self._revisions.get(deployment_id, {}).values()
        return tuple(sorted(found, key=lambda it: (it.number, it.created, it.digest)))

    def events(self, deployment_id: str, *, limit: int) -> tuple[Message, ...]:
        """See weightdrop.ports.Records."""
        told = tuple(self._events.get(deployment_id, {}).values())
        return told[max(len(told) - max(limit, 0), 0) :]


def _place(deployment: Deployment) -> tuple[datetime, str]:
    return deployment.updated, deployment.id
