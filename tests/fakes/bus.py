"""The Bus port in memory: fast and deterministic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from weightdrop.core.deployment.record import Message


class MemoryBus:
    """Keeps what is published; passes the contract suite of Bus and Follower.

    Attributes:
        published: Every message in the order of its publishing.
    """

    def __init__(self) -> None:
        self.published: list[Message] = []

    def publish(self, message: Message) -> None:
        """See weightdrop.ports.Bus."""
        self.published.append(message)

    def on(self, topic: str) -> list[Message]:
        """What was published on one topic."""
        return [message for message in self.published if message.topic == topic]

    @contextmanager
    def follow(
        self,
        topic: str,
        *,
        from_start: bool = False,
        idle_seconds: float | None = None,  # the port has it
    ) -> Iterator[Iterator[Message]]:
        """See weightdrop.ports.Follower; nobody else publishes: it never waits."""
        yield self._rest(topic, 0 if from_start else len(self.published))

    def _rest(self, topic: str, start: int) -> Iterator[Message]:
        while start < len(self.published):
            message = self.published[start]
            start += 1
            if message.topic == topic:
                yield message
