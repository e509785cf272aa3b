"""A server's log: a file that stays small, and its last lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

LIMIT = 8 * 2**20
KEPT = 100
TAIL_LINES = 40
_TAIL_BYTES = 64 * 1024
_LINE = 500


class LogFile:
    """One replica's log.

    The server writes to it directly; once it is longer than `LIMIT` the older
    half moves to `<name>.1`.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> BinaryIO:
        """The file to hand to a process, at its end."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self.path.open("ab", buffering=0)

    def rotate(self) -> None:
        """Keep the file within its limit, while a server writes to it.

        The server holds the file in append mode, so truncating it is safe: the
        next line lands at its new end. Lines written between the copy and the
        cut are lost.
        """
        try:
            if self.path.stat().st_size <= LIMIT:
                return
            with self.path.open("rb") as source:
                source.seek(-LIMIT // 2, os.SEEK_END)
                self.path.with_suffix(".log.1").write_bytes(source.read())
            os.truncate(self.path, 0)
        except FileNotFoundError:
            return

    def tail(self, lines: int = TAIL_LINES) -> list[str]:
        """The last lines, each cut to a readable length."""
        try:
            with self.path.open("rb") as source:
                source.seek(0, os.SEEK_END)
                source.seek(max(0, source.tell() - _TAIL_BYTES))
                text = source.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return []
        return [line[:_LINE] for line in text.splitlines()[-lines:] if line.strip()]


def prune(folder: Path) -> None:
    """Delete all but the `KEPT` newest logs."""
    if folder.is_dir():
        logs = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in logs[:-KEPT]:
            path.unlink()
