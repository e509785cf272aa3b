"""The Records port on one SQLite file, for one machine and many processes."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

from weightdrop import codec
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Message, Revision
from weightdrop.errors import PermanentError, StaleError
from weightdrop.local.sqlite import Database
from weightdrop.ports import Page, Versioned

FILE_NAME = "records.db"
"""Name of the file inside the stack's home."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deployments (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    phase TEXT NOT NULL,
    updated INTEGER NOT NULL,
    due INTEGER,
    record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_due ON deployments (due, id) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_update ON deployments (updated, id);
CREATE INDEX IF NOT EXISTS by_phase ON deployments (phase, updated, id);
CREATE TABLE IF NOT EXISTS serving (deployment TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS revisions (
    deployment TEXT NOT NULL,
    digest TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (deployment, digest)
);
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    deployment TEXT NOT NULL,
    id TEXT NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (deployment, id)
);
CREATE INDEX IF NOT EXISTS by_deployment ON events (deployment, sequence);
CREATE TABLE IF NOT EXISTS lines (name TEXT PRIMARY KEY, free INTEGER NOT NULL);
"""


class SqliteRecords:
    """Records in SQLite.

    Args:
        path: The file, usually HOME / FILE_NAME.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, schema=_SCHEMA)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self._database.close()

    def get(self, deployment_id: str) -> Versioned | None:
        """See weightdrop.ports.Records."""
        rows = self._database.read(
            "SELECT record, version FROM deployments WHERE id = ?", (deployment_id,)
        )
        if not rows:
            return None
        record, version = rows[0]
        return Versioned(codec.decode_deployment(record), str(version))

    def create(
        self, deployment: Deployment, *, events: tuple[Message, ...] = ()
    ) -> Versioned:
        """See weightdrop.ports.Records."""
        row = _row(deployment)
        with self._database.write() as connection:
            made = connection.execute(
                "INSERT INTO deployments (id, version, phase, updated, due, record) "
                "VALUES (:id, 1, :phase, :updated, :due, :record) "
                "ON CONFLICT (id) DO NOTHING",
                row,
            ).rowcount
            if not made:
                raise StaleError(f"The record {deployment.id} exists already.")
            _write_serving(connection, deployment)
            _write_history(connection, deployment, events)
        return Versioned(deployment, "1")

    def put(
        self,
        deployment: Deployment,
        *,
        version: str,
        events: tuple[Message, ...] = (),
    ) -> Versioned:
        """See weightdrop.ports.Records."""
        row = _row(deployment)
        with self._database.write() as connection:
            changed = connection.execute(
                "UPDATE deployments SET version = version + 1, phase = :phase, "
                "updated = :updated, due = :due, record = :record "
                "WHERE id = :id AND CAST(version AS TEXT) = :version",
                row | {"version": version},
            ).rowcount
            if not changed:
                raise StaleError(
                    f"The record {deployment.id} no longer has version {version}."
                )
            _write_serving(connection, deployment)
            _write_history(connection, deployment, events)
        return Versioned(deployment, str(int(version) + 1))

    def turn(
        self, line: str, *, now: datetime, every: float, patience: float
    ) -> datetime | None:
        """See weightdrop.ports.Records."""
        with self._database.write() as connection:
            found = connection.execute(
                "SELECT free FROM lines WHERE name = ?", (line,)
            ).fetchone()
            free = codec.from_microseconds(found[0]) if found else now
            turn = max(free, now)
            if (turn - now).total_seconds() > patience:
                return None
            connection.execute(
                "INSERT INTO lines (name, free) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET free = excluded.free",
                (line, codec.microseconds(turn + timedelta(seconds=every))),
            )
        return turn

    def due(self, now: datetime, *, limit: int) -> tuple[str, ...]:
        """See weightdrop.ports.Records."""
        rows = self._database.read(
            "SELECT id FROM deployments WHERE due <= ? ORDER BY due, id LIMIT ?",
            (codec.microseconds(now), max(limit, 0)),
        )
        return tuple(row[0] for row in rows)

    def page(self, *, phase: Phase | None, size: int, token: str) -> Page:
        """See weightdrop.ports.Records."""
        if size < 1:
            raise PermanentError(f"A page has at least one record, not {size}.")
        conditions: list[str] = []
        values: list[str | int] = []
        if phase is not None:
            conditions.append("phase = ?")
            values.append(phase.value)
        if token:
            updated, last = codec.read_page_token(token, phase=phase)
            conditions.append("(updated, id) < (?, ?)")
            values += [codec.microseconds(updated), last]
        where = "WHERE " + " AND ".join(conditions) if conditions else ""
        rows = self._database.read(
            f"SELECT record FROM deployments {where} "  # noqa: S608  # our own words
            "ORDER BY updated DESC, id DESC LIMIT ?",
            (*values, size + 1),
        )
        found = tuple(codec.decode_deployment(row[0]) for row in rows[:size])
        more = len(rows) > size
        return Page(found, codec.page_token(found[-1], phase=phase) if more else "")

    def serving(self, *, after: str, limit: int) -> tuple[Deployment, ...]:
        """See weightdrop.ports.Records."""
        rows = self._database.read(
            "SELECT record FROM serving JOIN deployments ON id = deployment "
            "WHERE deployment > ? ORDER BY deployment LIMIT ?",
            (after, max(limit, 0)),
        )
        return tuple(codec.decode_deployment(row[0]) for row in rows)

    def revisions(self, deployment_id: str) -> tuple[Revision, ...]:
        """See weightdrop.ports.Records."""
        rows = self._database.read(
            "SELECT record FROM revisions WHERE deployment = ?", (deployment_id,)
        )
        found = [codec.decode_revision(row[0]) for row in rows]
        return tuple(sorted(found, key=lambda it: (it.number, it.created, it.digest)))

    def events(self, deployment_id: str, *, limit: int) -> tuple[Message, ...]:
        """See weightdrop.ports.Records."""
        rows = self._database.read(
            "SELECT record FROM events WHERE deployment = ? "
            "ORDER BY sequence DESC LIMIT ?",
            (deployment_id, max(limit, 0)),
        )
        return tuple(codec.decode_message(row[0]) for row in reversed(rows))


def _row(deployment: Deployment) -> dict[str, object]:
    due = deployment.due
    return {
        "id": deployment.id,
        "phase": deployment.phase.value,
        "updated": codec.microseconds(deployment.updated),
        "due": None if due is None else codec.microseconds(due),
        "record": codec.encode(deployment),
    }


def _write_serving(connection: sqlite3.Connection, deployment: Deployment) -> None:
    if deployment.serving:
        order = "INSERT INTO serving (deployment) VALUES (?) ON CONFLICT DO NOTHING"
    else:
        order = "DELETE FROM serving WHERE deployment = ?"
    connection.execute(order, (deployment.id,))


def _write_history(
    connection: sqlite3.Connection,
    deployment: Deployment,
    events: tuple[Message, ...],
) -> None:
    connection.executemany(
        "INSERT INTO revisions (deployment, digest, record) VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET record = excluded.record "
        "WHERE record IS NOT excluded.record",
        [(deployment.id, it.digest, codec.encode(it)) for it in deployment.revisions],
    )
    connection.executemany(
        "INSERT INTO events (deployment, id, record) VALUES (?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        [(deployment.id, event.id, codec.encode(event)) for event in events],
    )
