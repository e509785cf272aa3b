"""The Uploads port: how `weightdrop drop` writes to buckets; see `weightdrop.ports`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Kept:
    """The bytes of an object that is there already: size and base64 CRC-32C."""

    size: int
    crc32c: str


class Uploads(Protocol):
    """Write access to buckets, for `weightdrop drop` alone."""

    def existing(self, bucket: str, prefix: str) -> dict[str, Kept]:
        """The objects below `prefix`, by full name; all of them.

        Raises NotFoundError if there is no such bucket.
        """
        ...

    def checksum(self, path: Path) -> str:
        """A file's CRC-32C as Cloud Storage gives it: base64, big-endian.

        Raises UsageError if the file cannot be read.
        """
        ...

    def upload(
        self, path: Path, bucket: str, name: str, *, progress: Callable[[int], None]
    ) -> None:
        """Copy a file to an object, checked on arrival by its CRC-32C.

        Calls `progress` with the bytes read since the last call. Raises
        UsageError if the file cannot be read. Safe to call from several
        threads; an object of this name is replaced when all bytes are there.
        """
        ...
