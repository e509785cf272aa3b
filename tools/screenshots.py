"""Write the pictures of the page: `python tools/screenshots.py`.

The page is served over records in memory that the tests use, too, and looked
at by Debian's Chromium. Needs the packages of the tests.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "functions")]

import functions_framework  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

from page import browser as browsers  # noqa: E402
from page import samples  # noqa: E402
from page.conftest import MAIN, wire  # noqa: E402
from weightdrop.settings import Backend, Settings  # noqa: E402
from weightdrop_functions import handlers  # noqa: E402

FOLDER = ROOT / "docs" / "img"
SHOTS = (
    ("page-list", "", "light", 640),
    ("page-ready", f"deployments/{samples.IDS['support-bot']}", "light", 1480),
    ("page-canary", f"deployments/{samples.IDS['search-bot']}", "light", 560),
    ("page-failed", f"deployments/{samples.IDS['triage-1b']}", "dark", 640),
)
"""File, path, colour scheme, and the height at which the picture ends."""

WIDTH = 1040
COLOURS = 64


def main() -> None:
    """Write them all."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as home:
        app = wire(
            Settings(backend=Backend.LOCAL, buckets=("models",), home=Path(home))
        )
        samples.fill(app.records)
        handlers.app = lambda: app  # type: ignore[assignment]
        served = functions_framework.create_app("status", str(MAIN))
        server = make_server("127.0.0.1", 0, served, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        take(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        server.server_close()


def take(address: str) -> None:
    """Look at each page of `address` and keep what is seen."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = browsers.start(playwright)
        for name, path, scheme, height in SHOTS:
            page = browser.new_page(
                viewport={"width": WIDTH, "height": 640},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page.goto(f"{address}/{path}")
            whole = page.evaluate("document.documentElement.scrollHeight")
            page.screenshot(
                path=FOLDER / f"{name}.png",
                full_page=True,
                clip={
                    "x": 0,
                    "y": 0,
                    "width": WIDTH,
                    "height": min(height, whole),
                },
            )
            page.close()
            shrink(FOLDER / f"{name}.png")
        browser.close()


def shrink(picture: Path) -> None:
    """Keep as many colours as the page has: a third of the bytes."""
    with Image.open(picture) as image:
        few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(picture, optimize=True)


if __name__ == "__main__":
    main()
