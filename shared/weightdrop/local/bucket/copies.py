"""Copies inside the server: rewrite, copy, move and compose."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightdrop.local.bucket.conditions import Conditions, integer
from weightdrop.local.bucket.digest import BLOCK, Digest, append_file, writing
from weightdrop.local.bucket.http import Answer, Call
from weightdrop.local.bucket.model import Checksums, ObjectRow, editable, resource
from weightdrop.local.bucket.problems import ApiError
from weightdrop.local.bucket.store import Store, check_name
from weightdrop.local.bucket.uploads import shown

# FICLONE of linux/fs.h: share the blocks where the file system can.
_FICLONE = 0x40049409
_SOURCES = 32
# One call copies this much, then hands out a token, so that no client's
# timeout ends a large copy.
_CALL_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Ends:
    """From where to where."""

    bucket: str
    name: str
    to_bucket: str
    to_name: str


@dataclass(slots=True)
class Rewrite:
    """A copy under way: its source, pinned, and how far it is."""

    ends: Ends
    source: ObjectRow
    path: Path
    done: int = 0


class Copies:
    """Server-side copies.

    Args:
        store: The objects.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: dict[str, Rewrite] = {}

    async def rewrite(self, call: Call, ends: Ends) -> Answer:
        """POST …/rewriteTo/…: possibly in several calls."""
        shape = await call.json()
        token = call.query.get("rewriteToken", "")
        most = integer(call.query, "maxBytesRewrittenPerCall") or _CALL_BYTES
        if token:
            work = self._under_way.pop(token, None)
            if work is None or work.ends != ends:
                raise ApiError(400, "Invalid rewrite token; begin again.")
        else:
            work = await call.run(self._begin, call.query, ends)
        await call.run(self._advance, work, max(most, BLOCK))
        progress: dict[str, Any] = {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": str(work.done),
            "objectSize": str(work.source.size),
            "done": work.done == work.source.size,
        }
        if not progress["done"]:
            token = secrets.token_hex(16)
            self._under_way[token] = work
            return Answer.json(progress | {"rewriteToken": token})
        row = await call.run(self._finish, work, call.query, shape)
        shown_row = resource(row, base_url=call.base_url)
        return Answer.json(progress | {"resource": shown_row})

    async def copy(self, call: Call, ends: Ends) -> Answer:
        """POST …/copyTo/…: in one call."""
        return shown(call, await self._whole(call, ends))

    async def move(self, call: Call, ends: Ends) -> Answer:
        """POST …/moveTo/…: copy, then delete the source's generation."""
        row = await self._whole(call, ends)
        source = await call.run(self._store.find, ends.bucket, ends.name)
        if source is not None and (ends.bucket, ends.name) != (row.bucket, row.name):
            await call.run(
                self._store.delete,
                ends.bucket,
                ends.name,
                generation=source.generation,
                conditions=Conditions(),
            )
        return shown(call, row)

    async def _whole(self, call: Call, ends: Ends) -> ObjectRow:
        shape = await call.json()
        work = await call.run(self._begin, call.query, ends)
        await call.run(self._advance, work, work.source.size)
        return await call.run(self._finish, work, call.query, shape)

    async def compose(self, call: Call, bucket: str, name: str) -> Answer:
        """POST …/compose: the sources' bytes one after the other.

        The destination's checksums in the request are not looked at, as in
        Cloud Storage: gcloud sends those of a part.
        """
        shape = await call.json()
        row = await call.run(self._join, bucket, name, shape=shape, query=call.query)
        return shown(call, row)

    # ----------------------------------------------------------- blocking

    def _begin(self, query: Mapping[str, str], ends: Ends) -> Rewrite:
        check_name(ends.to_name)
        self._store.require_bucket(ends.to_bucket)
        source = self._store.get(
            ends.bucket, ends.name, integer(query, "sourceGeneration")
        )
        Conditions.parse(query, prefix="ifSource").check(source)
        Conditions.parse(query).check(self._store.find(ends.to_bucket, ends.to_name))
        return Rewrite(ends, source, self._store.tree.stage())

    def _advance(self, work: Rewrite, most: int) -> None:
        source = work.source
        _, descriptor = self._store.open(
            source.bucket,
            source.name,
            generation=source.generation,
            conditions=Conditions(),
        )
        try:
            target = os.open(work.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                work.done = _copy_some(descriptor, target, work.done, most=most)
            finally:
                os.close(target)
        finally:
            os.close(descriptor)

    def _finish(
        self, work: Rewrite, query: Mapping[str, str], shape: Mapping[str, Any]
    ) -> ObjectRow:
        source = work.source
        # Still the pinned generation: nobody wrote into it while we copied.
        _, descriptor = self._store.open(
            source.bucket,
            source.name,
            generation=source.generation,
            conditions=Conditions(),
        )
        os.close(descriptor)
        fields = editable(shape) if shape else source.settings()
        if "contentType" in source.settings():
            fields.setdefault("contentType", source.settings()["contentType"])
        return self._store.put(
            work.path,
            Checksums(source.size, source.crc32c, source.md5),
            bucket=work.ends.to_bucket,
            name=work.ends.to_name,
            fields=fields,
            conditions=Conditions.parse(query),
            components=source.components,
        )

    def _join(
        self, bucket: str, name: str, *, shape: dict[str, Any], query: Mapping[str, str]
    ) -> ObjectRow:
        sources = shape.get("sourceObjects")
        if not isinstance(sources, list) or not 0 < len(sources) <= _SOURCES:
            raise ApiError(400, f"A compose takes 1 to {_SOURCES} source objects.")
        path = self._store.tree.stage()
        digest = Digest()
        try:
            # Closed before it is renamed: a close in the visible tree counts
            # as somebody's writing.
            with writing(path) as target:
                parts = [
                    self._append(target, digest, bucket=bucket, source=source)
                    for source in sources
                ]
            wanted = shape.get("destination") or {}
            fields = editable(wanted)
            fields.setdefault("contentType", "application/octet-stream")
            found = digest.checksums()
            row = self._store.put(
                path,
                Checksums(found.size, found.crc32c, ""),
                bucket=bucket,
                name=name,
                fields=fields,
                conditions=Conditions.parse(query),
                components=sum(part.components or 1 for part in parts),
            )
        finally:
            path.unlink(missing_ok=True)
        if shape.get("deleteSourceObjects"):
            self._drop(part for part in parts if part.name != name)
        return row

    def _append(
        self, target: int, digest: Digest, *, bucket: str, source: Any
    ) -> ObjectRow:
        if not isinstance(source, dict) or not isinstance(source.get("name"), str):
            raise ApiError(400, "Each source object needs a name.")
        asked = source.get("objectPreconditions") or {}
        generation = integer({"g": str(source.get("generation") or "")}, "g")
        wanted = integer({"g": str(asked.get("ifGenerationMatch", ""))}, "g")
        row, descriptor = self._store.open(
            bucket,
            source["name"],
            generation=generation,
            conditions=Conditions(generation=wanted),
        )
        try:
            append_file(target, descriptor, digest)
        finally:
            os.close(descriptor)
        return row

    def _drop(self, parts: Iterable[ObjectRow]) -> None:
        for part in parts:
            self._store.delete(
                part.bucket,
                part.name,
                generation=part.generation,
                conditions=Conditions(),
            )


def _copy_some(source: int, target: int, start: int, *, most: int) -> int:
    """Copy up to `most` bytes from offset `start`; how far the copy is now."""
    size = os.fstat(source).st_size
    if start == 0:
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError:
            pass
        else:
            return size
    offset, end = start, min(size, start + most)
    while offset < end:
        moved = os.copy_file_range(source, target, end - offset, offset, offset)
        if not moved:
            break
        offset += moved
    return offset
