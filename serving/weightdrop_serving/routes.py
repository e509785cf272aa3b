"""Vertex AI's routes in front of vLLM's application, in the same process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from weightdrop_serving import batches, forms, shapes
from weightdrop_serving.dispatch import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    replay,
    request_scope,
)
from weightdrop_serving.health import Health, State

LARGEST_BODY: Final = 10_000_000  # bytes; what Vertex AI lets through, at most
_RETRY_SECONDS: Final = b"2"
_LATER: Final = (429, 503)  # statuses that say: try again
_UNBOUNDED_METHODS: Final = ("GET", "HEAD", "OPTIONS")


class _TooLargeError(Exception):
    """A body without a length grew over the limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be under way.

    Attributes:
        in_flight: Requests, an instance of a batch counting as one; more get 503.
        batch: Instances of one batch that run at a time.
        body: Bytes of one request; more get 413.
    """

    in_flight: int = 1024
    batch: int = 128
    body: int = LARGEST_BODY


class VertexApp:
    """An ASGI application: two routes of its own, the rest is vLLM's.

    Args:
        app: vLLM's application.
        health: Told of everything that passes.
        health_route: Path of the health check.
        predict_route: Path of predictions.
        names: Names the server answers to.
        limits: How much may be under way.
        probe: Called when health is asked after a long silence.
    """

    def __init__(
        self,
        app: App,
        *,
        health: Health,
        health_route: str,
        predict_route: str,
        names: forms.Names,
        limits: Limits,
        probe: Callable[[], None] = lambda: None,
    ) -> None:
        self._app = app
        self._health = health
        self._health_route = health_route
        self._predict_route = predict_route
        self._names = names
        self._limits = limits
        self._probe = probe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if path == self._health_route:
            await self._answer_health(send)
        elif path == self._predict_route and method != "POST":
            await respond(send, 405, shapes.error(405, "this path takes POST only"))
        elif method in _UNBOUNDED_METHODS:
            await self._app(scope, receive, send)
        elif self._health.draining:
            await respond(send, 503, shapes.error(503, "the server is shutting down"))
        elif not self._fits(scope):
            await self._too_large(send)
        elif path == self._predict_route:
            await self._predict(scope, receive, send)
        else:
            await self._pass(scope, receive, send)

    async def _answer_health(self, send: Send) -> None:
        verdict = self._health.verdict()
        if verdict.state is State.OK:
            if self._health.idle:
                self._probe()
            await respond(send, 200, b'{"status":"ok"}')
        else:
            await respond(send, 503, shapes.error(503, verdict.reason))

    def _fits(self, scope: Scope) -> bool:
        """Whether the length that the client declares is allowed."""
        for name, value in scope["headers"]:
            if name == b"content-length":
                return value.isdigit() and int(value) <= self._limits.body
        return True

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = over = False
        size = 0

        async def bounded() -> Message:
            nonlocal size, over
            message = await receive()
            size += len(message.get("body", b""))
            over = size > self._limits.body and not started
            if over:
                raise _TooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            if over:
                return  # what FastAPI makes of the error: a 400
            started = True
            await self._write(send, message)

        if not self._admits(1):
            await self._turn_away(send)
            return
        self._health.enter()
        try:
            with contextlib.suppress(_TooLargeError):
                await self._app(scope, bounded, watched)
            if over:
                await self._too_large(send)
        finally:
            self._health.leave()

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._body(receive)
        except _TooLargeError:
            await self._too_large(send)
            return
        if body is None:
            return
        try:
            request = forms.read(body, self._names)
        except forms.FormError as error:
            await respond(send, 400, shapes.error(400, str(error)))
            return
        if isinstance(request, forms.Raw):
            await self._raw(request, scope, receive, send)
        else:
            await self._batch(request, scope, receive, send)

    async def _raw(
        self, request: forms.Raw, scope: Scope, receive: Receive, send: Send
    ) -> None:
        call = request.call
        body = msgspec.json.encode(call.body)
        inner = request_scope(scope, call.path, len(body), None)

        async def watched(message: Message) -> None:
            await self._write(send, message)

        if not self._admits(1):
            await self._turn_away(send)
            return
        self._health.enter()
        try:
            await self._app(inner, replay(body, receive), watched)
        finally:
            self._health.leave()

    async def _batch(
        self, batch: forms.Batch, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if not batch.calls:
            await respond(send, 200, b'{"predictions":[]}')
            return
        parallel = min(len(batch.calls), self._limits.batch)
        if not self._admits(parallel):
            await self._turn_away(send)
            return
        self._health.enter(parallel)
        try:
            if len(batch.calls) == 1 and not batch.stream:
                answer = partial(self._answer, send, parallel)
                await batches.lone(self._app, scope, batch, receive, answer)
            else:
                await self._together(batch, parallel, scope, receive, send)
        finally:
            self._health.leave(parallel)

    async def _together(
        self,
        batch: forms.Batch,
        parallel: int,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        async def watched(message: Message) -> None:
            await self._write(send, message, parallel)

        async with disconnect(receive) as gone:
            run = batches.Run(self._app, scope, batch, parallel=parallel, gone=gone)
            if batch.stream:
                await run.stream(watched)
            else:
                await self._answer(send, parallel, await run.whole())

    async def _answer(
        self, send: Send, parallel: int, outcome: batches.Outcome
    ) -> None:
        self._health.writing(parallel)
        try:
            await respond(send, outcome.status, outcome.body)
        finally:
            self._health.writing(-parallel)

    def _admits(self, count: int) -> bool:
        return self._health.in_flight + count <= self._limits.in_flight

    async def _turn_away(self, send: Send) -> None:
        message = f"{self._health.in_flight} requests are under way; try again soon"
        await respond(send, 503, shapes.error(503, message))

    async def _write(self, send: Send, message: Message, parallel: int = 1) -> None:
        """Send a piece of an answer, for which all of its request's work waits."""
        if message["type"] == "http.response.start" and message["status"] in _LATER:
            headers = [*message.get("headers", ()), (b"retry-after", _RETRY_SECONDS)]
            message = {**message, "headers": headers}
        self._health.writing(parallel)
        try:
            await send(message)
        finally:
            self._health.writing(-parallel)

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None if the client left before its end."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > self._limits.body:
                raise _TooLargeError
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _too_large(self, send: Send) -> None:
        message = f"the body is larger than {self._limits.body} bytes"
        headers = [(b"connection", b"close")]
        await respond(send, 413, shapes.error(413, message), headers)


@contextlib.asynccontextmanager
async def disconnect(receive: Receive) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the client goes away."""
    gone = asyncio.Event()

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watcher = asyncio.create_task(watch())
    try:
        yield gone
    finally:
        watcher.cancel()


async def respond(
    send: Callable[[Message], Awaitable[None]],
    status: int,
    body: bytes,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    """Send a whole JSON response."""
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *(headers or []),
    ]
    if status in _LATER:
        fields.append((b"retry-after", _RETRY_SECONDS))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
