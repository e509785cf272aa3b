"""Why the process ends, and the exit status that says so."""

from __future__ import annotations

from enum import IntEnum


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
