"""No input makes validation crash, hang, or take more memory than it may."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drops.hostile import DROPS

TESTS = Path(__file__).parents[1]
MEMORY = 512 * 1024 * 1024
PROCESSOR_SECONDS = 30
"""A verdict on any input takes a tenth of it on a machine with nothing else to do."""


@pytest.mark.parametrize("name", DROPS)
def test_a_hostile_drop_is_judged_within_bounds(name: str) -> None:
    """The process ends with a verdict, having taken less than 512 MB."""
    run = subprocess.run(
        [sys.executable, "-m", "drops.hostile", name],
        cwd=TESTS,
        env={"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)

    assert found["verdict"] in ("accepted", "rejected")
    assert found["peak"] < MEMORY
    assert found["seconds"] < PROCESSOR_SECONDS
