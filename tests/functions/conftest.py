"""The functions' application over ports in memory."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fakes.bus import MemoryBus
from fakes.clock import FakeClock
from fakes.records import MemoryRecords
from weightdrop.bootstrap import App
from weightdrop.core.artifacts.objects import StoredObject
from weightdrop.errors import NotFoundError, TransientError
from weightdrop.ports import Listing
from weightdrop.settings import Backend, Settings
from weightdrop_functions import handlers


class Store:
    """The Artifacts port over names alone; counts what it is asked."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.lists = 0
        self.down = False

    def list(self, bucket: str, prefix: str, *, limit: int) -> Listing:
        """See weightdrop.ports.Artifacts."""
        self.lists += 1
        if self.down:
            raise TransientError("the bucket does not answer")
        found = [n for n in self.names if n.startswith(f"{prefix}/")][:limit]
        when = datetime(2026, 1, 1, tzinfo=UTC)
        return Listing(tuple(StoredObject(n, 1, 2, "crc", when) for n in found), False)

    def stat(self, bucket: str, name: str) -> StoredObject:
        """See weightdrop.ports.Artifacts."""
        raise NotFoundError(f"{bucket}/{name}")

    def keeping(self, bucket: str) -> None:
        """See weightdrop.ports.Artifacts: nobody keeps rules here."""

    def read(
        self, bucket: str, name: str, *, generation: int, start: int, length: int
    ) -> bytes:
        """See weightdrop.ports.Artifacts."""
        return b"{}"[start : start + length]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    """The application over fakes."""
    settings = Settings(backend=Backend.LOCAL, buckets=("models",))
    wired = App(settings)
    wired.records = MemoryRecords(strict=True)
    wired.bus = MemoryBus()
    wired.clock = FakeClock()
    wired.artifacts = Store()
    monkeypatch.setattr(handlers, "app", lambda: wired)
    return wired
