"""Clients that live in an environment of their own: they pin other versions."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REQUIRED = "WEIGHTDROP_REQUIRE_CLIENTS"
ENVIRONMENT = ROOT / ".venv-clients"
SECONDS = 280


def separate_python() -> Path:
    """Its interpreter; skips the test where it is neither there nor required."""
    python = ENVIRONMENT / "bin" / "python"
    if os.environ.get(REQUIRED) == "1":
        _make()
    if not (ENVIRONMENT / ".installed").exists():
        pytest.skip(f"not there: run `make clients-env`, or set {REQUIRED}=1")
    return python


def _make() -> None:
    """Make it; only one of several test processes does."""
    with (Path(tempfile.gettempdir()) / "weightdrop-clients.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(
            ["make", f"{ENVIRONMENT.name}/.installed"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert made.returncode == 0, made.stderr
