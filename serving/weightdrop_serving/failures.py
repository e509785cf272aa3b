"""Why the process ends, and the exit status that says so."""

from __future__ import annotations

import errno
import traceback
from enum import IntEnum
from typing import Final

from weightdrop_serving import logs

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Exit(IntEnum):
    """Exit statuses; the numbers are those of sysexits.h where one fits."""

    STOPPED = 0
    USAGE = 64
    WEIGHTS_UNUSABLE = 65
    WEIGHTS_MISSING = 66
    STORAGE_UNREACHABLE = 69
    ENGINE_DIED = 70
    UNFORESEEN = 71
    DISK_FULL = 73
    ENGINE_HUNG = 75
    STORAGE_DENIED = 77


class ServingError(Exception):
    """The process cannot go on.

    Args:
        status: The exit status.
        message: What happened, where, and what to do.
    """

    def __init__(self, status: Exit, message: str) -> None:
        super().__init__(message)
        self.status = status


def explained(error: Exception) -> ServingError:
    """`error` as what ends the process; the log gets the trace of an unforeseen one.

    A disk may be full wherever something is written, not only where weights are.
    """
    if isinstance(error, ServingError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return disk_full(error, str(error.filename or "a file"))
    trace = "".join(traceback.format_exception(error))
    logs.write("note", trace, severity="ERROR")
    return ServingError(
        Exit.UNFORESEEN,
        f"{type(error).__name__}: {error}; nobody foresaw it here. The line before "
        "this one says where it happened.",
    )


def disk_full(error: OSError, path: str) -> ServingError:
    """What is said where `path` cannot be written."""
    return ServingError(
        Exit.DISK_FULL,
        f"cannot write {path}: {error.strerror}; WEIGHTDROP_SERVING_SCRATCH names "
        "the folder that weights are copied to",
    )
