"""One SQLite file, used by many processes and threads at once."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weightdrop.errors import PermanentError, TransientError

BUSY_SECONDS = 30.0
"""How long a writer waits for its turn before it gives up as transient."""

Row = tuple[Any, ...]


class Database:
    """A write-ahead-logged SQLite file with its schema.

    Safe for many processes (SQLite's locks), many threads (a lock of our own)
    and forks (a child opens anew). Every commit is synced to the disk, so what
    returned survives kill -9 and a power cut.

    Args:
        path: The file; its folder is made.
        schema: Statements that are harmless when repeated.
        later: Table, name and definition of columns that `schema` has and files
            of earlier versions lack; they are added.
    """

    def __init__(
        self, path: Path, *, schema: str, later: tuple[tuple[str, str, str], ...] = ()
    ) -> None:
        self.path = path
        self._schema = schema
        self._later = later
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: list[sqlite3.Connection] = []
        self._pid = 0

    def read(self, statement: str, parameters: Row | dict[str, Any] = ()) -> list[Row]:
        """All rows of one query.

        Raises:
            TransientError: The file is locked for too long or cannot be opened.
            PermanentError: The file is not what we wrote.
        """
        with self._lock, self._translated():
            return self._open().execute(statement, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is kept, or nothing if the block raises.

        Raises:
            TransientError: The file is locked for too long or cannot be written.
            PermanentError: The file is not what we wrote.
        """
        with self._lock, self._translated():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A full disk makes SQLite roll back by itself.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def changes(self) -> int:
        """A number that changes when *another* Database object commits.

        Costs microseconds: SQLite looks at memory it shares between processes.
        """
        return int(self.read("PRAGMA data_version")[0][0])

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        if self._connection is not None:
            # SQLite forbids even closing a connection that came through a fork.
            self._inherited.append(self._connection)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._pid = connection, os.getpid()
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError:
                # Two first openers: SQLite does not wait for this one lock.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(f"BEGIN IMMEDIATE; {self._schema} COMMIT;")
        for table, column, definition in self._later:
            self._add(connection, table, column, definition)

    def _add(
        self, connection: sqlite3.Connection, table: str, column: str, definition: str
    ) -> None:
        columns = f"PRAGMA table_info({table})"
        if any(row[1] == column for row in connection.execute(columns)):
            return
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have been quicker.
        if not any(row[1] == column for row in connection.execute(columns)):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {definition}")
        connection.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise TransientError(
                f"The local database {self.path} cannot be used now: {error}. Check "
                "that its folder exists, is writable and has room."
            ) from error
        except sqlite3.DatabaseError as error:
            raise PermanentError(
                f"The local database {self.path} is damaged or of another version: "
                f"{error}. Stop the stack and delete the file."
            ) from error
