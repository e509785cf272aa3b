"""One HTTP exchange, as the handlers see it, and the ASGI edge around it."""

from __future__ import annotations

import asyncio
import functools
import logging
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from weightdrop.local.bucket.problems import ApiError, translate

P = ParamSpec("P")
T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_JSON = "application/json; charset=UTF-8"
# Metadata is small; a client that sends more is not one.
_BODY_LIMIT = 16 << 20
# After a refusal the rest of a body is read, so that the client sees the answer.
_DRAIN_LIMIT = 64 << 20
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(slots=True)
class Call:
    """A request.

    Attributes:
        method: GET, POST, …
        segments: The path's parts, each percent-decoded.
        query: Query parameters; the last of a repeated one.
        headers: Lower-case names.
        base_url: Scheme and host as the client sees us.
        executor: Runs blocking work.
        chunks: The body as it arrives.
    """

    method: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    base_url: str
    executor: Executor
    chunks: AsyncIterator[bytes]

    async def body(self) -> bytes:
        """The whole body; 413 beyond 16 MiB."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks:
            size += len(chunk)
            if size > _BODY_LIMIT:
                raise ApiError(413, "The request's body is too large.")
            parts.append(chunk)
        return b"".join(parts)

    async def json(self) -> dict[str, Any]:
        """The body as a JSON object; {} if it is empty."""
        return parse_object(await self.body())

    async def run(
        self, function: Callable[P, T], *args: P.args, **named: P.kwargs
    ) -> T:
        """Do blocking work beside the event loop."""
        call = functools.partial(function, *args, **named)
        return await asyncio.get_running_loop().run_in_executor(self.executor, call)


@dataclass(slots=True)
class Answer:
    """A response; `body` may be streamed."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | AsyncGenerator[bytes] = b""

    @classmethod
    def json(cls, value: Any, *, status: int = 200) -> Answer:
        """A JSON document."""
        return cls(status, {"content-type": _JSON}, msgspec.json.encode(value))


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object from a client; 400 if it is none."""
    if not data.strip():
        return {}
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ApiError(400, f"Parse error: {error}") from None


def split_path(raw: bytes) -> tuple[str, ...]:
    """The parts of a path; only an encoded slash is part of a name."""
    text = raw.decode("latin-1").partition("?")[0]
    return tuple(unquote(part) for part in text.removeprefix("/").split("/"))


def parse_query(raw: bytes) -> dict[str, str]:
    """Query parameters, empty ones kept (the XML API's `?uploads`)."""
    return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True))


async def _body_of(receive: Callable[[], Awaitable[Any]]) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client went away")
        more = message.get("more_body", False)
        if chunk := message.get("body", b""):
            yield chunk


class Edge:
    """The ASGI application.

    Args:
        handle: Answers a call; may raise ApiError.
        executor: Runs blocking work.
    """

    def __init__(
        self, handle: Callable[[Call], Awaitable[Answer]], *, executor: Executor
    ) -> None:
        self._handle = handle
        self._executor = executor

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1")
            for key, value in scope["headers"]
        }
        call = Call(
            method=scope["method"],
            segments=split_path(scope["raw_path"]),
            query=parse_query(scope["query_string"]),
            headers=headers,
            base_url=f"http://{headers.get('host', '127.0.0.1')}",
            executor=self._executor,
            chunks=_body_of(receive),
        )
        try:
            _refuse_strangers(headers)
            answer = await self.answer(call)
            await _drain(call)
            await _send(answer, send, receive=receive, head=call.method == "HEAD")
        except ApiError as refusal:
            await _send(refuse(refusal, xml=is_xml(call)), send, receive=receive)
        except ConnectionResetError:
            _LOG.debug("client went away: %s %s", call.method, scope["path"])

    async def answer(self, call: Call) -> Answer:
        """The answer to one call, refusals and faults included."""
        try:
            return await self._handle(call)
        except ConnectionResetError:
            raise
        except ApiError as refusal:
            error = refusal
        except (OSError, sqlite3.Error) as fault:
            _LOG.warning("%s /%s: %s", call.method, "/".join(call.segments), fault)
            error = translate(fault)
        except Exception:  # noqa: BLE001  (one call must not end the server)
            _LOG.exception("%s /%s failed", call.method, "/".join(call.segments))
            error = ApiError(500, "The bucket server failed; its log says how.")
        return refuse(error, xml=is_xml(call))


def is_xml(call: Call) -> bool:
    """Whether a path belongs to the XML API: /BUCKET/OBJECT."""
    first = call.segments[0]
    return first not in {"storage", "upload", "download", "resumable", "batch", "b"}


def refuse(error: ApiError, *, xml: bool) -> Answer:
    """A refusal as a response."""
    if error.status == 304:  # noqa: PLR2004
        return Answer(304)
    kind = "application/xml; charset=UTF-8" if xml else _JSON
    body = error.xml() if xml else error.json()
    return Answer(error.status, {"content-type": kind} | error.headers, body)


async def _drain(call: Call) -> None:
    size = 0
    async for chunk in call.chunks:
        size += len(chunk)
        if size > _DRAIN_LIMIT:
            return


def _refuse_strangers(headers: Mapping[str, str]) -> None:
    """403 for what a web page in the user's browser could send us."""
    for key in ("host", "origin"):
        if key in headers:
            name = urlsplit("//" + headers[key].rpartition("//")[2]).hostname
            if name not in _LOOPBACK:
                raise ApiError(403, f"This server is for this machine, not {name}.")


async def _send(
    answer: Answer,
    send: Callable[[Any], Awaitable[None]],
    *,
    receive: Callable[[], Awaitable[Any]],
    head: bool = False,
) -> None:
    headers = dict(answer.headers)
    body = answer.body
    if isinstance(body, bytes):
        headers.setdefault("content-length", str(len(body)))
    encoded = [
        (key.lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for key, value in headers.items()
    ]
    await send(
        {"type": "http.response.start", "status": answer.status, "headers": encoded}
    )
    if isinstance(body, bytes):
        await send({"type": "http.response.body", "body": b"" if head else body})
        return
    # The body was read to its end: what comes next is that the client left.
    gone = asyncio.ensure_future(receive())
    try:
        async with aclosing(body):
            async for chunk in body:
                if gone.done():
                    return
                message = {"body": chunk, "more_body": True}
                await send({"type": "http.response.body"} | message)
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()
