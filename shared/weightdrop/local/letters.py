"""The DeadLetters port over the log of the local bus."""

from __future__ import annotations

from pathlib import Path

from weightdrop import codec, letters
from weightdrop.core.deployment.record import Message
from weightdrop.errors import ConflictError, NotFoundError
from weightdrop.local.queue import DeadLetter as Logged
from weightdrop.local.queue import SqliteBus
from weightdrop.ports import DeadLetter

MAX_LETTERS = 100_000
"""Letters among which one is looked for."""


class SqliteDeadLetters:
    """The dead letters of one local stack.

    Args:
        path: The queue's file, usually HOME / queue.FILE_NAME.
    """

    def __init__(self, path: Path) -> None:
        self._queue = SqliteBus(path)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self._queue.close()

    def letters(self, *, limit: int) -> tuple[DeadLetter, ...]:
        """See weightdrop.ports.DeadLetters."""
        return tuple(_letter(it) for it in self._queue.dead_letters(limit=limit))

    def redrive(self, letter_id: str) -> DeadLetter:
        """See weightdrop.ports.DeadLetters."""
        kept = self._queue.dead_letters(limit=MAX_LETTERS)
        found = next((it for it in kept if str(it.entry.sequence) == letter_id), None)
        if found is None:
            raise NotFoundError(
                f"There is no dead letter {letter_id!r}: `weightdrop dead-letters` "
                "lists what there is."
            )
        letter = _letter(found)
        if not letter.origin:
            raise ConflictError(
                f"Nobody knows from which topic the dead letter {letter_id} came."
            )
        self._queue.redrive(found.entry.sequence, held=_held(found))
        return letter


def _held(logged: Logged) -> Message | None:
    """The message inside a letter that a handler wrote; None if it is the letter."""
    held = None if logged.origin else letters.read(logged.entry.message.data)
    if held is None:
        return None
    return codec.received(
        topic=held.origin,
        data=held.data,
        attributes=held.attributes,
        ordering_key=held.ordering_key,
    )


def _letter(logged: Logged) -> DeadLetter:
    message = logged.entry.message
    held = None if logged.origin else letters.read(message.data)
    return DeadLetter(
        id=str(logged.entry.sequence),
        origin=held.origin if held else logged.origin,
        reason=logged.reason,
        attempts=logged.attempts,
        time=logged.entry.published,
        ordering_key=held.ordering_key if held else message.ordering_key,
        data=held.data.decode(errors="replace") if held else message.data,
    )
