"""Batches: many small calls in one multipart/mixed request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http import HTTPStatus
from urllib.parse import urlsplit

from weightdrop.local.bucket.http import (
    Answer,
    Call,
    Edge,
    parse_query,
    split_path,
)
from weightdrop.local.bucket.problems import ApiError

_MOST = 1000
_FENCE = "batch_weightdrop"


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Batch:
    """POST /batch/storage/v1.

    Args:
        handle: Answers one inner call.
    """

    def __init__(self, handle: Callable[[Call], Awaitable[Answer]]) -> None:
        self._handle = handle

    async def handle(self, call: Call) -> Answer:
        """Answer the inner calls one after the other, in their order."""
        kind = call.headers.get("content-type", "").replace("'", '"')
        body = await call.body()
        parser = BytesParser(policy=HTTP)
        mixed = parser.parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        parts = mixed.get_payload()
        if not mixed.is_multipart() or not isinstance(parts, list):
            raise ApiError(400, "A batch is multipart/mixed.")
        if len(parts) > _MOST:
            raise ApiError(413, f"A batch holds at most {_MOST} calls.")
        edge = Edge(self._handle, executor=call.executor)
        answers = []
        for part in parts:
            answer = await edge.answer(_inner(call, part))
            answers.append(_write(part, answer))
        text = b"".join(answers) + f"--{_FENCE}--\r\n".encode()
        return Answer(
            200, {"content-type": f"multipart/mixed; boundary={_FENCE}"}, text
        )


def _inner(outer: Call, part: object) -> Call:
    if not isinstance(part, Message):
        raise ApiError(400, "A part of the batch is no request.")
    payload = part.get_payload(decode=True)
    text = payload if isinstance(payload, bytes) else b""
    first, _, rest = text.lstrip().partition(b"\n")
    try:
        method, target, *_ = first.decode("latin-1").split()
    except ValueError:
        raise ApiError(400, "A part of the batch has no request line.") from None
    message = BytesParser(policy=HTTP).parsebytes(rest)
    body = message.get_payload(decode=True)
    url = urlsplit(target)
    return Call(
        method=method,
        segments=split_path(url.path.encode("latin-1")),
        query=parse_query(url.query.encode("latin-1")),
        headers={key.lower(): str(value) for key, value in message.items()},
        base_url=outer.base_url,
        executor=outer.executor,
        chunks=_once(body if isinstance(body, bytes) else b""),
    )


def _write(part: object, answer: Answer) -> bytes:
    name = part.get("content-id", "") if isinstance(part, Message) else ""
    body = answer.body if isinstance(answer.body, bytes) else b""
    headers = answer.headers | {"content-length": str(len(body))}
    lines = [
        f"--{_FENCE}",
        "Content-Type: application/http",
        f"Content-ID: <response-{str(name).strip('<>')}>",
        "",
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        *(f"{key}: {value}" for key, value in headers.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1", "replace") + body + b"\r\n"
