"""A server of weight files that answers late: Cloud Storage's way, and a hub's.

The files are headers followed by zeros that are never stored. Every request
waits for the latency and is counted.
"""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import unquote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from drops.stores import File, size_of

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
UPDATED = "2026-01-01T00:00:00.000Z"


@dataclass
class Counts:
    """What was asked for.

    Attributes:
        requests: Reads of file contents.
        others: Listings and questions whether a file is there.
        sent: Bytes of file contents.
        tensors: Bytes of tensor data among them.
    """

    requests: int = 0
    others: int = 0
    sent: int = 0
    tensors: int = 0


@dataclass
class Shelf:
    """The files, and what was read of them."""

    files: dict[str, File]
    latency: float
    counts: Counts = field(default_factory=Counts)

    def part(self, name: str, start: int, end: int) -> bytes:
        """Bytes [start, end) of a file; zeros where nothing is stored."""
        file = self.files[name]
        head = file if isinstance(file, bytes) else file.head
        stored = head[start:end]
        data = stored + b"\0" * (end - start - len(stored))
        self.counts.requests += 1
        self.counts.sent += len(data)
        self.counts.tensors += len(data) - len(stored)
        return data

    async def content(self, name: str, request: Request) -> Response:
        """A file or a range of it, after the latency."""
        await asyncio.sleep(self.latency)
        if name not in self.files:
            self.counts.others += 1
            return Response(status_code=404, headers={"x-error-code": "EntryNotFound"})
        size = size_of(self.files[name])
        if request.method == "HEAD":
            self.counts.others += 1
            return Response(headers={"content-length": str(size), "etag": '"e"',
                                     "x-repo-commit": "0" * 40})  # fmt: skip
        found = _RANGE.fullmatch(request.headers.get("range", ""))
        start = int(found[1]) if found else 0
        end = min(int(found[2]) + 1 if found and found[2] else size, size)
        if start >= size:
            return Response(status_code=416)
        headers = {"content-range": f"bytes {start}-{end - 1}/{size}", "etag": '"e"',
                   "x-goog-generation": "1", "x-goog-stored-content-length": str(size),
                   "x-repo-commit": "0" * 40}  # fmt: skip
        return Response(
            self.part(name, start, end),
            status_code=206 if found else 200,
            media_type="application/octet-stream",
            headers=headers,
        )

    async def listing(self, _: Request) -> Response:
        """All objects, as the JSON API lists them."""
        await asyncio.sleep(self.latency)
        self.counts.others += 1
        items = [
            {"name": name, "generation": "1", "size": str(size_of(file)),
             "crc32c": "AAAAAA==", "updated": UPDATED}
            for name, file in sorted(self.files.items())
        ]  # fmt: skip
        return JSONResponse({"kind": "storage#objects", "items": items})


def application(shelf: Shelf) -> Starlette:
    """The routes of both kinds of client."""

    async def stored(request: Request) -> Response:
        return await shelf.content(unquote(request.path_params["name"]), request)

    async def published(request: Request) -> Response:
        return await shelf.content(request.path_params["name"], request)

    async def counts(_: Request) -> Response:
        found, shelf.counts = shelf.counts, Counts()
        return JSONResponse(vars(found))

    bucket = "/storage/v1/b/{bucket}/o"
    routes: list[Any] = [
        Route(bucket, shelf.listing),
        Route(f"/download{bucket}/{{name:path}}", stored),
        Route("/{org}/{repo}/resolve/{revision}/{name:path}", published,
              methods=["GET", "HEAD"]),
        Route("/counts", counts),
    ]  # fmt: skip
    return Starlette(routes=routes)


def serve(files: dict[str, File], latency: float, ready: Connection) -> None:
    """Serve until the process is ended; sends the port when it listens."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    ready.send(listener.getsockname()[1])
    config = uvicorn.Config(
        application(Shelf(files, latency)), log_level="error", access_log=False
    )
    uvicorn.Server(config).run(sockets=[listener])
