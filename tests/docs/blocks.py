"""The blocks of code of a page, and what is to be done with each.

A comment above a block says it: `run` (a shell runs it; `run: exit 1` wants that
status), `file: NAME` (it is written there for later blocks), `up` (it starts the
stack that the others use), `make` (targets of the Makefile), `cloud` (needs the
cloud, or never ends: only its form and what it names are checked), `shown` (what a
program says, or what belongs into a file of the reader's).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^>]*?) -->\n)?^```(?P<language>\S*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
KINDS = ("run", "file", "up", "make", "cloud", "shown")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code.

    Attributes:
        page: Where it is.
        line: Where it begins.
        language: As written behind the fence.
        kind: The first word of its mark; empty without one.
        detail: The rest of its mark.
        text: The code.
    """

    page: Path
    line: int
    language: str
    kind: str
    detail: str
    text: str

    @property
    def status(self) -> int:
        """The exit status that it is to have."""
        return int(self.detail.removeprefix("exit ")) if self.detail else 0

    def __str__(self) -> str:
        """For a test's name."""
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        kind, _, detail = (match["mark"] or "").partition(":")
        found.append(
            Block(
                page=page,
                line=text.count("\n", 0, match.start("language")) + 1,
                language=match["language"],
                kind=kind.strip(),
                detail=detail.strip(),
                text=match["text"],
            )
        )
    return found
