"""`weightdrop demo`, as `make demo` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

FORMS = ("chat/completions, ", "chat/completions, streaming, ", ":predict, ")


def test_the_demo_ends_with_answers_and_the_ready_event(tmp_path: Path) -> None:
    """With an empty HOME it exits 0; answers and the event are its last lines."""
    home, scratch = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "weightdrop.cli", "demo"],
        env={"HOME": str(home), "TMPDIR": str(scratch), "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *_story, whole, streamed, predicted, raw, event = done.stdout.splitlines()
    answers = [line.partition(" s: ")[2] for line in (whole, streamed, predicted, raw)]

    assert [
        line.strip().startswith(form)
        for form, line in zip(
            (*FORMS, ":streamRawPredict, "),
            (whole, streamed, predicted, raw),
            strict=True,
        )
    ] == [True] * 4
    assert all(answers)
    assert answers[0] == answers[1]
    assert answers[2] == answers[3]
    assert "  ready  http://127.0.0.1:" in event
    assert done.stdout.count("waiting for") == 5
    assert not any(
        path.name.startswith("weightdrop-demo") for path in scratch.iterdir()
    )
