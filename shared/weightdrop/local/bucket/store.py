"""The objects: every change of one goes through here, one at a time.

The order that makes a death at any point harmless:

- put: bytes whole in staging -> one transaction (row with the staged name, and
  the event) -> rename -> answer. recovery.py does a rename that was cut short.
- delete: unlink -> one transaction (row gone, event) -> answer. A row without
  its file is deleted, with its event, by the scan at start.
- adopt (a plain file): hashed -> still the same file? -> one transaction.

Readers compare the open file with the row (inode, size, time), so bytes never
travel under another generation's name.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import msgspec

from weightdrop.core.deployment.triggers import DELETED, FINALIZED
from weightdrop.local.bucket.conditions import Conditions
from weightdrop.local.bucket.database import Database
from weightdrop.local.bucket.model import COLUMNS, Checksums, Identity, ObjectRow
from weightdrop.local.bucket.outbox import Outbox
from weightdrop.local.bucket.problems import ApiError, no_bucket, not_found
from weightdrop.local.bucket.tree import BUCKET, Tree, regular

_INSERT = (
    f"INSERT OR REPLACE INTO objects ({COLUMNS}, stage) "  # noqa: S608
    f"VALUES ({', '.join('?' * (len(ObjectRow.__dataclass_fields__) + 1))})"
)
_SELECT = f"SELECT {COLUMNS} FROM objects "  # noqa: S608  (constants)
# GCS allows 1024 bytes of UTF-8, no carriage return or line feed.
_NAME_BYTES = 1024
# A file that is not the row's: how often to look, and seconds in between.
_READ_TRIES, _READ_PAUSE = 6, 0.05


def check_name(name: str) -> None:
    """Refuse what Cloud Storage refuses as an object name."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise ApiError(400, "An object name must be valid Unicode.") from None
    if (
        not 0 < length <= _NAME_BYTES
        or name in {".", ".."}
        or set("\r\n\0") & set(name)
    ):
        raise ApiError(400, f"Invalid object name: {name[:80]!r}.")


class Store:
    """All objects of all buckets.

    Args:
        database: Metadata.
        tree: Bytes.
        outbox: Events.
        changed: Called after each change, from any thread.

    Attributes:
        doubted: Called with a file that a reader found to be another than its
            row says; set by whoever compares them.
    """

    def __init__(
        self,
        *,
        database: Database,
        tree: Tree,
        outbox: Outbox,
        changed: Callable[[], None],
    ) -> None:
        self.database = database
        self.tree = tree
        self._outbox = outbox
        self._changed = changed
        self.doubted: Callable[[Path], None] = lambda _: None

    # ------------------------------------------------------------- reading

    def require_bucket(self, bucket: str) -> None:
        """Raise 404 if there is no such bucket."""
        folder = self.tree.root / bucket
        if not BUCKET.match(bucket) or folder.is_symlink() or not folder.is_dir():
            raise no_bucket(bucket)

    def find(self, bucket: str, name: str) -> ObjectRow | None:
        """The live object, or None."""
        rows = self.database.query(
            _SELECT + "WHERE bucket = ? AND name = ?", (bucket, name)
        )
        return ObjectRow(*rows[0]) if rows else None

    def at_path(self, path: str) -> ObjectRow | None:
        """The object whose bytes are at a relative path, or None."""
        rows = self.database.query(_SELECT + "WHERE path = ?", (path,))
        return ObjectRow(*rows[0]) if rows else None

    def below(self, folder: str) -> list[ObjectRow]:
        """Objects whose bytes are below a relative folder."""
        # "0" follows "/" in ASCII: the range holds what begins with "folder/".
        rows = self.database.query(
            _SELECT + "WHERE path >= ? AND path < ?", (folder + "/", folder + "0")
        )
        return [ObjectRow(*row) for row in rows]

    def get(self, bucket: str, name: str, generation: int | None = None) -> ObjectRow:
        """The live object; 404 if it is not there or another generation."""
        row = self.find(bucket, name)
        if row is None:
            self.require_bucket(bucket)
            raise not_found(bucket, name, generation)
        if generation is not None and generation != row.generation:
            raise not_found(bucket, name, generation)
        return row

    def open(
        self, bucket: str, name: str, *, generation: int | None, conditions: Conditions
    ) -> tuple[ObjectRow, int]:
        """The object and a descriptor of exactly its bytes.

        Raises 503 while somebody writes into its file: the caller may retry.
        """
        for _ in range(_READ_TRIES):
            row = self.get(bucket, name, generation)
            conditions.check(row, reading=True)
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(self.tree.absolute(row.path), flags)
            except OSError:
                descriptor = -1
            if descriptor >= 0:
                if Identity.of(os.fstat(descriptor)) == row.identity:
                    return row, descriptor
                os.close(descriptor)
            # A put may be between its transaction and its rename.
            with self.database.lock:
                pass
            self.doubted(self.tree.absolute(row.path))
            time.sleep(_READ_PAUSE)
        raise ApiError(503, f"The file of {bucket}/{name} is being replaced.")

    # ------------------------------------------------------------- changing

    def put(
        self,
        staged: Path,
        checksums: Checksums,
        *,
        bucket: str,
        name: str,
        fields: Mapping[str, Any],
        conditions: Conditions,
        components: int = 0,
    ) -> ObjectRow:
        """Make the staged file the live generation of an object."""
        check_name(name)
        with self.database.lock:
            self.require_bucket(bucket)
            old = self.find(bucket, name)
            conditions.check(old)
            row = self._row(bucket, name, checksums, stat=staged.stat(), fields=fields)
            row = replace(
                row, components=components, path=self.tree.place(bucket, name)
            )
            row = self._commit(row, old, stage=staged.name)
            self._settle(row, staged)
            if old and old.path != row.path:
                self.tree.absolute(old.path).unlink(missing_ok=True)
        self._changed()
        return row

    def adopt(
        self,
        bucket: str,
        name: str,
        *,
        seen: os.stat_result,
        checksums: Checksums,
        content_type: str,
    ) -> bool:
        """Make a plain file the live generation; False if it changed since."""
        path = f"{bucket}/{name}"
        with self.database.lock:
            now = regular(self.tree.absolute(path))
            if now is None or Identity.of(now) != Identity.of(seen):
                return False
            old = self.find(bucket, name)
            fields = {"contentType": content_type}
            row = self._row(bucket, name, checksums, stat=now, fields=fields)
            row = self._commit(replace(row, path=path), old, stage="")
            if old and old.path != path:
                self.tree.absolute(old.path).unlink(missing_ok=True)
        self._changed()
        return True

    def touch(self, row: ObjectRow, stat: os.stat_result) -> None:
        """Note new times of a file whose bytes are the same."""
        with self.database.transaction() as transaction:
            transaction.execute(
                "UPDATE objects SET mtime_ns = ?, ctime_ns = ?"
                " WHERE bucket = ? AND name = ? AND generation = ?",
                (
                    stat.st_mtime_ns,
                    stat.st_ctime_ns,
                    row.bucket,
                    row.name,
                    row.generation,
                ),
            )

    def patch(
        self,
        bucket: str,
        name: str,
        *,
        generation: int | None,
        conditions: Conditions,
        change: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> ObjectRow:
        """Change what clients may set; the metageneration grows."""
        with self.database.lock:
            row = self.get(bucket, name, generation)
            conditions.check(row)
            row = replace(
                row,
                fields=msgspec.json.encode(change(row.settings())).decode(),
                metageneration=row.metageneration + 1,
                updated=max(time.time_ns() // 1000, row.updated),
            )
            with self.database.transaction() as transaction:
                self._write(transaction, row, stage="")
        return row

    def delete(
        self, bucket: str, name: str, *, generation: int | None, conditions: Conditions
    ) -> None:
        """Remove the object and its bytes."""
        with self.database.lock:
            row = self.get(bucket, name, generation)
            conditions.check(row)
            self.tree.absolute(row.path).unlink(missing_ok=True)
            self._forget(row)
            if row.path == f"{bucket}/{name}":
                self.tree.prune(row.path)
        self._changed()

    def lose(self, row: ObjectRow) -> bool:
        """Delete an object whose file somebody removed; False if it is back."""
        with self.database.lock:
            found = regular(self.tree.absolute(row.path))
            if found is not None or self.at_path(row.path) != row:
                return False
            self._forget(row)
        self._changed()
        return True

    # ------------------------------------------------------------- inside

    def _row(
        self,
        bucket: str,
        name: str,
        checksums: Checksums,
        *,
        stat: os.stat_result,
        fields: Mapping[str, Any],
    ) -> ObjectRow:
        return ObjectRow(
            bucket=bucket,
            name=name,
            generation=0,
            metageneration=1,
            size=checksums.size,
            crc32c=checksums.crc32c,
            md5=checksums.md5,
            components=0,
            created=0,
            updated=0,
            fields=msgspec.json.encode(fields).decode(),
            path="",
            inode=stat.st_ino,
            mtime_ns=stat.st_mtime_ns,
            ctime_ns=stat.st_ctime_ns,
        )

    def _commit(
        self, row: ObjectRow, old: ObjectRow | None, *, stage: str
    ) -> ObjectRow:
        with self.database.transaction() as transaction:
            moment = time.time_ns() // 1000
            generation = _next_generation(transaction, moment)
            row = replace(row, generation=generation, created=moment, updated=moment)
            self._write(transaction, row, stage=stage)
            self._outbox.add(transaction, FINALIZED, row, time=moment)
            if old is not None:
                # As Cloud Storage does where versions are not kept.
                self._outbox.add(transaction, DELETED, old, time=moment)
        return row

    def _settle(self, row: ObjectRow, staged: Path) -> None:
        try:
            staged.replace(self.tree.absolute(row.path))
        except OSError:
            # Somebody made a folder of that name meanwhile.
            hidden = self.tree.hide()
            with self.database.transaction() as transaction:
                transaction.execute(
                    "UPDATE objects SET path = ? WHERE bucket = ? AND name = ?",
                    (hidden, row.bucket, row.name),
                )
            staged.replace(self.tree.absolute(hidden))

    def _forget(self, row: ObjectRow) -> None:
        with self.database.transaction() as transaction:
            transaction.execute(
                "DELETE FROM objects WHERE bucket = ? AND name = ?",
                (row.bucket, row.name),
            )
            self._outbox.add(transaction, DELETED, row, time=time.time_ns() // 1000)

    def _write(self, transaction: Connection, row: ObjectRow, *, stage: str) -> None:
        values = [getattr(row, key) for key in ObjectRow.__dataclass_fields__]
        transaction.execute(_INSERT, (*values, stage))


def _next_generation(transaction: Connection, moment: int) -> int:
    last = transaction.execute("SELECT last FROM generations").fetchone()
    if last is None:
        transaction.execute("INSERT INTO generations VALUES (?)", (moment,))
        return moment
    generation = max(moment, int(last[0]) + 1)
    transaction.execute("UPDATE generations SET last = ?", (generation,))
    return generation
