"""The Bus port on one SQLite file: a retained log and durable deliveries.

Every published message stays in the log, from which followers read by cursor.
A topic that has a subscriber also gets one delivery per message, which is there
until the subscriber has said how it ended:

- `claim` takes deliveries for a while; what is neither acknowledged nor refused
  by then (a crash) can be claimed again;
- within one ordering key only the oldest delivery can be claimed;
- `refuse` waits longer each time, and in the end moves the message to the
  dead-letter topic with its reason, which frees its key.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from weightdrop import codec, letters
from weightdrop.clock import SystemClock
from weightdrop.core.deployment.events import DEAD_LETTERS_TOPIC
from weightdrop.core.deployment.record import Message
from weightdrop.errors import NotFoundError
from weightdrop.local.log import COLUMNS, LATER, SCHEMA, Entry, append, entry
from weightdrop.local.sqlite import Database
from weightdrop.ports import Clock

FILE_NAME = "queue.db"
"""Name of the file inside the stack's home."""

REASON_LENGTH = 2_000
"""Characters of a reason that are kept."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how fast a refused message is tried again.

    The defaults give up after about four minutes; Pub/Sub's dead-letter
    policies count at least five attempts too.

    Attributes:
        attempts: Tries before the message is dead.
        first_seconds: Wait after the first refusal; doubles each time.
        longest_seconds: Bound of the wait.
    """

    attempts: int = 10
    first_seconds: float = 0.5
    longest_seconds: float = 60.0

    def wait(self, attempts: int) -> timedelta:
        """How long to wait after so many attempts."""
        doubled = self.first_seconds * 2.0 ** min(attempts - 1, 30)
        return timedelta(seconds=min(doubled, self.longest_seconds))


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that was taken; `attempt` counts from 1."""

    entry: Entry
    attempt: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be handled.

    Attributes:
        entry: Where it is in the dead-letter topic's log.
        origin: Topic it was published to; empty if it was published to the
            dead-letter topic by a handler itself.
        reason: Why it was given up.
        attempts: How often it was tried.
    """

    entry: Entry
    origin: str
    reason: str
    attempts: int


class SqliteBus:
    """Bus, subscriptions and log on one file, for many processes.

    Args:
        path: The file, usually HOME / FILE_NAME.
        clock: Source of time; the system's by default.
        dead_letter_topic: Where messages go that cannot be handled.
        retry: When and how often a refused message is tried again.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        dead_letter_topic: str = DEAD_LETTERS_TOPIC,
        retry: Retry | None = None,
    ) -> None:
        self._database = Database(path, schema=SCHEMA, later=LATER)
        self._clock = clock or SystemClock()
        self._dead_letter_topic = dead_letter_topic
        self._retry = retry or Retry()

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self._database.close()

    def publish(self, message: Message) -> None:
        """See weightdrop.ports.Bus."""
        with self._database.write() as connection:
            append(connection, message, now=self._now())

    # ---------------------------------------------------------------- the log

    def end(self, topic: str) -> int:
        """The cursor behind which only messages still to come lie."""
        rows = self._database.read(
            "SELECT max(sequence) FROM log WHERE topic = ?", (topic,)
        )
        return rows[0][0] or 0

    def read(self, topic: str, *, after: int, limit: int) -> tuple[Entry, ...]:
        """At most `limit` messages of `topic` behind the cursor, in order."""
        rows = self._database.read(
            f"SELECT {COLUMNS} FROM log "  # noqa: S608
            "WHERE topic = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            (topic, after, limit),
        )
        return tuple(entry(row) for row in rows)

    def prune(self, *, before: datetime) -> int:
        """Forget messages published before; returns how many.

        What is still to be delivered, and dead letters, are kept.
        """
        with self._database.write() as connection:
            return connection.execute(
                "DELETE FROM log WHERE published < ? AND sequence NOT IN "
                "(SELECT sequence FROM deliveries) AND (topic != ? OR redriven)",
                (codec.microseconds(before), self._dead_letter_topic),
            ).rowcount

    # ------------------------------------------------------------- deliveries

    def subscribe(self, topic: str) -> None:
        """Have the topic's messages delivered, those already published too."""
        with self._database.write() as connection:
            made = connection.execute(
                "INSERT INTO subscriptions (topic) VALUES (?) ON CONFLICT DO NOTHING",
                (topic,),
            ).rowcount
            if not made:
                return
            connection.execute(
                "INSERT INTO deliveries (sequence, topic, ordering_key, available) "
                "SELECT sequence, topic, ordering_key, CASE WHEN ordering_key = '' "
                "OR sequence = min(sequence) OVER (PARTITION BY ordering_key) "
                "THEN published END FROM log WHERE topic = ?",
                (topic,),
            )

    def recover(self, topic: str) -> int:
        """Give back what a dead consumer had claimed; returns how many.

        Only for the one consumer of the topic, before it claims.
        """
        with self._database.write() as connection:
            return connection.execute(
                "UPDATE deliveries SET claimed = 0, available = ? "
                "WHERE topic = ? AND claimed",
                (self._now(), topic),
            ).rowcount

    def claim(self, topic: str, *, limit: int, lease_seconds: float) -> list[Claim]:
        """Take what can be delivered now, the longest waiting first."""
        now = self._now()
        lease = codec.microseconds(self._clock.now() + timedelta(seconds=lease_seconds))
        ready = (
            "SELECT sequence FROM deliveries WHERE topic = ? AND available <= ? "
            "ORDER BY available, sequence LIMIT ?"
        )
        # Looking first spares the others a write lock when there is nothing. A
        # negative limit would be none at all to SQLite.
        if limit < 1 or not self._database.read(ready, (topic, now, 1)):
            return []
        with self._database.write() as connection:
            taken = connection.execute(
                "UPDATE deliveries SET attempts = attempts + 1, claimed = 1, "  # noqa: S608
                f"available = ? WHERE sequence IN ({ready}) "
                "RETURNING sequence, attempts",
                (lease, topic, now, limit),
            ).fetchall()
            attempts = dict(taken)
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM log "  # noqa: S608
                f"WHERE sequence IN ({','.join('?' * len(taken))}) ORDER BY sequence",
                tuple(attempts),
            ).fetchall()
        return [Claim(entry(row), attempts[row[0]]) for row in rows]

    def acknowledge(self, claim: Claim) -> None:
        """It was handled: the next message of its key can be claimed."""
        with self._database.write() as connection:
            self._finish(connection, claim)

    def refuse(self, claim: Claim, *, reason: str) -> bool:
        """It was not handled; returns whether it is dead now.

        A claim that ran out and was taken by somebody else is left alone.
        """
        with self._database.write() as connection:
            if claim.attempt >= self._retry.attempts:
                if self._finish(connection, claim, exact=True):
                    message = claim.entry.message
                    append(
                        connection,
                        replace(message, topic=self._dead_letter_topic),
                        now=self._now(),
                        origin=message.topic,
                        reason=reason[:REASON_LENGTH],
                        attempts=claim.attempt,
                    )
                return True
            self._wait(connection, claim, self._retry.wait(claim.attempt), spent=1)
            return False

    def postpone(self, claim: Claim, *, seconds: float) -> None:
        """The subscriber could not be reached at all: no attempt was spent."""
        with self._database.write() as connection:
            self._wait(connection, claim, timedelta(seconds=seconds), spent=0)

    def next_time(self, topic: str) -> datetime | None:
        """When something can be claimed, if nothing else happens until then."""
        rows = self._database.read(
            "SELECT available FROM deliveries WHERE topic = ? "
            "AND available IS NOT NULL ORDER BY available LIMIT 1",
            (topic,),
        )
        return codec.from_microseconds(rows[0][0]) if rows else None

    # ------------------------------------------------------------ dead letters

    def dead_letters(self, *, limit: int = 1_000) -> tuple[DeadLetter, ...]:
        """The newest messages that could not be handled, oldest first."""
        rows = self._database.read(
            f"SELECT {COLUMNS}, origin, reason, "  # noqa: S608
            "attempts FROM log WHERE topic = ? AND NOT redriven "
            "ORDER BY sequence DESC LIMIT ?",
            (self._dead_letter_topic, limit),
        )
        return tuple(
            DeadLetter(
                found,
                origin=origin,
                reason=reason or _told_reason(found.message.data),
                attempts=attempts,
            )
            for *columns, origin, reason, attempts in reversed(rows)
            for found in (entry(tuple(columns)),)
        )

    def redrive(self, sequence: int, *, held: Message | None = None) -> Message:
        """Publish a dead letter anew to the topic it came from.

        Args:
            sequence: Of the dead letter.
            held: What to publish where the letter only wraps it.

        Raises:
            NotFoundError: There is no such dead letter with an origin.
        """
        with self._database.write() as connection:
            row = connection.execute(
                f"SELECT {COLUMNS}, origin "  # noqa: S608
                "FROM log WHERE topic = ? AND sequence = ? AND NOT redriven "
                "AND (origin != '' OR ?)",
                (self._dead_letter_topic, sequence, held is not None),
            ).fetchone()
            if row is None:
                raise NotFoundError(
                    f"There is no dead letter {sequence} that came from a topic: "
                    "`weightdrop dead-letters` lists what there is."
                )
            connection.execute(
                "UPDATE log SET redriven = 1 WHERE sequence = ?", (sequence,)
            )
            *columns, origin = row
            message = held or replace(entry(tuple(columns)).message, topic=origin)
            append(connection, message, now=self._now())
        return message

    # -------------------------------------------------------------------------

    def _now(self) -> int:
        return codec.microseconds(self._clock.now())

    def _finish(
        self, connection: sqlite3.Connection, claim: Claim, *, exact: bool = False
    ) -> bool:
        message = claim.entry.message
        gone = connection.execute(
            "DELETE FROM deliveries WHERE sequence = ? AND (attempts = ? OR ?)",
            (claim.entry.sequence, claim.attempt, not exact),
        ).rowcount
        if gone and message.ordering_key:
            connection.execute(
                "UPDATE deliveries SET available = ? WHERE sequence = (SELECT "
                "sequence FROM deliveries WHERE topic = ? AND ordering_key = ? "
                "ORDER BY sequence LIMIT 1)",
                (self._now(), message.topic, message.ordering_key),
            )
        return bool(gone)

    def _wait(
        self,
        connection: sqlite3.Connection,
        claim: Claim,
        wait: timedelta,
        *,
        spent: int,
    ) -> None:
        connection.execute(
            "UPDATE deliveries SET available = ?, claimed = 0, "
            "attempts = attempts - 1 + ? WHERE sequence = ? AND attempts = ?",
            (
                codec.microseconds(self._clock.now() + wait),
                spent,
                claim.entry.sequence,
                claim.attempt,
            ),
        )


def _told_reason(data: str) -> str:
    """The reason in a message that a handler itself gave up."""
    told = letters.read(data)
    return told.reason if told else ""
