"""Resumable uploads: a session in SQLite, a growing staged file beside it."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from weightdrop.local.bucket.digest import Digest, digest_file
from weightdrop.local.bucket.http import Answer, Call
from weightdrop.local.bucket.model import ObjectRow
from weightdrop.local.bucket.problems import ApiError
from weightdrop.local.bucket.sink import Sink
from weightdrop.local.bucket.store import Store
from weightdrop.local.bucket.uploads import (
    Target,
    decode_target,
    encode_target,
    shown,
    store_sink,
    target_of,
)

# A session's life in Cloud Storage, in seconds.
_WEEK = 7 * 86400.0
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)\Z")


@dataclass(slots=True)
class Session:
    """An upload under way.

    Attributes:
        target: What it is to become.
        generation: Of the object when it is done, else 0.
        digest: Of what the staged file holds; None until it was read.
        lock: One request at a time.
    """

    target: Target
    generation: int = 0
    digest: Digest | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Piece:
    """A Content-Range header: bytes from `start`, None for a mere question."""

    start: int | None
    end: int | None
    total: int | None


def parse_range(text: str) -> Piece:
    """What a Content-Range says; none at all means everything at once."""
    if not text:
        return Piece(0, None, None)
    found = _RANGE.match(text.strip())
    if not found:
        raise ApiError(400, f"Invalid Content-Range: {text!r}.")
    start, end, total = found.groups()
    return Piece(
        None if start is None else int(start),
        None if end is None else int(end),
        None if total == "*" else int(total),
    )


class Resumables:
    """All sessions.

    Args:
        store: Where finished uploads go.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sessions: dict[str, Session] = {}

    def expire(self) -> None:
        """Forget sessions older than a week, with their bytes; at start."""
        database = self._store.database
        before = (time.time() - _WEEK,)
        old = database.query("SELECT id FROM uploads WHERE created < ?", before)
        with database.transaction() as transaction:
            transaction.execute("DELETE FROM uploads WHERE created < ?", before)
        for (name,) in old:
            for file in self._store.tree.staging.glob(f"{name}*"):
                file.unlink()

    async def begin(self, call: Call, bucket: str) -> Answer:
        """POST uploadType=resumable: make a session, tell its address."""
        shape = await call.json()
        kind = call.headers.get("x-upload-content-type", "")
        target = target_of(call, bucket, shape, content_type=kind)
        await call.run(self._store.require_bucket, bucket)
        # Early, as Cloud Storage does; the put checks again.
        live = await call.run(self._store.find, bucket, target.name)
        target.conditions.check(live)
        name = secrets.token_hex(16)
        await call.run(self._save, name, target)
        self._sessions[name] = Session(target, digest=Digest())
        path = "/".join(quote(part, safe="") for part in call.segments)
        address = f"{call.base_url}/{path}?uploadType=resumable&upload_id={name}"
        return Answer(200, {"location": address, "x-guploader-uploadid": name})

    async def proceed(self, call: Call, name: str) -> Answer:
        """PUT to a session's address: bytes, or a question how far it is."""
        session = await self._session(call, name)
        piece = parse_range(call.headers.get("content-range", ""))
        async with session.lock:
            if session.generation:
                target = session.target
                row = await call.run(self._store.find, target.bucket, target.name)
                if row is None or row.generation != session.generation:
                    raise ApiError(410, "The upload's object was replaced.")
                return shown(call, row)
            sink = await self._open(call, name, session)
            if piece.start is None:
                if piece.total is not None and piece.total == sink.size:
                    return shown(call, await self._finish(call, name, session, sink))
                sink.keep()
                return _continue(sink.size)
            return await self._take(call, name, session, sink=sink, piece=piece)

    async def cancel(self, call: Call, name: str) -> Answer:
        """DELETE a session: 499, as Cloud Storage answers."""
        session = await self._session(call, name)
        async with session.lock:
            await call.run(self._forget, name)
            self._path(name).unlink(missing_ok=True)
        return Answer(499)

    async def _take(
        self, call: Call, name: str, session: Session, *, sink: Sink, piece: Piece
    ) -> Answer:
        skip = sink.size - (piece.start or 0)
        if skip < 0:
            sink.keep()
            # A gap: tell where to go on, as Cloud Storage does.
            return _continue(sink.size)
        try:
            async for received in call.chunks:
                chunk = received[skip:] if skip else received
                skip = max(0, skip - len(received))
                if chunk:
                    await sink.write(chunk)
            await sink.flush()
        except BaseException:
            # What arrived whole stays; the file is read again at the next call.
            session.digest = None
            await sink.settle()
            sink.keep()
            raise
        if piece.end is not None and sink.size < piece.end + 1:
            sink.keep()
            return _continue(sink.size)
        whole = piece.end is None or piece.total == sink.size
        if not whole:
            sink.keep()
            return _continue(sink.size)
        return shown(call, await self._finish(call, name, session, sink))

    async def _finish(
        self, call: Call, name: str, session: Session, sink: Sink
    ) -> ObjectRow:
        try:
            row = await call.run(store_sink, self._store, sink, session.target)
        except ApiError:
            await call.run(self._forget, name)
            sink.discard()
            raise
        session.generation = row.generation
        await call.run(self._done, name, row.generation)
        return row

    async def _session(self, call: Call, name: str) -> Session:
        found = self._sessions.get(name)
        if found is None:
            loaded = await call.run(self._load, name)
            found = self._sessions.setdefault(name, loaded)
        return found

    async def _open(self, call: Call, name: str, session: Session) -> Sink:
        path = self._path(name)
        if session.digest is None:
            session.digest = await call.run(_read, path)
        if session.digest.size == 0:
            path.unlink(missing_ok=True)
            sink = Sink(path, executor=call.executor)
            session.digest = sink.digest
            return sink
        return Sink(path, executor=call.executor, digest=session.digest)

    def _path(self, name: str) -> Path:
        return self._store.tree.staging / name

    def _save(self, name: str, target: Target) -> None:
        with self._store.database.transaction() as transaction:
            transaction.execute(
                "INSERT INTO uploads (id, kind, bucket, name, resource, conditions,"
                " created) VALUES (?, 'resumable', ?, ?, ?, ?, ?)",
                (name, target.bucket, target.name, *encode_target(target), time.time()),
            )

    def _load(self, name: str) -> Session:
        rows = self._store.database.query(
            "SELECT bucket, name, resource, conditions, generation FROM uploads"
            " WHERE id = ? AND kind = 'resumable'",
            (name,),
        )
        if not rows:
            raise ApiError(404, "No such upload session; begin again.")
        return Session(decode_target(*rows[0][:4]), generation=rows[0][4])

    def _done(self, name: str, generation: int) -> None:
        with self._store.database.transaction() as transaction:
            transaction.execute(
                "UPDATE uploads SET generation = ? WHERE id = ?", (generation, name)
            )

    def _forget(self, name: str) -> None:
        self._sessions.pop(name, None)
        with self._store.database.transaction() as transaction:
            transaction.execute("DELETE FROM uploads WHERE id = ?", (name,))


def _read(path: Path) -> Digest:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return Digest()
    try:
        return digest_file(descriptor)
    finally:
        os.close(descriptor)


def _continue(size: int) -> Answer:
    headers = {"range": f"bytes=0-{size - 1}"} if size else {}
    return Answer(308, headers)
