"""Events that are still to be delivered: written with what they tell of.

A row is written in the transaction that makes or removes the object, and
removed when the function has answered 2xx. Rows of one object leave in order;
rows of different objects do not wait for each other.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from weightdrop.local.bucket.database import Database
from weightdrop.local.bucket.model import ObjectRow, resource
from weightdrop.local.cloudevents import Delivery

# What the CloudEvents HTTP binding leaves as it is in a header's value.
_HEADER_SAFE = "!#$&'()*+,/:;<=>?@[\\]^`{|}"
_HEADS = """
SELECT id, bucket, name, type, event, time, data, tries FROM outbox AS o
WHERE due <= ? AND NOT EXISTS (SELECT 1 FROM outbox AS p
  WHERE p.bucket = o.bucket AND p.name = o.name AND p.id < o.id)
ORDER BY id LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Pending:
    """One event to be delivered.

    Attributes:
        id: Row of the outbox; grows with time.
        tries: How often it was posted already.
        time: Microseconds since 1970.
        delivery: What is posted.
    """

    id: int
    tries: int
    time: int
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up."""

    id: int
    type: str
    bucket: str
    name: str
    tries: int
    died: str
    reason: str


def _delivery(kind: str, bucket: str, name: str, event: str, when: int) -> Delivery:
    return Delivery(
        id=event,
        type=kind,
        source=f"//storage.googleapis.com/projects/_/buckets/{bucket}",
        subject=quote(f"objects/{name}", safe=_HEADER_SAFE),
        time=datetime.fromtimestamp(when / 1e6, tz=UTC),
        data="",
        extensions={"bucket": bucket},
    )


class Outbox:
    """The table of events.

    Args:
        database: Where it is.
        watched: Buckets that have events at all.
        base_url: For links in the events' data.
    """

    def __init__(
        self, database: Database, *, watched: Collection[str], base_url: str
    ) -> None:
        self._database = database
        self._watched = frozenset(watched)
        self._base_url = base_url

    def add(
        self, transaction: sqlite3.Connection, kind: str, row: ObjectRow, *, time: int
    ) -> None:
        """Write an event in the transaction of the change it tells of."""
        if row.bucket not in self._watched:
            return
        data = msgspec.json.encode(resource(row, base_url=self._base_url)).decode()
        transaction.execute(
            "INSERT INTO outbox (bucket, name, type, event, time, data)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (row.bucket, row.name, kind, secrets.token_hex(12), time, data),
        )

    def heads(self, now: float, *, limit: int) -> list[Pending]:
        """The oldest event of each object, where it is due."""
        return [
            Pending(
                id=number,
                tries=tries,
                time=when,
                delivery=_with_data(_delivery(kind, bucket, name, event, when), data),
            )
            for number, bucket, name, kind, event, when, data, tries in (
                self._database.query(_HEADS, (now, limit))
            )
        ]

    def next_due(self, now: float) -> float | None:
        """When the next event after `now` is due, seconds since 1970, or None."""
        sql = "SELECT min(due) FROM outbox WHERE due > ?"
        found = self._database.query(sql, (now,))[0][0]
        return None if found is None else float(found)

    def depth(self) -> int:
        """How many events wait."""
        return int(self._database.query("SELECT count(*) FROM outbox")[0][0])

    def delivered(self, number: int) -> None:
        """Forget an event that arrived."""
        with self._database.transaction() as transaction:
            transaction.execute("DELETE FROM outbox WHERE id = ?", (number,))

    def postpone(self, number: int, *, due: float, reason: str) -> None:
        """Try again at `due`, seconds since 1970."""
        with self._database.transaction() as transaction:
            transaction.execute(
                "UPDATE outbox SET tries = tries + 1, due = ?, reason = ? WHERE id = ?",
                (due, reason, number),
            )

    def bury(self, number: int, *, now: float, reason: str) -> None:
        """Give an event up; it stays listed with its reason."""
        with self._database.transaction() as transaction:
            transaction.execute(
                "INSERT INTO dead_letters SELECT id, bucket, name, type, event, time,"
                " data, tries + 1, ?, ? FROM outbox WHERE id = ?",
                (now, reason, number),
            )
            transaction.execute("DELETE FROM outbox WHERE id = ?", (number,))

    def dead_letters(self) -> list[DeadLetter]:
        """What was given up, oldest first."""
        found = self._database.query(
            "SELECT id, type, bucket, name, tries, died, reason FROM dead_letters"
            " ORDER BY id"
        )
        return [
            DeadLetter(
                id=number,
                type=kind,
                bucket=bucket,
                name=name,
                tries=tries,
                died=datetime.fromtimestamp(died, UTC).isoformat(),
                reason=reason,
            )
            for number, kind, bucket, name, tries, died, reason in found
        ]

    def revive(self) -> int:
        """Put every dead letter back into the outbox; how many there were."""
        with self._database.transaction() as transaction:
            moved = transaction.execute(
                "INSERT INTO outbox (bucket, name, type, event, time, data)"
                " SELECT bucket, name, type, event, time, data FROM dead_letters"
                " ORDER BY id"
            ).rowcount
            transaction.execute("DELETE FROM dead_letters")
        return moved


def _with_data(delivery: Delivery, data: str) -> Delivery:
    return Delivery(
        id=delivery.id,
        type=delivery.type,
        source=delivery.source,
        subject=delivery.subject,
        time=delivery.time,
        data=data,
        extensions=delivery.extensions,
    )
