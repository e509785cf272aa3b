"""The reference is what the code says: its pages are written from it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import reference_pages

from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.deployment.events import EVENT_TYPES
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.settings import Settings, variable

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", sorted(reference_pages.PAGES))
def test_a_page_of_the_reference_is_up_to_date(name: str) -> None:
    """If not: `python tools/reference_pages.py`."""
    there = (reference_pages.FOLDER / name).read_text(encoding="utf-8")

    assert reference_pages.PAGES[name]() == there


def codes(page: str) -> set[str]:
    """What stands as code in the first column of a page's tables."""
    text = reference_pages.PAGES[page]()
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def test_nothing_is_left_out() -> None:
    """Every setting, option, phase, reason, event and command has its place."""
    events = reference_pages.events_page()
    commands = reference_pages.command_line_page()

    assert codes("settings.md") == {variable(it.name) for it in fields(Settings)}
    assert codes("options.md") == {it.name for it in fields(FolderOptions)}
    assert codes("reasons.md") == {it.value for it in (*Phase, *Reason) if it}
    assert all(f"## {name}\n" in events for name in EVENT_TYPES)
    assert all(f"\n## {name}\n" in commands for name in reference_pages.commands())
    assert len(reference_pages.commands()) > 8


def test_every_option_says_what_it_may_hold() -> None:
    """In the words of validation, which are asked for with a wrong value."""
    rows = reference_pages.options_page().splitlines()
    empty = [row for row in rows if re.match(r"\| `\w+` \|\s*\|", row)]

    assert empty == []


def test_the_http_interface_is_on_its_page() -> None:
    """Each path of the OpenAPI document, with its method."""
    place = ROOT / "shared" / "weightdrop" / "schemas" / "openapi.json"
    paths = json.loads(place.read_text(encoding="utf-8"))["paths"]
    page = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    absent = [
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method in methods
        if method in {"get", "post"} and f"`{method.upper()} {path}`" not in page
    ]

    assert absent == []


def test_a_field_without_its_words_is_found() -> None:
    """A setting that nobody documents breaks the page, not the reader."""

    @dataclass
    class Half:
        """Half of it.

        Attributes:
            one: Is told.
        """

        one: int = 1
        two: int = 2

    with pytest.raises(ValueError, match="two"):
        reference_pages.attributes(Half)
