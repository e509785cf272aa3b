"""The real status function over real records, on a loopback port."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request
from werkzeug.serving import make_server

from weightdrop.bootstrap import App
from weightdrop.cli.main import run
from weightdrop.settings import Backend, Settings
from weightdrop_functions.http import respond


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Serving:
    """A running status function and its application."""

    app: App
    url: str

    def weightdrop(self, *words: str) -> Outcome:
        """Run a command against it."""
        return weightdrop(words[0], "--url", self.url, *words[1:])


def weightdrop(*words: str) -> Outcome:
    """Run a command in this process, its output caught."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run(list(words))
    return Outcome(status, out.getvalue(), err.getvalue())


@pytest.fixture
def cli() -> Callable[..., Outcome]:
    """Runs a command."""
    return weightdrop


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """The status function's own code behind a server, over SQLite records."""
    app = App(Settings(backend=Backend.LOCAL, home=tmp_path, buckets=("models",)))
    site = Flask("status")

    @site.route("/", defaults={"path": ""}, methods=["GET", "POST"])
    @site.route("/<path:path>", methods=["GET", "POST"])
    def answer(path: str) -> Response:
        del path
        return respond(app, request)

    server = make_server("127.0.0.1", 0, site, threaded=True)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    yield Serving(app, f"http://127.0.0.1:{server.port}")
    server.shutdown()
    thread.join()
    server.server_close()
