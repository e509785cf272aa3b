"""The status function behind a real server, and a browser before it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import functions_framework
import pytest
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from fakes.bus import MemoryBus
from fakes.clock import FakeClock
from fakes.records import MemoryRecords
from functions.conftest import Store
from page import samples
from weightdrop.bootstrap import App
from weightdrop.settings import Backend, Settings
from weightdrop_functions import handlers

MAIN = Path(__file__).resolve().parents[2] / "functions" / "main.py"


def wire(settings: Settings) -> App:
    """The application over ports in memory, with the samples in its records."""
    app = App(settings)
    app.records = MemoryRecords(strict=True)
    app.bus = MemoryBus()
    app.clock = FakeClock(samples.NOW)
    app.artifacts = Store()
    return app


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> App:
    """The application over ports in memory, without any deployment."""
    local = Settings(backend=Backend.LOCAL, buckets=("models",), home=tmp_path)
    wired = wire(local)
    monkeypatch.setattr(handlers, "app", lambda: wired)
    return wired


@pytest.fixture
def site(app: App) -> FlaskClient:
    """A client that asks as a browser does."""
    client: FlaskClient = functions_framework.create_app(
        "status", str(MAIN)
    ).test_client()
    client.environ_base["HTTP_ACCEPT"] = "text/html,application/xhtml+xml,*/*;q=0.8"
    return client


@pytest.fixture
def address(app: App) -> Iterator[str]:
    """Where the status function is really served, for a browser."""
    served = functions_framework.create_app("status", str(MAIN))
    server = make_server("127.0.0.1", 0, served, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def full(app: App, site: FlaskClient) -> FlaskClient:
    """A browser before a stack with the samples in it."""
    samples.fill(app.records)
    return site
