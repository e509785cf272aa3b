"""The Artifacts port over a plain folder, for `check FOLDER`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from weightdrop.core.artifacts.objects import StoredObject
from weightdrop.errors import NotFoundError, TransientError, UsageError
from weightdrop.ports import Listing


class FolderArtifacts:
    """Reads folders; the bucket's name is the folder's path.

    Generations are 0 and checksums empty. A symbolic link to a file inside the
    folder is followed; one that leads out of it is as good as not there.
    """

    def list(self, bucket: str, prefix: str, *, limit: int) -> Listing:
        """The files below a folder, in name order.

        Raises:
            NotFoundError: If there is no such folder.
            UsageError: If it cannot be read.
        """
        root = Path(bucket).resolve()
        if not root.is_dir():
            raise NotFoundError(f"{bucket} is not a folder")
        start = self._inside(root, prefix) if prefix else root
        if not start.is_dir():
            return Listing((), truncated=False)
        found: list[StoredObject] = []
        for path in _walk(start, root):
            found.append(_stored(root, path))
            if len(found) > limit:
                return Listing(tuple(sorted(found, key=_name)[:limit]), truncated=True)
        return Listing(tuple(sorted(found, key=_name)), truncated=False)

    def stat(self, bucket: str, name: str) -> StoredObject:
        """One file as it is now; NotFoundError if there is none."""
        root = Path(bucket).resolve()
        path = self._inside(root, name)
        if not path.is_file():
            raise NotFoundError(f"there is no file {name} in {bucket}")
        return _stored(root, path)

    def read(
        self, bucket: str, name: str, *, generation: int, start: int, length: int
    ) -> bytes:
        """A part of a file, whatever its generation.

        Raises:
            NotFoundError: If it is not there, or leads out of the folder.
            TransientError: If it cannot be read.
        """
        del generation
        path = self._inside(Path(bucket).resolve(), name)
        try:
            with path.open("rb") as file:
                file.seek(start)
                return file.read(length)
        except FileNotFoundError:
            raise NotFoundError(f"there is no file {name} in {bucket}") from None
        except OSError as error:
            raise TransientError(f"{name} cannot be read: {error.strerror}") from None

    def keeping(self, bucket: str) -> None:
        """Nothing is known of who keeps a folder."""
        del bucket

    @staticmethod
    def _inside(root: Path, name: str) -> Path:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise NotFoundError(f"{name} leads out of the folder {root}")
        return path


def _name(stored: StoredObject) -> str:
    return stored.name


def _walk(start: Path, root: Path) -> Iterator[Path]:
    """Regular files below `start`; links out of it and special files are left out."""
    try:
        entries = sorted(os.scandir(start), key=_place)
    except OSError as error:
        raise UsageError(f"{start} cannot be read: {error.strerror}") from None
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name != ".git":
                yield from _walk(Path(entry.path), root)
        elif entry.is_file() and _stays(entry, root):
            yield Path(entry.path)


def _place(entry: os.DirEntry[str]) -> str:
    # What lies below "a" has names that begin with "a/", behind "a-b" and "a.c".
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _stays(entry: os.DirEntry[str], root: Path) -> bool:
    return not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(root)


def _stored(root: Path, path: Path) -> StoredObject:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise NotFoundError(f"{path} is not a file")
    return StoredObject(
        name=path.relative_to(root).as_posix(),
        generation=0,
        size=status.st_size,
        crc32c="",
        updated=datetime.fromtimestamp(status.st_mtime, UTC),
    )
