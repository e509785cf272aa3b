"""The part of the XML API that clients use: parallel uploads, plain reads."""

from __future__ import annotations

import base64
import os
import re
import secrets
import time
from pathlib import Path
from xml.sax.saxutils import escape

from weightdrop.local.bucket.conditions import Conditions, integer
from weightdrop.local.bucket.digest import Digest, append_file, verify, writing
from weightdrop.local.bucket.downloads import download
from weightdrop.local.bucket.http import Answer, Call
from weightdrop.local.bucket.model import Checksums, ObjectRow
from weightdrop.local.bucket.problems import ApiError
from weightdrop.local.bucket.sink import Sink
from weightdrop.local.bucket.store import Store, check_name
from weightdrop.local.bucket.uploads import (
    Target,
    decode_target,
    encode_target,
    goog_hash,
    hashes,
    receive,
)

_PART = re.compile(
    r"<Part>\s*(?:<PartNumber>(\d+)</PartNumber>|<ETag>[^<]*</ETag>|\s)*</Part>"
)
_MOST_PARTS = 10000
_TYPE = {"content-type": "application/xml; charset=UTF-8"}
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Xml:
    """/BUCKET/OBJECT: multipart uploads; GET, HEAD, PUT and DELETE.

    Args:
        store: The objects.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def handle(  # noqa: PLR0911  (a table of routes)
        self, call: Call
    ) -> Answer:
        """Answer one call."""
        bucket, name = call.segments[0], "/".join(call.segments[1:])
        if not name:
            raise ApiError(501, "The XML API's bucket calls are not offered here.")
        check_name(name)
        upload = call.query.get("uploadId", "")
        match (call.method, "uploads" in call.query, bool(upload)):
            case ("POST", True, _):
                return await self._begin(call, bucket, name)
            case ("PUT", _, True):
                return await self._part(call, upload)
            case ("POST", _, True):
                return await self._complete(call, upload)
            case ("DELETE", _, True):
                await call.run(self._forget, upload)
                return Answer(204)
            case ("GET" | "HEAD", _, _):
                return await download(call, self._store, bucket, name=name)
            case ("PUT", _, _):
                return await self._put(call, bucket, name)
            case ("DELETE", _, _):
                await call.run(
                    self._store.delete,
                    bucket,
                    name,
                    generation=integer(call.query, "generation"),
                    conditions=Conditions.headers(call.headers),
                )
                return Answer(204)
        raise ApiError(405, f"The XML API has no {call.method} of an object here.")

    async def _put(self, call: Call, bucket: str, name: str) -> Answer:
        target = _target(call, bucket, name)
        row = await receive(call, self._store, target, media=call.chunks)
        return Answer(200, _headers(row))

    async def _begin(self, call: Call, bucket: str, name: str) -> Answer:
        await call.run(self._store.require_bucket, bucket)
        upload = secrets.token_hex(16)
        await call.run(self._save, upload, _target(call, bucket, name))
        text = (
            "<?xml version='1.0' encoding='UTF-8'?>"
            f"<InitiateMultipartUploadResult xmlns='{_NAMESPACE}'>"
            f"<Bucket>{escape(bucket)}</Bucket><Key>{escape(name)}</Key>"
            f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        )
        return Answer(200, dict(_TYPE), text.encode())

    async def _part(self, call: Call, upload: str) -> Answer:
        number = integer(call.query, "partNumber") or 0
        if not 1 <= number <= _MOST_PARTS:
            raise ApiError(400, f"A part's number is from 1 to {_MOST_PARTS}.")
        await call.run(self._load, upload)
        # Under a name of its own until whole: a part may be sent twice at once.
        sink = Sink(
            self._store.tree.staging / f"{upload}.{secrets.token_hex(8)}",
            executor=call.executor,
        )
        try:
            async for chunk in call.chunks:
                await sink.write(chunk)
            await sink.join()
            checksums = await call.run(sink.finish)
            said = hashes(call.headers)
            verify(checksums, crc32c=said.get("crc32c", ""), md5=said["md5"])
            sink.path.replace(self._part_path(upload, number))
        except BaseException:
            await sink.abandon()
            raise
        etag = base64.b64decode(checksums.md5).hex()
        goog = f"crc32c={checksums.crc32c},md5={checksums.md5}"
        return Answer(200, {"etag": f'"{etag}"', "x-goog-hash": goog})

    async def _complete(self, call: Call, upload: str) -> Answer:
        text = (await call.body()).decode("utf-8", "replace")
        numbers = [int(found) for found in _PART.findall(text)]
        if not numbers or numbers != sorted(set(numbers)):
            raise ApiError(400, "The parts must be listed once each, in order.")
        row = await call.run(self._join, upload, numbers)
        body = (
            "<?xml version='1.0' encoding='UTF-8'?>"
            f"<CompleteMultipartUploadResult xmlns='{_NAMESPACE}'>"
            f"<Bucket>{escape(row.bucket)}</Bucket><Key>{escape(row.name)}</Key>"
            f'<ETag>"{row.etag}"</ETag></CompleteMultipartUploadResult>'
        )
        return Answer(200, _TYPE | _headers(row), body.encode())

    # ----------------------------------------------------------- blocking

    def _join(self, upload: str, numbers: list[int]) -> ObjectRow:
        target = self._load(upload)
        path = self._store.tree.stage()
        digest = Digest()
        try:
            # Closed before it is renamed: a close in the visible tree counts
            # as somebody's writing.
            with writing(path) as descriptor:
                for number in numbers:
                    _append_part(self._part_path(upload, number), descriptor, digest)
            found = digest.checksums()
            row = self._store.put(
                path,
                Checksums(found.size, found.crc32c, ""),
                bucket=target.bucket,
                name=target.name,
                fields=target.fields,
                conditions=target.conditions,
            )
        finally:
            path.unlink(missing_ok=True)
        self._forget(upload)
        return row

    def _part_path(self, upload: str, number: int) -> Path:
        return self._store.tree.staging / f"{upload}.part{number}"

    def _save(self, upload: str, target: Target) -> None:
        with self._store.database.transaction() as transaction:
            transaction.execute(
                "INSERT INTO uploads (id, kind, bucket, name, resource, conditions,"
                " created) VALUES (?, 'parts', ?, ?, ?, ?, ?)",
                (
                    upload,
                    target.bucket,
                    target.name,
                    *encode_target(target),
                    time.time(),
                ),
            )

    def _load(self, upload: str) -> Target:
        rows = self._store.database.query(
            "SELECT bucket, name, resource, conditions FROM uploads"
            " WHERE id = ? AND kind = 'parts'",
            (upload,),
        )
        if not rows:
            raise ApiError(404, "No such upload.")
        return decode_target(*rows[0])

    def _forget(self, upload: str) -> None:
        self._load(upload)
        with self._store.database.transaction() as transaction:
            transaction.execute("DELETE FROM uploads WHERE id = ?", (upload,))
        for file in self._store.tree.staging.glob(f"{upload}.*"):
            file.unlink(missing_ok=True)


def _append_part(path: Path, descriptor: int, digest: Digest) -> None:
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ApiError(400, f"Part {path.suffix[5:]} was not uploaded.") from None
    try:
        append_file(descriptor, source, digest)
    finally:
        os.close(source)


def _target(call: Call, bucket: str, name: str) -> Target:
    metadata = {
        key.removeprefix("x-goog-meta-"): value
        for key, value in call.headers.items()
        if key.startswith("x-goog-meta-")
    }
    said = hashes(call.headers)
    kind = call.headers.get("content-type", "application/octet-stream")
    fields = {"contentType": kind} | ({"metadata": metadata} if metadata else {})
    return Target(
        bucket=bucket,
        name=name,
        fields=fields,
        conditions=Conditions.headers(call.headers),
        crc32c=said.get("crc32c", ""),
        md5=said["md5"],
    )


def _headers(row: ObjectRow) -> dict[str, str]:
    return {
        "etag": f'"{row.etag}"',
        "x-goog-hash": goog_hash(row),
        "x-goog-generation": str(row.generation),
        "x-goog-metageneration": str(row.metageneration),
    }
