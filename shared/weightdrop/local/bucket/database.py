"""The SQLite file behind the bucket server.

Write-ahead log with `synchronous=NORMAL`: a committed transaction survives the
death of the process at any point. A power cut may take the last transactions,
never the file's integrity; the rescan at start then finds the files again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
  name TEXT PRIMARY KEY, created INTEGER NOT NULL, updated INTEGER NOT NULL,
  metageneration INTEGER NOT NULL, fields TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
  bucket TEXT NOT NULL, name TEXT NOT NULL, generation INTEGER NOT NULL,
  metageneration INTEGER NOT NULL, size INTEGER NOT NULL, crc32c TEXT NOT NULL,
  md5 TEXT NOT NULL, components INTEGER NOT NULL, created INTEGER NOT NULL,
  updated INTEGER NOT NULL, fields TEXT NOT NULL, path TEXT NOT NULL,
  inode INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
  stage TEXT NOT NULL DEFAULT '', PRIMARY KEY (bucket, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_path ON objects (path);
CREATE TABLE IF NOT EXISTS generations (last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, name TEXT NOT NULL,
  type TEXT NOT NULL, event TEXT NOT NULL, time INTEGER NOT NULL, data TEXT NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS outbox_order ON outbox (bucket, name, id);
CREATE TABLE IF NOT EXISTS dead_letters (
  id INTEGER PRIMARY KEY, bucket TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
  event TEXT NOT NULL, time INTEGER NOT NULL, data TEXT NOT NULL,
  tries INTEGER NOT NULL, died REAL NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS uploads (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, bucket TEXT NOT NULL, name TEXT NOT NULL,
  resource TEXT NOT NULL, conditions TEXT NOT NULL, created REAL NOT NULL,
  generation INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
"""


class Database:
    """One connection that writes, under `lock`, and one reader per thread.

    Args:
        path: The SQLite file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self.lock = threading.RLock()
        self._writer = self._connect()
        self._writer.executescript(_SCHEMA)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=10
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        self._open.append(connection)
        return connection

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a SELECT, from committed data."""
        reader = getattr(self._local, "reader", None)
        if reader is None:
            with self.lock:
                reader = self._local.reader = self._connect()
        return list(reader.execute(sql, values))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; holds `lock` meanwhile."""
        with self.lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close every connection; no call may follow."""
        with self.lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
