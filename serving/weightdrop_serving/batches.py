"""Instances of one request, asked at the same time and answered in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from weightdrop_serving import shapes
from weightdrop_serving.dispatch import (
    App,
    Message,
    Receive,
    Response,
    Scope,
    Send,
    answered,
    collect,
    replay,
    request_scope,
    until,
)
from weightdrop_serving.forms import Batch, Call, ResponseShape

_EVENT_END: Final = b"\n\n"
_DONE: Final = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A whole response."""

    status: int
    body: bytes


# What vLLM's routes give when their client went away, as nobody reads it.
_TO_NOBODY: Final = b"null"
_LEFT: Final = Outcome(499, shapes.error(499, "the client went away"))

Answer = Callable[[Outcome], Awaitable[None]]


async def lone(
    app: App, scope: Scope, batch: Batch, receive: Receive, answer: Answer
) -> None:
    """Answer with the prediction of the only instance of `batch`.

    What most requests are, and therefore without what only several need: no task,
    no queue, and the client's own `receive` to notice that it left. The answer goes
    out as soon as it is whole, while `app` still tidies up.
    """
    (call,) = batch.calls
    body = msgspec.json.encode(call.body)
    inner = request_scope(scope, call.path, len(body), None)
    response = Response()
    whole = False

    async def send(message: Message) -> None:
        nonlocal whole
        if response.add(message):
            whole = True
            await answer(_outcome(batch, response))

    if not await answered(app, inner, replay(body, receive), send) and not whole:
        response.status = 500
        await answer(_outcome(batch, response))


def _outcome(batch: Batch, response: Response) -> Outcome:
    if response.body == _TO_NOBODY:
        return _LEFT
    if response.ok:
        return Outcome(200, shapes.predictions(batch, [response.body]))
    return Outcome(response.status, _error(0, response))


def _error(number: int, response: Response) -> bytes:
    message = shapes.error_message(response.body)
    return shapes.error(response.status, f"instances[{number}]: {message}")


class Run:
    """One batch on its way through vLLM's application.

    Args:
        app: vLLM's application.
        scope: The client's request.
        batch: What is asked.
        parallel: Instances under way at a time.
        gone: Set when the client goes away; set here to stop the rest.
    """

    def __init__(
        self,
        app: App,
        scope: Scope,
        batch: Batch,
        *,
        parallel: int,
        gone: asyncio.Event,
    ) -> None:
        self._app = app
        self._scope = scope
        self._batch = batch
        self._turns = asyncio.Semaphore(parallel)
        self._gone = gone
        self._failure: tuple[int, Response] | None = None

    async def whole(self) -> Outcome:
        """All predictions, or the first error.

        Vertex AI's contract: if one instance fails, no prediction is returned. The
        rest is stopped then, for nobody would see it.
        """
        calls = enumerate(self._batch.calls)
        answers = await asyncio.gather(*(self._ask(n, call) for n, call in calls))
        if self._failure is not None:
            number, response = self._failure
            return Outcome(response.status, _error(number, response))
        if self._gone.is_set():
            return _LEFT
        bodies = [answer.body for answer in answers]
        return Outcome(200, shapes.predictions(self._batch, bodies))

    async def _ask(self, number: int, call: Call) -> Response:
        async with self._turns:
            if self._gone.is_set():
                return Response()
            scope, body = self._request(number, call)
            response = await collect(self._app, scope, replay(body, until(self._gone)))
        if not response.ok and self._failure is None and not self._gone.is_set():
            self._failure = number, response
            self._gone.set()
        return response

    def _request(self, number: int, call: Call) -> tuple[Scope, bytes]:
        body = msgspec.json.encode(call.body)
        position = number if len(self._batch.calls) > 1 else None
        return request_scope(self._scope, call.path, len(body), position), body

    async def stream(self, send: Send) -> None:
        """Send the answers as they come, as server-sent events.

        One instance: vLLM's own events. Several: the same events, each with the
        `instance` it belongs to, and one end. An instance that fails before any
        event was sent is the response's error; after that, it is an event.
        """
        queue: asyncio.Queue[_Piece] = asyncio.Queue(maxsize=64)
        calls = enumerate(self._batch.calls)
        tasks = [asyncio.create_task(self._follow(n, c, queue)) for n, c in calls]
        try:
            await self._send_pieces(queue, send, open_count=len(tasks))
        finally:
            self._gone.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_pieces(
        self, queue: asyncio.Queue[_Piece], send: Send, *, open_count: int
    ) -> None:
        google = self._batch.shape is ResponseShape.GOOGLE
        started = False
        while open_count:
            piece = await queue.get()
            if piece.failed is not None and not started:
                error = _error(piece.number, piece.failed)
                await send(_start(piece.failed.status, b"application/json"))
                await send({"type": "http.response.body", "body": error})
                return
            if not started:
                started = True
                kind = b"application/json" if google else b"text/event-stream"
                await send(_start(200, kind))
            if piece.last:
                open_count -= 1
            body = self._rendered(piece, google=google)
            if body:
                await send(
                    {"type": "http.response.body", "body": body, "more_body": True}
                )
        end = b"" if google else b"data: [DONE]\n\n"
        await send({"type": "http.response.body", "body": end})

    def _rendered(self, piece: _Piece, *, google: bool) -> bytes:
        if piece.failed is not None:
            data = _error(piece.number, piece.failed)
        elif piece.data == b"":
            return b""
        else:
            data = piece.data
        if google:
            return msgspec.json.encode({"predictions": [_delta(data)]}) + b"\0"
        if len(self._batch.calls) > 1:
            document: Any = msgspec.json.decode(data)
            data = msgspec.json.encode({**document, "instance": piece.number})
        return b"data: " + data + _EVENT_END

    async def _follow(
        self, number: int, call: Call, queue: asyncio.Queue[_Piece]
    ) -> None:
        async with self._turns:
            streaming = Call(call.path, {**call.body, "stream": True})
            scope, body = self._request(number, streaming)
            response = Response()
            rest = b""

            async def send(message: Message) -> None:
                nonlocal rest
                if message["type"] == "http.response.start":
                    response.status = message["status"]
                elif not response.ok:
                    response.body += message.get("body", b"")
                else:
                    rest += message.get("body", b"")
                    *events, rest = rest.split(_EVENT_END)
                    for data in filter(None, map(_data, events)):
                        await queue.put(_Piece(number, data))

            receive = replay(body, until(self._gone))
            if not await answered(self._app, scope, receive, send):
                response.status = 500
            failed = None if response.ok else response
            await queue.put(_Piece(number, b"", failed=failed, last=True))


@dataclass(frozen=True, slots=True)
class _Piece:
    number: int
    data: bytes
    failed: Response | None = None
    last: bool = False


def _data(event: bytes) -> bytes:
    """The data of an event; nothing for a comment or the end."""
    if not event.startswith(b"data:"):
        return b""
    data = event[5:].strip()
    return b"" if data == _DONE else data


class _Delta(msgspec.Struct):
    content: str | None = None


class _ChunkChoice(msgspec.Struct):
    text: str | None = None
    delta: _Delta | None = None


class _Chunk(msgspec.Struct):
    choices: list[_ChunkChoice] = []


def _delta(data: bytes) -> str:
    choices = msgspec.json.decode(data, type=_Chunk).choices
    return "".join(
        (choice.delta.content if choice.delta else choice.text) or ""
        for choice in choices
    )


def _start(status: int, kind: bytes) -> Message:
    headers = [(b"content-type", kind + b"; charset=utf-8")]
    if kind == b"text/event-stream":
        headers.append((b"cache-control", b"no-cache"))
    return {"type": "http.response.start", "status": status, "headers": headers}
