"""multipart/related as Google's clients write it, parsed while it arrives.

gcloud quotes the boundary with single quotes, which RFC 2046 does not know;
they are not part of it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from weightdrop.local.bucket.problems import ApiError

_BOUNDARY = re.compile(r"boundary=(?:\"([^\"]+)\"|'([^']+)'|([^;\s]+))", re.IGNORECASE)
# Room for the metadata and the headers of both parts.
_HEAD_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class Related:
    """The two parts of an upload.

    Attributes:
        resource: The first part: JSON text.
        content_type: Of the second part, empty if not said.
        media: The bytes of the second part.
    """

    resource: bytes
    content_type: str
    media: AsyncIterator[bytes]


def boundary(content_type: str) -> bytes:
    """The boundary that a content type names; 400 if it names none."""
    found = _BOUNDARY.search(content_type)
    if not found:
        raise ApiError(400, "A multipart request must name its boundary.")
    return next(group for group in found.groups() if group).encode("latin-1")


async def parse(content_type: str, chunks: AsyncIterator[bytes]) -> Related:
    """Read as far as the media begins."""
    fence = b"--" + boundary(content_type)
    head = bytearray()
    start = -1
    async for chunk in chunks:
        head += chunk
        start = _media_start(head, fence)
        if start >= 0 or len(head) > _HEAD_LIMIT:
            break
    if start < 0:
        raise ApiError(400, "The multipart body has no metadata and media parts.")
    first, second = bytes(head[:start]).split(fence)[1:3]
    resource = _split_part(first)[1]
    headers = _split_part(second)[0].decode("latin-1")
    kind = re.search(r"(?im)^content-type:[ \t]*(.*?)[ \t\r]*$", headers)
    rest = bytes(head[start:])
    return Related(
        resource=resource,
        content_type=kind[1] if kind else "",
        media=_media(rest, chunks, b"\n" + fence),
    )


def _media_start(head: bytearray, fence: bytes) -> int:
    first = head.find(fence)
    second = head.find(fence, first + 1) if first >= 0 else -1
    if second < 0:
        return -1
    blank = _blank_line(bytes(head[second:]))
    return second + blank if blank >= 0 else -1


def _blank_line(part: bytes) -> int:
    found = re.search(rb"\r?\n\r?\n", part)
    return found.end() if found else -1


def _split_part(part: bytes) -> tuple[bytes, bytes]:
    blank = _blank_line(part)
    if blank < 0:
        raise ApiError(400, "A part of the multipart body has no headers.")
    return part[:blank], part[blank:]


async def _media(
    rest: bytes, chunks: AsyncIterator[bytes], end: bytes
) -> AsyncIterator[bytes]:
    # The tail may hold the beginning of the closing fence and its CR.
    keep = len(end) + 1
    tail = rest
    while True:
        found = tail.find(end)
        if found >= 0:
            break
        if len(tail) > keep:
            yield tail[:-keep]
            tail = tail[-keep:]
        try:
            tail += await anext(chunks)
        except StopAsyncIteration:
            raise ApiError(400, "The multipart body has no closing boundary.") from None
    yield tail[:found].removesuffix(b"\r")
    async for _ in chunks:  # the epilogue
        pass
