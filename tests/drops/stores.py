"""Artifact stores in memory whose weight files are as large as real ones.

A weight file is its header and nothing after it: reads of the tensor data are
answered with an error, because validation has no business there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock

from weightdrop.core.artifacts.keeping import Keeping
from weightdrop.core.artifacts.objects import (
    ArtifactSet,
    StoredObject,
    artifact_set,
)
from weightdrop.errors import NotFoundError, StaleError
from weightdrop.ports import Listing

UPDATED = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sparse:
    """A file whose bytes after `head` are not stored.

    Attributes:
        head: The bytes that may be read.
        size: Length of the whole file.
    """

    head: bytes
    size: int


File = bytes | Sparse


def size_of(file: File) -> int:
    """Length of a file in bytes."""
    return len(file) if isinstance(file, bytes) else file.size


class TensorDataReadError(AssertionError):
    """Validation read bytes of tensors."""


@dataclass
class MemoryArtifacts:
    """The Artifacts port over a table of files of one bucket.

    Attributes:
        files: By object name.
        generations: By object name; 1 where not given.
        kept: How the bucket keeps them; an error is raised.
        requests: Every read: (name, start, length).
    """

    files: Mapping[str, File]
    generations: dict[str, int] = field(default_factory=dict)
    kept: Keeping | Exception | None = None
    requests: list[tuple[str, int, int]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def list(self, bucket: str, prefix: str, *, limit: int) -> Listing:
        """All files below the prefix, in name order."""
        names = sorted(
            n for n in self.files if not prefix or n.startswith(f"{prefix}/")
        )
        objects = tuple(self.stat(bucket, name) for name in names[:limit])
        return Listing(objects, truncated=len(names) > limit)

    def stat(self, bucket: str, name: str) -> StoredObject:
        """One file."""
        if name not in self.files:
            raise NotFoundError(f"{bucket}/{name}")
        return StoredObject(
            name=name,
            generation=self.generations.get(name, 1),
            size=size_of(self.files[name]),
            crc32c="",
            updated=UPDATED,
        )

    def keeping(self, bucket: str) -> Keeping | None:
        """See weightdrop.ports.Artifacts."""
        if isinstance(self.kept, Exception):
            raise self.kept
        return self.kept

    def read(
        self, bucket: str, name: str, *, generation: int, start: int, length: int
    ) -> bytes:
        """A range of a file, which must not be tensor data."""
        with self._lock:
            self.requests.append((name, start, length))
        if name not in self.files:
            raise NotFoundError(f"{bucket}/{name}")
        if generation and generation != self.generations.get(name, 1):
            raise StaleError(f"{bucket}/{name} is another generation")
        file = self.files[name]
        if isinstance(file, bytes):
            return file[start : start + length]
        end = min(start + length, file.size)
        if end > len(file.head):
            raise TensorDataReadError(f"{name}: read {start} to {end}")
        return file.head[start:end]


def pinned(store: MemoryArtifacts, prefix: str = "") -> ArtifactSet:
    """The artifact set of all that is in the store."""
    listing = store.list("bucket", prefix, limit=100_000)
    return artifact_set("bucket", prefix, listing.objects, truncated=listing.truncated)
