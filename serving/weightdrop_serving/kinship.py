"""Processes that end with those that started them."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_SYS_ARCH_PRCTL: Final = 158  # x86_64
_ARCH_REQ_XCOMP_PERM: Final = 0x1023  # asm/prctl.h
_XFEATURE_XTILEDATA: Final = 18


def end_with_parent(parent: int = 0) -> None:
    """Have the kernel kill this process when its parent ends.

    Args:
        parent: The process id that the parent should have; if it is another one
            already, the parent ended before this call, and so does this process.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def outlive_parent() -> None:
    """Undo `end_with_parent`, for a process that watches its parent by itself."""
    _prctl(_PR_SET_PDEATHSIG, 0)


def allow_matrix_registers() -> None:
    """Ask Linux for Intel's AMX registers, which vLLM's CPU attention uses unasked.

    Without it the first use kills the process with SIGILL on machines that have
    them. Elsewhere the call is refused, and nothing follows from that.
    """
    if platform.machine() == "x86_64":
        library = ctypes.CDLL(None, use_errno=True)
        library.syscall(_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA)


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def group_members(group: int) -> list[int]:
    """Process ids of the living members of a process group."""
    members = []
    for name in os.listdir("/proc"):  # noqa: PTH208  # thousands of names, no objects
        if not name.isdigit():
            continue
        try:
            if os.getpgid(int(name)) == group and not _is_zombie(name):
                members.append(int(name))
        except ProcessLookupError:
            continue
    return members


def _is_zombie(name: str) -> bool:
    try:
        with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
