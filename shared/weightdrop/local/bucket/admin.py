"""What the stack asks the server about itself, below /_weightdrop/."""

from __future__ import annotations

from collections.abc import Callable

from weightdrop.local.bucket.http import Answer, Call
from weightdrop.local.bucket.outbox import Outbox
from weightdrop.local.bucket.problems import ApiError


class Admin:
    """Health, and events that were given up.

    Args:
        outbox: The events.
        wake: Has the outbox looked at.
    """

    def __init__(self, outbox: Outbox, wake: Callable[[], None]) -> None:
        self._outbox = outbox
        self._wake = wake

    async def handle(self, call: Call) -> Answer:
        """GET health, GET dead-letters, POST dead-letters:redeliver."""
        match (call.method, *call.segments[1:]):
            case ("GET", "health"):
                waiting = await call.run(self._outbox.depth)
                return Answer.json({"status": "ok", "eventsWaiting": waiting})
            case ("GET", "dead-letters"):
                found = await call.run(self._outbox.dead_letters)
                return Answer.json({"deadLetters": found})
            case ("POST", "dead-letters:redeliver"):
                revived = await call.run(self._outbox.revive)
                self._wake()
                return Answer.json({"revived": revived})
        raise ApiError(404, "Known here: health, dead-letters.")
