"""Turns plain files into objects: looks at a path, not at what happened to it.

`look(path)` compares a file with the row of its object and does what makes
them agree, so that lost, repeated and reordered notices do no harm.
"""

from __future__ import annotations

import enum
import logging
import mimetypes
import os
import time
from pathlib import Path

from weightdrop.local.bucket.digest import digest_file
from weightdrop.local.bucket.model import Checksums, Identity, ObjectRow
from weightdrop.local.bucket.store import Store
from weightdrop.local.bucket.tree import being_written, regular

_LOG = logging.getLogger(__name__)
# Where the file system knows no leases, a file that was quiet for this long,
# in seconds, is taken to be whole.
_QUIET = 2.0


class Outcome(enum.Enum):
    """What a look came to."""

    DONE = "file and object agree"
    AGAIN = "the file is being written; look again"


class Intake:
    """Makes objects and plain files agree.

    Args:
        store: The objects.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def look(self, path: Path, *, written: bool) -> Outcome:
        """Make the object at `path` what the file is.

        Args:
            path: Absolute.
            written: Whether somebody has just closed it after writing: the
                same bytes written again are a new generation.
        """
        located = self._store.tree.locate(path)
        if located is None:
            return Outcome.DONE
        bucket, name = located
        with self._store.database.lock:
            found = regular(path)
            row = self._store.at_path(f"{bucket}/{name}")
        if found is None:
            if row is not None:
                self._store.lose(row)
            return Outcome.DONE
        if row is not None and _agrees(row, found, written=written):
            return Outcome.DONE
        return self._take(path, bucket, name, written=written)

    def _take(self, path: Path, bucket: str, name: str, *, written: bool) -> Outcome:
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return Outcome.AGAIN
        except OSError as error:
            _LOG.warning("%s cannot become an object: %s", path, error.strerror)
            return Outcome.DONE
        try:
            seen = os.fstat(descriptor)
            if not self._whole(descriptor, seen, written=written):
                return Outcome.AGAIN
            checksums = digest_file(descriptor).checksums()
            after = os.fstat(descriptor)
            if Identity.of(after) != Identity.of(seen) or being_written(descriptor):
                return Outcome.AGAIN
        finally:
            os.close(descriptor)
        row = self._store.at_path(f"{bucket}/{name}")
        if row is not None and not written and _same(row, seen, checksums):
            # Only its times moved (utime after the copy): no new generation.
            self._store.touch(row, after)
            return Outcome.DONE
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        adopted = self._store.adopt(
            bucket, name, seen=seen, checksums=checksums, content_type=kind
        )
        return Outcome.DONE if adopted else Outcome.AGAIN

    def _whole(self, descriptor: int, seen: os.stat_result, *, written: bool) -> bool:
        busy = being_written(descriptor)
        if busy is None:
            return written or time.time() - seen.st_mtime > _QUIET
        return not busy

    def scan(self, folder: Path) -> list[Path]:
        """Delete the objects whose files are gone; the files to look at.

        Costs one `lstat` a file; nothing is read.
        """
        tree = self._store.tree
        relative = folder.relative_to(tree.root)
        known = {row.path: row for row in self._store.below(str(relative))}
        different: list[Path] = []
        for place, _, files in os.walk(folder):
            for file in files:
                path = Path(place, file)
                found = regular(path)
                if found is None:
                    _LOG.warning("%s is a link or a device: not an object", path)
                    continue
                row = known.pop(str(path.relative_to(tree.root)), None)
                if row is None or not _agrees(row, found, written=False):
                    different.append(path)
        for row in known.values():
            self._store.lose(row)
        return different


def _same(row: ObjectRow, seen: os.stat_result, checksums: Checksums) -> bool:
    bytes_now = (seen.st_ino, checksums.size, checksums.crc32c)
    return bytes_now == (row.inode, row.size, row.crc32c)


def _agrees(row: ObjectRow, found: os.stat_result, *, written: bool) -> bool:
    if Identity.of(found) != row.identity:
        return False
    # Writing the same bytes, size and time (cp -p) still moves the change time.
    return not written or row.ctime_ns == found.st_ctime_ns
