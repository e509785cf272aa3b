"""Answers 503 on the port until the engine's own server takes it over.

Vertex AI restarts a container whose port does not accept connections, and weights
take minutes. The listening socket is made here, handed to the engine's process as
it is, and both accept from it for a moment: no connection is ever refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import Final

from weightdrop_serving.failures import Exit, ServingError

_BACKLOG: Final = 2048
_LARGEST_HEAD: Final = 64 << 10
_LARGEST_BODY: Final = 16 << 20  # read and dropped, so that the answer is not lost
_PATIENCE_SECONDS: Final = 5.0


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port`.

    Raises:
        ServingError: If the port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise ServingError(
            Exit.USAGE, f"cannot listen on {host}:{port}: {error.strerror}"
        ) from error
    bound.settimeout(0)
    return bound


class WaitingRoom:
    """A server that says 503 to everything, and why."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._server: asyncio.Server | None = None
        self.reason = "starting"

    async def open(self) -> None:
        """Start to answer."""
        # A duplicate, because asyncio closes what it is given.
        self._server = await asyncio.start_server(
            self._answer, sock=self._listener.dup(), limit=_LARGEST_HEAD
        )

    def close(self) -> None:
        """Accept no more; answers under way are finished."""
        if self._server is not None:
            self._server.close()
        self._listener.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(
            OSError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(head.startswith(b"HEAD ")))
                await writer.drain()
                writer.write_eof()
                for _ in range(_LARGEST_BODY // _LARGEST_HEAD):
                    if not await reader.read(_LARGEST_HEAD):
                        break
        writer.close()

    def _response(self, head_only: bool) -> bytes:  # noqa: FBT001  # one caller
        error = {"code": 503, "message": self.reason, "status": "UNAVAILABLE"}
        body = json.dumps({"error": error}).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\n"
            "content-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
            "retry-after: 5\r\n"
            "connection: close\r\n\r\n"
        ).encode()
        return head if head_only else head + body
