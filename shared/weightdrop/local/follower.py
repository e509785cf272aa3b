"""The Follower port over the log of the local bus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weightdrop.core.deployment.record import Message
from weightdrop.local.log import Watch
from weightdrop.local.queue import SqliteBus

POLL_SECONDS = 0.05
"""How often another process's publish is looked for; one look takes microseconds."""

BATCH = 100


class SqliteFollower:
    """Reads the log by cursor.

    Args:
        path: The queue's file, usually HOME / queue.FILE_NAME.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def follow(
        self,
        topic: str,
        *,
        from_start: bool = False,
        idle_seconds: float | None = None,
    ) -> Iterator[Iterator[Message]]:
        """See weightdrop.ports.Follower. The local bus takes any topic's name."""
        queue, watch = SqliteBus(self._path), Watch(self._path)
        try:
            cursor = 0 if from_start else queue.end(topic)
            yield _messages(queue, watch, topic, cursor=cursor, idle=idle_seconds)
        finally:
            watch.close()
            queue.close()


def _messages(
    queue: SqliteBus, watch: Watch, topic: str, *, cursor: int, idle: float | None
) -> Iterator[Message]:
    waiting_since = time.monotonic()
    while True:
        watch.changed()
        while entries := queue.read(topic, after=cursor, limit=BATCH):
            for entry in entries:
                cursor = entry.sequence
                yield entry.message
            waiting_since = time.monotonic()
        while not watch.changed():
            if idle is not None and time.monotonic() - waiting_since > idle:
                return
            time.sleep(POLL_SECONDS)
