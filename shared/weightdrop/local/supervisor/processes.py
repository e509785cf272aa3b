"""What /proc knows: who is whose child, and who belongs to a stack."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from weightdrop.local.proc import PARENT, PROC, STARTED, STATE, pids, stat
from weightdrop.local.supervisor.layout import MARKER

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when `parent`, which started us, is gone.

    For the moment between fork and exec: it only makes system calls.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it went before we asked
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent goes."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start_time(pid: int) -> str:
    """Clock ticks from boot to the start of `pid`; empty if it does not run.

    Together with the pid it names one process for ever.
    """
    fields = stat(pid)
    return "" if not fields or fields[STATE] in "ZX" else fields[STARTED]


def parent_of(pid: int) -> int:
    """The parent of `pid`; 0 if it is gone."""
    fields = stat(pid)
    return int(fields[PARENT]) if fields else 0


def children_of(pid: int) -> list[int]:
    """Children of `pid`, zombies among them."""
    return [other for other in pids() if parent_of(other) == pid]


def descendants(pid: int) -> list[int]:
    """Children of `pid`, their children and so on, zombies left out."""
    children: dict[int, list[int]] = {}
    for other in pids():
        fields = stat(other)
        if fields and fields[STATE] not in "ZX":
            children.setdefault(int(fields[PARENT]), []).append(other)
    found: list[int] = []
    front = [pid]
    while front:
        front = [child for parent in front for child in children.get(parent, ())]
        found += front
    return found


def _belongs(pid: int, *, home: str, run: str) -> bool:
    """Whether `pid` was started by the stack of `home`.

    A process may overwrite its environment to change its title, as vLLM's
    workers do; those are known by the folder they were started in.
    """
    folder = PROC / str(pid)
    with contextlib.suppress(OSError):
        environment = (folder / "environ").read_bytes().split(b"\0")
        if f"{MARKER}={home}".encode() in environment:
            return True
    with contextlib.suppress(OSError):
        place = str((folder / "cwd").readlink())
        program = (folder / "exe").readlink().name
        return place.startswith(f"{run}/") and program.startswith("python")
    return False


def of_stack(home: Path) -> list[int]:
    """Running processes of the stack of `home`, never ourselves or above us."""
    above = {os.getpid()}
    pid = os.getpid()
    while pid := parent_of(pid):
        above.add(pid)
    run = str(home / "run")
    return [
        pid
        for pid in pids()
        if pid not in above
        and start_time(pid)
        and _belongs(pid, home=str(home), run=run)
    ]


def send(to: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to those processes that are still there."""
    for pid in to:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_all(home: Path, *, grace: float, limit: float) -> list[int]:
    """End every process of the stack of `home`.

    Args:
        home: Folder of the stack's state.
        grace: Seconds they have to end by themselves.
        limit: Seconds in all.

    Returns:
        Those that are still there after `limit`, which is nobody unless the
        kernel holds them.
    """
    begin = time.monotonic()
    send(of_stack(home), signal.SIGTERM)
    while left := of_stack(home):
        waited = time.monotonic() - begin
        if waited > limit:
            return left
        if waited > grace:
            send(left, signal.SIGKILL)
        time.sleep(0.05)
    return []
