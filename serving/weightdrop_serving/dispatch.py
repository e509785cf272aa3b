"""Calls of an ASGI application in the same process, without a connection."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from weightdrop_serving import logs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_REPLACED = frozenset({b"content-length", b"content-type", b"transfer-encoding"})


@dataclass(slots=True)
class Response:
    """What the application answered."""

    status: int = 500
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether it is an answer and no error."""
        return 200 <= self.status < 300  # noqa: PLR2004  # HTTP's own numbers

    def add(self, message: Message) -> bool:
        """Take one message of the application; whether it was the last."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return False
        self.body += message.get("body", b"")
        return not message.get("more_body", False)


def request_scope(scope: Scope, path: str, size: int, number: int | None) -> Scope:
    """The scope of a POST to `path` on behalf of `scope`.

    Args:
        scope: The client's own request.
        path: Route of the application.
        size: Bytes of the new body.
        number: Position in a batch; the client's request id is made unique by it.
    """
    headers: list[tuple[bytes, bytes]] = []
    for name, value in scope.get("headers", ()):
        if name in _REPLACED:
            continue
        if name == b"x-request-id" and number is not None:
            headers.append((name, b"%b-%d" % (value, number)))
            continue
        headers.append((name, value))
    headers.append((b"content-type", b"application/json"))
    headers.append((b"content-length", str(size).encode()))
    return {
        **scope,
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
    }


def replay(body: bytes, rest: Receive) -> Receive:
    """A `receive` that gives `body` once and then what `rest` gives.

    Args:
        body: The whole body.
        rest: The client's own `receive`, or `until` something.
    """
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            return await rest()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def until(gone: asyncio.Event) -> Receive:
    """A `receive` that says that the client left when `gone` is set."""

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


async def collect(app: App, scope: Scope, receive: Receive) -> Response:
    """Call `app` and gather the whole response; 500 where it breaks."""
    response = Response()

    async def send(message: Message) -> None:
        response.add(message)

    if not await answered(app, scope, receive, send):
        response.status = 500
    return response


async def answered(app: App, scope: Scope, receive: Receive, send: Send) -> bool:
    """Call `app`; whether it came to its end.

    An application that breaks sends its error and then raises it again, for the
    server's log. It goes to the log here too, and one call of several does not take
    the others along.
    """
    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001  # of whatever broke in vLLM
        trace = "".join(traceback.format_exception(error))
        logs.write("note", f"{scope['path']} broke: {trace}", severity="ERROR")
        return False
    return True
