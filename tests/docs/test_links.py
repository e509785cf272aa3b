"""Every link inside the documentation leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    {*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("terraform/*.md")}
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a page's headings can be linked by, as GitHub makes them."""
    text = re.sub(
        r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(plain.replace(" ", "-"))
    return found


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere; other sites are not asked."""
    found = []
    for link in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Files, folders, pictures and headings."""
    assert broken(page) == []


def test_every_page_is_in_the_index() -> None:
    """A reader who begins at docs/index.md finds all there is to read."""
    folder = ROOT / "docs"
    text = (folder / "index.md").read_text("utf-8")
    linked = {(folder / link).resolve() for link in _LINK.findall(text)}
    left = {
        str(page.relative_to(folder))
        for page in folder.rglob("*.md")
        if page not in linked and page.parent.name != "benchmarks"
    }

    assert left - {"index.md"} == set()


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """A file and a heading that are not there."""
    page = tmp_path / "page.md"
    page.write_text("# One\n\n[a](none.md) [b](#one) [c](#two) [d](page.md#one)\n")

    assert broken(page) == ["none.md", "#two"]
