"""The objects of a drop, pinned, and the digest that identifies them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

CONFIG_NAME = "config.json"
OPTIONS_NAME = "weightdrop.json"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a store lists it.

    Attributes:
        name: Full object name inside the bucket, "/" separated.
        generation: The store's version of the bytes; 0 where there is none
            (a plain folder).
        size: Length in bytes.
        crc32c: Base64 of the big-endian CRC-32C, as Cloud Storage gives it;
            empty where the store does not know it.
        updated: When this generation was written, timezone-aware.
    """

    name: str
    generation: int
    size: int
    crc32c: str
    updated: datetime


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """One object of an artifact set, named relative to the drop's folder."""

    path: str
    generation: int
    size: int
    crc32c: str
    updated: datetime


@dataclass(frozen=True, slots=True)
class ArtifactSet:
    """The pinned objects below one prefix of one bucket.

    Attributes:
        bucket: Bucket name, or the folder's absolute path for a local folder.
        prefix: Folder inside the bucket without leading or trailing slash;
            empty for the bucket's root.
        files: Sorted by path.
        truncated: True if the listing was cut at its limit.
    """

    bucket: str
    prefix: str
    files: tuple[ArtifactFile, ...]
    truncated: bool = False

    @property
    def digest(self) -> str:
        """Sha256 over the sorted (path, size, crc32c): what was dropped."""
        state = hashlib.sha256()
        for file in self.files:
            state.update(f"{file.path}\0{file.size}\0{file.crc32c}\n".encode())
        return state.hexdigest()

    def get(self, path: str) -> ArtifactFile | None:
        """The file at `path`, or None."""
        return next((file for file in self.files if file.path == path), None)

    def object_name(self, path: str) -> str:
        """The full object name of the file at `path`."""
        return f"{self.prefix}/{path}" if self.prefix else path


def artifact_set(
    bucket: str,
    prefix: str,
    objects: tuple[StoredObject, ...],
    *,
    truncated: bool = False,
) -> ArtifactSet:
    """The artifact set made of `objects`, all of which lie below `prefix`.

    Zero-byte folder markers (names that end in "/") are left out.
    """
    skip = len(prefix) + 1 if prefix else 0
    files = (
        ArtifactFile(
            path=stored.name[skip:],
            generation=stored.generation,
            size=stored.size,
            crc32c=stored.crc32c,
            updated=stored.updated,
        )
        for stored in objects
        if not stored.name.endswith("/")
    )
    ordered = tuple(sorted(files, key=lambda file: file.path))
    return ArtifactSet(bucket=bucket, prefix=prefix, files=ordered, truncated=truncated)
