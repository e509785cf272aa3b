"""CRC-32C and MD5 over bytes as they pass, and files made while hashing."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import google_crc32c

from weightdrop.local.bucket.model import Checksums
from weightdrop.local.bucket.problems import ApiError

# Large enough that threads and system calls cost little, small enough that
# many transfers at once stay flat in memory.
BLOCK = 1 << 20


class Digest:
    """Size, CRC-32C and MD5 of what was fed to it."""

    def __init__(self) -> None:
        self.size = 0
        self._crc = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, data: bytes) -> None:
        """Feed the next bytes."""
        self.size += len(data)
        self._crc = google_crc32c.extend(self._crc, data)
        self._md5.update(data)

    def checksums(self) -> Checksums:
        """Of everything fed so far."""
        crc = base64.b64encode(self._crc.to_bytes(4, "big")).decode()
        return Checksums(self.size, crc, base64.b64encode(self._md5.digest()).decode())


def digest_file(descriptor: int) -> Digest:
    """The digest of a whole open file."""
    digest = Digest()
    offset = 0
    while block := os.pread(descriptor, BLOCK, offset):
        digest.update(block)
        offset += len(block)
    return digest


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def append_file(descriptor: int, source: int, digest: Digest) -> None:
    """Append a whole open file to another while hashing it."""
    offset = 0
    while block := os.pread(source, BLOCK, offset):
        digest.update(block)
        write_all(descriptor, block)
        offset += len(block)


def create(path: Path) -> int:
    """A descriptor of a new file that only the server writes."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.open(path, flags, 0o644)


@contextmanager
def writing(path: Path) -> Iterator[int]:
    """A descriptor of a new file, closed at the end of the block."""
    descriptor = create(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def verify(found: Checksums, *, crc32c: str, md5: str) -> None:
    """Refuse bytes that are not those the client meant; empty asks nothing."""
    if crc32c and crc32c != found.crc32c:
        raise ApiError(
            400,
            f"Provided CRC32C {crc32c!r} doesn't match calculated {found.crc32c!r}.",
        )
    if md5 and md5 != found.md5:
        raise ApiError(
            400, f"Provided MD5 hash {md5!r} doesn't match calculated {found.md5!r}."
        )
