"""The page in a real browser: accessible, safe, whole with and without JavaScript."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from drops.models import TINY_LLAMA, model_files
from drops.stores import MemoryArtifacts
from page import browser as browsers
from page import samples
from page.samples import CANARY, FAILED, IDS, READY
from page.test_hostile import HOSTILE, poisoned
from weightdrop.bootstrap import App
from weightdrop.core.deployment.phases import Phase

SOURCE = "gs://models/team/llama"
PAGES = (
    "/",
    "/?phase=verifying",
    "/deploy",
    "/deploy?source=nonsense",
    f"/deploy?source={SOURCE}",
    f"/deploy?source={SOURCE}&model_id=mine",
    "/deployments/none-00000000",
    *(f"/deployments/{identity}" for identity in IDS.values()),
    f"/deployments/{READY}/undeploy",
    f"/deployments/{READY}/rollback",
    f"/deployments/{CANARY}/promote",
    f"/deployments/{FAILED}/retry",
)
KINDS = tuple(
    path
    for path in PAGES
    if not path.endswith(
        ("verifying", "rollback", "promote", "retry", IDS["old/classifier"])
    )
)
"""One page of each kind."""


@pytest.fixture(scope="module")
def axe(request: pytest.FixtureRequest) -> str:
    """The text of axe-core."""
    cache = request.config.cache
    assert cache is not None
    return browsers.axe_source(cache.mkdir("axe"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all."""
    with sync_playwright() as playwright:
        started = browsers.start(playwright)
        yield started
        started.close()


@pytest.fixture
def full(app: App, address: str) -> str:
    """The address of a stack with the samples and one folder in its bucket."""
    samples.fill(app.records)
    files = model_files(TINY_LLAMA)
    app.artifacts = MemoryArtifacts({f"team/llama/{n}": it for n, it in files.items()})
    return address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test when the browser complains of it."""
    context = browser.new_context()
    complaints: list[str] = []
    opened = context.new_page()
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda it: complaints.append(it.text))
    opened.on("dialog", lambda it: complaints.append(it.message))
    opened.set_default_timeout(15_000)
    yield opened
    context.close()
    # A page that is meant to answer 400 or 404 is named by the browser as well.
    assert [it for it in complaints if "status of 40" not in it] == []


@pytest.mark.parametrize(
    ("scheme", "rules"),
    [("light", "{}"), ("dark", "{runOnly: ['color-contrast']}")],
)
def test_axe_finds_no_violation(
    page: Page, full: str, axe: str, scheme: Any, rules: str
) -> None:
    """Every kind of page with everything opened; in the dark, its colours."""
    page.emulate_media(color_scheme=scheme)
    found = {}
    for path in KINDS:
        page.goto(full + path)
        page.evaluate("document.querySelectorAll('details').forEach(it => it.open = 1)")
        page.evaluate(axe)
        result = page.evaluate(f"axe.run(document, {rules})")
        assert result["passes"]
        found |= {
            (path, one["id"]): [node["html"] for node in one["nodes"]]
            for one in result["violations"]
        }

    assert found == {}


def test_axe_finds_a_planted_fault(page: Page, full: str, axe: str) -> None:
    """A picture without its words does not go unnoticed."""
    page.goto(f"{full}/deploy")
    page.evaluate("document.querySelector('img').removeAttribute('alt')")
    page.evaluate(axe)

    result = page.evaluate("axe.run(document)")

    assert [one["id"] for one in result["violations"]] == ["image-alt"]


def test_the_page_reads_without_javascript(browser: Browser, full: str) -> None:
    """List, one deployment, an order and its confirmation."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(full)
    page.get_by_role("link", name=FAILED).click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    page.get_by_role("link", name=f"Retry {FAILED}").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Retry {FAILED}?")
    page.get_by_role("button", name="Retry").click()

    expect(page.locator(".state .phase")).to_have_text("accepted")
    assert page.url == f"{full}/deployments/{FAILED}"
    context.close()


def test_a_keyboard_is_enough(app: App, page: Page, full: str) -> None:
    """Skip link first, then order, confirmation and button, without a mouse."""
    page.goto(f"{full}/deployments/{FAILED}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name=f"Retry {FAILED}")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_title(f"Retry {FAILED}? · Weightdrop")
    page.get_by_role("button", name="Retry").focus()
    page.keyboard.press("Enter")

    expect(page.locator(".state .phase")).to_have_text("accepted")
    assert app.query.deployment(FAILED).phase is Phase.ACCEPTED


def test_a_canary_is_promoted(app: App, page: Page, full: str) -> None:
    """Its part is seen, the order is confirmed, and then it has everything."""
    page.goto(f"{full}/deployments/{CANARY}")
    expect(page.get_by_role("region", name="Traffic")).to_contain_text("canary: 25 %")
    page.get_by_role("link", name=f"Promote {CANARY}").click()
    expect(page.get_by_role("main")).to_contain_text("Revision 2, which has 75 %")
    page.get_by_role("button", name="Promote").click()

    expect(page.get_by_role("region", name="Traffic")).to_have_count(0)
    expect(page.get_by_role("link", name=f"Roll back {CANARY}")).to_be_visible()
    assert app.query.deployment(CANARY).canary is None


def test_a_folder_is_deployed_from_the_form(app: App, page: Page, full: str) -> None:
    """Filled in, looked at, confirmed, watched."""
    page.goto(full)
    page.get_by_role("link", name="Deploy", exact=True).click()
    page.get_by_label("Folder").fill(SOURCE)
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Deploy this?")
    page.get_by_role("button", name="Deploy").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("llama-")
    expect(page.locator(".state .phase")).to_have_text("accepted")


def test_commands_are_copied(page: Page, full: str) -> None:
    """The button puts the whole command onto the clipboard, and says so."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{full}/deployments/{READY}")
    page.get_by_role("button", name="Copy: Ask with curl").click()

    expect(page.get_by_role("status")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl -X POST")
    assert copied == page.locator("figure code").first.text_content()


def test_a_change_shows_by_itself(app: App, page: Page, full: str) -> None:
    """Phase, timeline and all, with the focus and what was open kept."""
    identity = IDS["legal/summaries-70b"]
    page.goto(f"{full}/deployments/{identity}")
    page.get_by_text("Why this machine").click()
    held = app.records.get(identity)
    assert held is not None
    one = held.deployment
    ready = replace(one.revisions[-1], phase=Phase.READY, stage="")
    changed = replace(
        one, revisions=(ready,), updated=one.updated + timedelta(seconds=1)
    )
    app.records.put(changed, version=held.version, events=samples.told(changed))

    expect(page.locator(".state .phase")).to_have_text("ready", timeout=15_000)
    expect(page.get_by_role("heading", name="Endpoint")).to_be_visible()
    expect(page.locator("details#why")).to_have_attribute("open", "")
    expect(page.get_by_text("Why this machine")).to_be_focused()


def test_a_narrow_screen_needs_no_sideways_scrolling(
    browser: Browser, full: str
) -> None:
    """Wide tables scroll within themselves, long names break."""
    context = browser.new_context(viewport={"width": 340, "height": 700})
    page = context.new_page()
    wide = {}
    for path in PAGES:
        page.goto(full + path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 340:
            wide[path] = width

    assert wide == {}
    context.close()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_stay_words(
    app: App, page: Page, address: str, text: str
) -> None:
    """Nothing runs, nothing is loaded from elsewhere, the words are shown."""
    loaded: list[str] = []
    page.on("request", lambda it: loaded.append(it.url))
    for phase in (Phase.WAITING, Phase.DEPLOYING, Phase.READY, Phase.FAILED):
        one, events = poisoned(text, phase)
        app.records.create(one, events=events)
        page.goto(f"{address}/deployments/{one.id}")
        assert page.evaluate("window.pwned") is None
    page.goto(address)

    assert page.evaluate("window.pwned") is None
    assert page.locator(".source").count() == 4
    assert all(url.startswith(address) for url in loaded)


class Evil(BaseHTTPRequestHandler):
    """Another site, whose page orders in the visitor's name."""

    target = ""

    def do_GET(self) -> None:
        """Answer with a form that sends itself."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        form = f'<form method="post" action="{self.target}"></form>'
        self.wfile.write(
            f"<!doctype html>{form}<script>document.forms[0].submit()</script>".encode()
        )

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_another_sites_form_is_refused(
    app: App, browser: Browser, full: str, name: str
) -> None:
    """Whether it has another name or only another port."""
    handler = type("Handler", (Evil,), {"target": f"{full}/deployments/{FAILED}/retry"})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    context = browser.new_context()
    page = context.new_page()
    try:
        page.goto(f"http://{name}:{server.server_port}/")
        page.wait_for_url(f"{full}/**")
        expect(page.get_by_role("heading", level=1)).to_have_text("Not from here")
    finally:
        context.close()
        server.shutdown()
        server.server_close()

    assert app.query.deployment(FAILED).phase is Phase.FAILED
