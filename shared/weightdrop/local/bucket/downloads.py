"""Reading objects: whole or a range, at one generation."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator
from email.utils import formatdate

from weightdrop.local.bucket.conditions import Conditions, integer
from weightdrop.local.bucket.http import Answer, Call
from weightdrop.local.bucket.model import Identity, ObjectRow
from weightdrop.local.bucket.problems import ApiError
from weightdrop.local.bucket.store import Store
from weightdrop.local.bucket.uploads import goog_hash

# One block in the server's memory and one on its way, for each reader.
_BLOCK = 512 << 10
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_FIELD_HEADERS = {
    "cacheControl": "cache-control",
    "contentDisposition": "content-disposition",
    "contentEncoding": "content-encoding",
    "contentLanguage": "content-language",
    "contentType": "content-type",
}


def parse_span(text: str, size: int) -> tuple[int, int] | None:
    """The [start, end) that a Range header asks for; None for everything.

    Raises 416 where nothing of it exists. A header that is not understood is
    ignored, as RFC 9110 says.
    """
    found = _RANGE.match(text.replace(" ", ""))
    if not found or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    else:
        start, end = max(0, size - int(last)), size
    if start >= end:
        raise ApiError(
            416,
            "The requested range cannot be satisfied.",
            headers={"content-range": f"bytes */{size}"},
        )
    return start, end


def object_headers(row: ObjectRow) -> dict[str, str]:
    """What an object's bytes travel with."""
    headers = {
        "content-type": "application/octet-stream",
        "accept-ranges": "bytes",
        "etag": f'"{row.etag}"',
        "last-modified": formatdate(row.updated / 1e6, usegmt=True),
        "x-goog-generation": str(row.generation),
        "x-goog-metageneration": str(row.metageneration),
        "x-goog-hash": goog_hash(row),
        "x-goog-stored-content-length": str(row.size),
        "x-goog-stored-content-encoding": "identity",
        "x-goog-storage-class": "STANDARD",
    }
    fields = row.settings()
    for field, header in _FIELD_HEADERS.items():
        if isinstance(fields.get(field), str):
            headers[header] = "".join(fields[field].splitlines())
    if fields.get("contentEncoding"):
        headers["x-goog-stored-content-encoding"] = headers["content-encoding"]
    return headers


async def download(call: Call, store: Store, bucket: str, *, name: str) -> Answer:
    """`alt=media`, and the XML API's GET."""
    conditions = Conditions.parse(call.query)
    generation = integer(call.query, "generation")
    row, descriptor = await call.run(
        store.open, bucket, name, generation=generation, conditions=conditions
    )
    try:
        span = parse_span(call.headers.get("range", ""), row.size)
    except ApiError:
        os.close(descriptor)
        raise
    headers = object_headers(row)
    start, end = span or (0, row.size)
    headers["content-length"] = str(end - start)
    if span:
        headers["content-range"] = f"bytes {start}-{end - 1}/{row.size}"
    if call.method == "HEAD" or end - start <= _BLOCK:
        body = (
            b"" if call.method == "HEAD" else os.pread(descriptor, end - start, start)
        )
        unchanged = Identity.of(os.fstat(descriptor)) == row.identity
        os.close(descriptor)
        if not unchanged:
            raise ApiError(503, f"The file of {bucket}/{name} is being replaced.")
        return Answer(206 if span else 200, headers, body)
    stream = _blocks(call, row, descriptor, span=(start, end))
    return Answer(206 if span else 200, headers, stream)


async def _blocks(
    call: Call, row: ObjectRow, descriptor: int, *, span: tuple[int, int]
) -> AsyncGenerator[bytes]:
    offset, end = span
    try:
        while offset < end:
            want = min(_BLOCK, end - offset)
            block = await call.run(os.pread, descriptor, want, offset)
            if Identity.of(os.fstat(descriptor)) != row.identity:
                # The client sees a short body and asks again.
                raise ConnectionResetError("the file was overwritten in place")
            offset += len(block)
            yield block
    finally:
        os.close(descriptor)
