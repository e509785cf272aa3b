"""Where bytes lie on the disk.

An object `a/b` of bucket `m` is the file ROOT/m/a/b whenever a file can have
that name. What cannot be a file (names ending in "/", `a` beside `a/b`, `..`)
lies under ROOT/.weightdrop/blobs. New bytes are written under
ROOT/.weightdrop/staging, on the same file system, and renamed when whole.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat as modes
from pathlib import Path

HIDDEN = ".weightdrop"
# POSIX limits, less what the root folder and the database need.
_NAME_BYTES = 255
_PATH_BYTES = 3000
# Half-made files of rsync, gcloud, NFS and GLib, which are renamed when whole.
_PASSING = re.compile(
    r"\A(?:\..+\.[A-Za-z0-9]{6}|.*_\.gstmp|\.nfs[0-9a-f]+|\.goutputstream-\w{6})\Z",
    re.DOTALL,
)
BUCKET = re.compile(r"\A[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]\Z")


class Tree:
    """The folder that holds the buckets.

    Args:
        root: Made if it is not there, with its hidden part.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.staging = self.root / HIDDEN / "staging"
        self.blobs = self.root / HIDDEN / "blobs"
        for folder in (self.staging, self.blobs):
            folder.mkdir(parents=True, exist_ok=True)

    def stage(self) -> Path:
        """A new name for bytes that are not whole yet."""
        return self.staging / secrets.token_hex(16)

    def absolute(self, path: str) -> Path:
        """Where a row's relative path is."""
        return self.root / path

    def place(self, bucket: str, name: str) -> str:
        """A relative path to which the bytes of an object can be renamed.

        The visible one where possible, its folders made; else a hidden one.
        """
        if representable(name) and self._make_room(bucket, name):
            return f"{bucket}/{name}"
        return self.hide()

    def hide(self) -> str:
        """A new relative path outside the visible tree."""
        return str((self.blobs / secrets.token_hex(16)).relative_to(self.root))

    def _make_room(self, bucket: str, name: str) -> bool:
        folder = self.root / bucket
        for part in name.split("/")[:-1]:
            folder = folder / part
            try:
                folder.mkdir(exist_ok=True)
            except FileExistsError:
                return False
            # A link could lead out of the root folder.
            if folder.is_symlink():
                return False
        target = self.root / bucket / name
        if target.is_dir() and not target.is_symlink():
            return self._drop_empty(target)
        return True

    def _drop_empty(self, folder: Path) -> bool:
        try:
            folder.rmdir()
        except OSError:
            return False
        return True

    def prune(self, path: str) -> None:
        """Remove the folders that a removed file leaves empty."""
        folder = (self.root / path).parent
        while folder.parent != self.root and self.root in folder.parents:
            if not self._drop_empty(folder):
                return
            folder = folder.parent

    def locate(self, path: Path) -> tuple[str, str] | None:
        """The (bucket, name) that a visible file stands for, or None."""
        try:
            bucket, *parts = path.relative_to(self.root).parts
        except ValueError:
            return None
        name = "/".join(parts)
        if not name or not BUCKET.match(bucket) or not representable(name):
            return None
        return bucket, name


def representable(name: str) -> bool:
    """Whether an object of this name can be a visible file."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    parts = name.split("/")
    return (
        len(encoded) <= _PATH_BYTES
        and b"\0" not in encoded
        and all(part not in {"", ".", ".."} for part in parts)
        and all(len(part.encode()) <= _NAME_BYTES for part in parts)
        and not _PASSING.match(parts[-1])
    )


def regular(path: Path) -> os.stat_result | None:
    """The state of a plain file, None for everything else (links too)."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found if modes.S_ISREG(found.st_mode) else None


def being_written(descriptor: int) -> bool | None:
    """Whether any process has this file open for writing.

    The kernel grants a read lease only if nobody has. None where the file
    system knows no leases or the file is another user's.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
