"""The supervisor's last line, whatever goes wrong."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weightdrop_serving import supervisor
from weightdrop_serving.environment import Environment
from weightdrop_serving.failures import Exit
from weightdrop_serving.supervisor import Supervisor

Serve = Callable[[Exception], list[dict[str, Any]]]


@pytest.fixture
def serve(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Serve:
    """Serves until the given error strikes where the model is opened; the log."""

    def run(error: Exception) -> list[dict[str, Any]]:
        def strike(*_: object) -> None:
            raise error

        monkeypatch.setattr(supervisor, "open_model", strike)
        settings = Environment(http_port=0, host="127.0.0.1", scratch=tmp_path)
        status = asyncio.run(Supervisor(settings, ()).run())
        found = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
        assert found[-1]["status"] == status
        return found

    return run


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OSError(errno.ENOSPC, "No space left", "/x/y"), 73, "cannot write /x/y"),
        (OSError(errno.EDQUOT, "Quota exceeded"), 73, "cannot write a file"),
        (OSError(errno.EMFILE, "Too many open files"), 71, "open files"),
        (RuntimeError("boom"), 71, "RuntimeError: boom"),
    ],
)
def test_what_nobody_foresaw_has_its_last_line(
    error: Exception, status: int, words: str, serve: Serve, tmp_path: Path
) -> None:
    """A full disk is one wherever it is met; the rest comes with its trace."""
    log = serve(error)
    last = log[-1]
    traces = [event for event in log if "Traceback" in event["message"]]

    assert (last["event"], last["status"]) == ("failed", status)
    assert words in last["message"]
    assert len(traces) == (status == Exit.UNFORESEEN)
    assert list(tmp_path.iterdir()) == []
