"""The services over ports in memory: drop, order, let time pass, look."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from fakes.builders import make_deployment, make_revision
from fakes.bus import MemoryBus
from fakes.clock import FakeClock
from fakes.platform import MemoryPlatform
from fakes.records import MemoryRecords
from functions.test_openapi import PLAN
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.deployment import naming
from weightdrop.core.deployment.admission import accept, placed
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Revision
from weightdrop.services.commands import Commands
from weightdrop.services.reconcile import Reconciler
from weightdrop.settings import Settings


class Pipeline:
    """One deployment, and everything that works on it.

    Args:
        settings: Of the services.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.platform, self.clock = MemoryPlatform(), FakeClock()
        self.records, self.bus = MemoryRecords(strict=True), MemoryBus()
        self.reconciler = Reconciler(
            records=self.records,
            bus=self.bus,
            platform=self.platform,
            clock=self.clock,
            settings=self.settings,
            pause=self.clock.advance,
        )
        self.commands = Commands(self.records, self.bus, self.clock, self.settings)
        made = make_deployment(revisions=())
        made = replace(made, endpoint_id=naming.endpoint_id(made.id))
        self.id = self.records.create(made).deployment.id

    @property
    def deployment(self) -> Deployment:
        """The record as it is."""
        held = self.records.get(self.id)
        assert held is not None
        return held.deployment

    def drop(self, number: int, **options: Any) -> None:
        """Have a new folder accepted: its digest follows from its number."""
        held = self.records.get(self.id)
        assert held is not None
        revision = make_revision(
            number,
            digest=digest_of(number),
            phase_since=self.clock.now(),
            options=FolderOptions(**options),
        )
        there = placed(held.deployment, revision)
        changed = accept(there, revision, PLAN, self.clock.now())
        self.records.put(changed, version=held.version)

    def run(self, turns: int = 12) -> Deployment:
        """Reconcile, and let the platform work, until nothing moves."""
        for _ in range(turns):
            self.clock.advance(60)
            self.reconciler.deployment(self.id)
            self.platform.settle()
        return self.deployment

    def traffic(self) -> dict[int, int]:
        """Percent of the endpoint's traffic by number of the revision."""
        found = self.platform.endpoint(self.deployment.endpoint_name)
        parts = dict(found.traffic) if found else {}
        return {
            one.number: parts[own(one.number)]
            for one in self.deployment.revisions
            if own(one.number) in parts
        }

    def phases(self) -> dict[int, Phase]:
        """The phase of each revision by its number."""
        return {one.number: one.phase for one in self.deployment.revisions}

    def revision(self, number: int) -> Revision:
        """The revision of this number."""
        found = self.deployment.find(digest_of(number))
        assert found is not None
        return found


def digest_of(number: int) -> str:
    """The digest of the revision of this number."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def own(number: int) -> str:
    """Id of the deployed model of the revision of this number."""
    return naming.deployed_model_id(digest_of(number))
