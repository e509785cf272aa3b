"""State that survives kill -9: one SQLite file of JSON documents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

JSON = dict[str, Any]


def now() -> str:
    """The present as a Timestamp's JSON form."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Store:
    """Documents by kind and key; used from the event loop's thread only.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS item (kind TEXT, key TEXT, body BLOB, "
            "PRIMARY KEY (kind, key)) WITHOUT ROWID"
        )

    def get(self, kind: str, key: str) -> JSON | None:
        """One document, or None."""
        row = self._db.execute(
            "SELECT body FROM item WHERE kind = ? AND key = ?", (kind, key)
        ).fetchone()
        return None if row is None else msgspec.json.decode(row[0])

    def put(self, kind: str, key: str, body: JSON) -> None:
        """Write one document."""
        self._db.execute(
            "INSERT INTO item VALUES (?, ?, ?) ON CONFLICT (kind, key) "
            "DO UPDATE SET body = excluded.body",
            (kind, key, msgspec.json.encode(body)),
        )

    def delete(self, kind: str, key: str) -> None:
        """Remove one document; none is fine."""
        self._db.execute("DELETE FROM item WHERE kind = ? AND key = ?", (kind, key))

    def scan(self, kind: str, prefix: str = "") -> list[tuple[str, JSON]]:
        """All documents of a kind whose key begins with `prefix`, in key order."""
        rows = self._db.execute(
            "SELECT key, body FROM item WHERE kind = ? AND key >= ? AND key < ? "
            "ORDER BY key",
            (kind, prefix, prefix + "\U0010ffff"),
        )
        return [(key, msgspec.json.decode(body)) for key, body in rows.fetchall()]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._db.close()
