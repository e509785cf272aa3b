"""The folder that weights are copied to, which must not outlive its process.

Each holds a lock that its process keeps; one whose lock is free was left behind by a
process that was killed, and whoever comes next removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from weightdrop_serving.failures import Exit, ServingError

_PREFIX: Final = "weightdrop-serving-"
_LOCK: Final = "lock"


def make_scratch(base: Path) -> tuple[Path, int]:
    """A new folder in `base`, and the descriptor that keeps it.

    Raises:
        ServingError: If it cannot be made.
    """
    try:
        base.mkdir(parents=True, exist_ok=True)
        remove_abandoned(base)
        made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=base))
        lock = os.open(made / _LOCK, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = made.rename(base / made.name.removeprefix("."))
    except OSError as error:
        raise ServingError(
            Exit.DISK_FULL,
            f"cannot make a folder in {base}: {error.strerror}; "
            "WEIGHTDROP_SERVING_SCRATCH names where weights are copied to",
        ) from error
    return folder, lock


def remove(folder: Path, lock: int) -> None:
    """Remove a folder of this process."""
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def remove_abandoned(base: Path) -> None:
    """Remove the folders in `base` whose processes are gone."""
    for folder in base.glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
