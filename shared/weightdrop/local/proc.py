"""What /proc tells of processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")

STATE, PARENT, SESSION, STARTED = 0, 1, 3, 19
"""Places in what `stat` gives; see proc_pid_stat(5)."""


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; none if the process is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text("ascii", "replace")
    except OSError:
        return []
    # The name may hold anything, spaces and brackets too.
    return text.rpartition(")")[2].split()


def pids() -> Iterator[int]:
    """Every process there is; none where there is no /proc."""
    if PROC.is_dir():
        yield from (int(item.name) for item in PROC.iterdir() if item.name.isdigit())
