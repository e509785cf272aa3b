"""One JSON object per line, in the form Cloud Logging understands."""

from __future__ import annotations

import json
import sys
import threading
from datetime import UTC, datetime
from typing import Final

_LOCK: Final = threading.Lock()


def write(event: str, message: str, *, severity: str = "INFO", **facts: object) -> None:
    """Write one line to standard error.

    Args:
        event: Stable name of what happened; one of `starting`, `downloading`,
            `loading`, `compiling`, `serving`, `ready`, `draining`, `hung`, `failed`,
            `stopped`, `note`.
        message: The same for a person.
        severity: Cloud Logging's word.
        **facts: Numbers and names that belong to it; must be JSON.
    """
    line = json.dumps(
        {
            "severity": severity,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "message": message,
            "event": event,
            **facts,
        }
    )
    with _LOCK:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def gigabytes(count: float) -> str:
    """`count` bytes in a unit a person reads: 4.1 GB, 812 MB, 3 kB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            figure = count / size
            return f"{figure:.1f} {unit}" if figure < 10 else f"{figure:.0f} {unit}"  # noqa: PLR2004  # two figures are enough
    return f"{count:.0f} B"
