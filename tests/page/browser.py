"""Debian's Chromium through Playwright, and axe-core, where they can be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, Playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
REQUIRED = "WEIGHTDROP_REQUIRE_CHROMIUM"
_AXE = Path(__file__).with_name("axe")
_INSTALL_SECONDS = 120


def without(what: str) -> NoReturn:
    """Skip, or fail where the browser must be there."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{what}, and {REQUIRED}=1 asks for it")
    pytest.skip(f"{what}: the page is NOT looked at in a browser")


def start(playwright: Playwright) -> Browser:
    """A headless Chromium."""
    if not CHROMIUM.exists():
        without(f"{CHROMIUM} is missing (apt-get install chromium)")
    return playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))


def axe_source(cache: Path) -> str:
    """The text of axe-core, installed once into `cache` by its pinned digest."""
    pinned = (_AXE / "package-lock.json").read_bytes()
    folder = cache / f"axe-core-{zlib.crc32(pinned):08x}"
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        _install(folder)
    return script.read_text("utf-8")


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        without("npm is missing, which installs axe-core")
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        for path in _AXE.glob("*.json"):
            shutil.copy(path, fresh)
        done = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=fresh,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
        if done.returncode:
            without(f"npm cannot install axe-core: {done.stderr[-300:]}")
        if not folder.exists():
            shutil.copytree(fresh, folder)
