"""The log of the local bus: every published message, retained, with a cursor."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from weightdrop import codec
from weightdrop.core.deployment.record import Message
from weightdrop.local.sqlite import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    id TEXT NOT NULL,
    ordering_key TEXT NOT NULL,
    type TEXT NOT NULL,
    time INTEGER NOT NULL,
    data TEXT NOT NULL,
    published INTEGER NOT NULL,
    origin TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    redriven INTEGER NOT NULL DEFAULT 0,
    trace TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS by_topic ON log (topic, sequence);
CREATE TABLE IF NOT EXISTS subscriptions (topic TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS deliveries (
    sequence INTEGER PRIMARY KEY REFERENCES log (sequence),
    topic TEXT NOT NULL,
    ordering_key TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    available INTEGER,
    claimed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_available
    ON deliveries (topic, available, sequence) WHERE available IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_key ON deliveries (topic, ordering_key, sequence);
"""
# deliveries.available is NULL while an older delivery of the same key is there:
# so `claim` looks at nothing it cannot take, however long a key's tail is.


LATER = (("log", "trace", "TEXT NOT NULL DEFAULT ''"),)
"""Columns that files of earlier versions lack."""

COLUMNS = "sequence, published, topic, id, ordering_key, type, time, data, trace"
"""What `entry` reads, in its order."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the log. `sequence` is a cursor: it only grows."""

    sequence: int
    published: datetime
    message: Message


class Watch:
    """Tells cheaply whether any process wrote to the file.

    Args:
        path: The queue's file.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, schema=SCHEMA, later=LATER)
        self._seen = -1

    def changed(self) -> bool:
        """Whether something was written since the last call; takes microseconds."""
        before, self._seen = self._seen, self._database.changes()
        return before != self._seen

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def append(
    connection: sqlite3.Connection,
    message: Message,
    *,
    now: int,
    origin: str = "",
    reason: str = "",
    attempts: int = 0,
) -> None:
    """Add a message to the log, and a delivery of it if its topic has a subscriber.

    Args:
        connection: Inside a transaction.
        message: What to add, under its topic.
        now: The present in microseconds since 1970.
        origin: For a dead letter: the topic it came from.
        reason: For a dead letter: why it was given up.
        attempts: For a dead letter: how often it was tried.
    """
    row = {
        "topic": message.topic,
        "id": message.id,
        "ordering_key": message.ordering_key,
        "type": message.type,
        "time": codec.microseconds(message.time),
        "data": message.data,
        "trace": message.trace,
        "now": now,
        "origin": origin,
        "reason": reason,
        "attempts": attempts,
    }
    sequence = connection.execute(
        "INSERT INTO log (topic, id, ordering_key, type, time, data, published, "
        "origin, reason, attempts, trace) VALUES (:topic, :id, :ordering_key, :type, "
        ":time, :data, :now, :origin, :reason, :attempts, :trace)",
        row,
    ).lastrowid
    connection.execute(
        "INSERT INTO deliveries (sequence, topic, ordering_key, available) "
        "SELECT :sequence, :topic, :ordering_key, CASE WHEN :ordering_key = '' "
        "OR NOT EXISTS (SELECT 1 FROM deliveries WHERE topic = :topic "
        "AND ordering_key = :ordering_key) THEN :now END "
        "FROM subscriptions WHERE topic = :topic",
        row | {"sequence": sequence},
    )


def entry(row: tuple[Any, ...]) -> Entry:
    """The entry in a row of COLUMNS."""
    sequence, published, topic, identity, key, kind, time, data, trace = row
    message = Message(
        id=identity,
        topic=topic,
        ordering_key=key,
        type=kind,
        time=codec.from_microseconds(time),
        data=data,
        trace=trace,
    )
    return Entry(sequence, codec.from_microseconds(published), message)
