"""Runs the real bucket server, and a function that takes its events."""

from __future__ import annotations

import http.server
import json
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

SECONDS = 60.0
T = TypeVar("T")


def until(look: Callable[[], T], what: str) -> T:
    """The first true value of `look`; fails the test after a minute."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if value := look():
            return value
        time.sleep(0.01)
    pytest.fail(f"not within {SECONDS:.0f} s: {what}")


@dataclass
class Running:
    """A bucket server under test."""

    process: subprocess.Popen[str]
    url: str
    home: Path

    @property
    def root(self) -> Path:
        """The folder that holds the buckets."""
        return self.home / "buckets"

    def client(self) -> storage.Client:
        """Google's client, pointed at the server."""
        return storage.Client(
            project="local",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self.url},
        )

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.wait()


def command(home: Path, *more: str) -> list[str]:
    """How the server is started."""
    module = [sys.executable, "-m", "weightdrop.local.bucket"]
    places = ["--root", str(home / "buckets"), "--state", str(home / "bucket.db")]
    return [*module, *places, *more]


def start(home: Path, *more: str, port: int = 0) -> Running:
    """A server that has said it is ready."""
    process = subprocess.Popen(
        command(home, "--port", str(port), *more), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], SECONDS)
    line = process.stdout.readline() if ready else ""
    if "http://" not in line:
        process.kill()
        process.wait()
        pytest.fail(f"the bucket server did not start: {line!r}")
    return Running(process, line.split(" on ")[1].split(",")[0], home)


@contextmanager
def running(home: Path, *more: str, port: int = 0) -> Iterator[Running]:
    """A server for the length of a block."""
    server = start(home, *more, port=port)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=SECONDS)
        assert server.process.stdout is not None
        server.process.stdout.close()


@dataclass
class Taken:
    """One event as the function got it."""

    headers: dict[str, str]
    data: dict[str, Any]
    at: float

    @property
    def kind(self) -> str:
        """The last word of its type."""
        return self.headers["ce-type"].rpartition(".")[2]

    @property
    def what(self) -> tuple[str, str]:
        """(kind, object name)."""
        return self.kind, self.data["name"]


@dataclass
class Function:
    """Takes events, and answers what `decide` says (200 by default)."""

    url: str
    taken: list[Taken] = field(default_factory=list)
    decide: Callable[[Taken], int] = lambda _: 200
    arrived: queue.Queue[Taken] = field(default_factory=queue.Queue)

    def wait(self, kind: str, name: str) -> Taken:
        """The first event of a kind about an object."""
        return until(
            lambda: next((e for e in list(self.taken) if e.what == (kind, name)), None),
            f"event {kind} {name}",
        )

    def of(self, name: str) -> list[Taken]:
        """All events about an object so far."""
        return [event for event in list(self.taken) if event.data["name"] == name]


@contextmanager
def function(port: int = 0) -> Iterator[Function]:
    """An HTTP server that takes events."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            event = Taken(headers, json.loads(body), time.time())
            status = subject.decide(event)
            subject.taken.append(event)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    subject = Function(f"http://127.0.0.1:{server.server_address[1]}/")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield subject
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
