"""Write docs/benchmarks/index.md from what the benchmarks wrote.

    python tools/bench_page.py            or      make bench

Each benchmark writes a page with its command, date, machine and tables. This reads
the tables: every claim below names the page and the row that hold it, its peer, and
the two figures whose ratio is given, both of one run. Nothing is measured here.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "benchmarks" / "index.md"
PLOT = DOCS / "img" / "benchmarks.svg"

HEAD = """\
<!-- Written by tools/bench_page.py: run `make bench`, do not change it. -->
# Benchmarks

What Weightdrop claims, beside whom, as measured in one run on one machine. `make bench`
runs all of them, one after another, and writes this page; `make bench BENCH="cold
control"` runs some. Machines differ and are shared: believe ratios sooner than figures.

| claim | ours | beside | ratio | measured |
| --- | --- | --- | ---: | --- |
"""
LIMITS = """
## Limits that are kept

Each benchmark ends with status 1 when one of its limits is broken.

| what | limit | measured | by |
| --- | --- | --- | --- |
"""
RUNS = """
## When, where, and how

| page | command | date | machine |
| --- | --- | --- | --- |
"""


_START = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">
<title>How many times better than the peer, each in one run</title>
<rect width="{width}" height="{height}" fill="#ffffff"/>
"""
_PEER = """\
<path d="M{x:.1f} 6V{y}" stroke="#d93025" stroke-dasharray="4 3"/>
<text x="{x:.1f}" y="{y}" text-anchor="middle" fill="#d93025">the peer</text>
</svg>
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a figure is: a row whose first cell matches, and the column's name."""

    row: str
    column: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that is better than elsewhere.

    Attributes:
        text: What is claimed.
        page: Below docs/, where it was written down.
        ours: Our figure.
        peer: Who else.
        theirs: Their figure of the same run.
        more: Whether more is better.
        figure: Which number of a cell is meant, counted from 0.
    """

    text: str
    page: str
    ours: Cell
    peer: str
    theirs: Cell
    more: bool = False
    figure: int = 0


SDK = "the same function on `google.cloud.aiplatform`"
_COLD = "benchmarks/cold.md"


def _cold(text: str, row: str) -> tuple[Claim, Claim]:
    ours, theirs = Cell(row, "ours"), Cell(row, "on the high-level SDK")
    return (
        Claim(f"{text}: processor time", _COLD, ours, SDK, theirs),
        Claim(f"{text}: memory", _COLD, ours, SDK, theirs, figure=1),
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "163 shards are validated",
        "benchmarks/check.md",
        Cell("validation", "seconds"),
        "huggingface_hub, which only reads headers",
        Cell("huggingface_hub", "seconds"),
    ),
    *(
        Claim(
            "memory is predicted, mean error in GiB",
            "planning.md",
            Cell(r"\*\*Weightdrop", "mean error of the total, GiB"),
            peer,
            Cell(row, "mean error of the total, GiB"),
        )
        for peer, row in (
            ("llm-d-planner's rule", "llm-d-planner: weights"),
            ("KAITO's rule", "KAITO"),
            ("GPUStack's rule", "GPUStack"),
        )
    ),
    *_cold("an event that cannot matter", ".*an object that cannot matter"),
    *_cold("an object's event, one record read", ".*`on_artifact`, one record"),
    *_cold("a question, one record read", ".*`status`, one record"),
    *_cold("a tick", ".*`on_tick`"),
    Claim(
        "the Vertex route adds to one request",
        "benchmarks/serving.md",
        Cell("weightdrop", "added"),
        "a proxy of FastAPI and httpx",
        Cell("proxy", "added"),
    ),
    Claim(
        "requests of 16 clients at a time",
        "benchmarks/serving.md",
        Cell("weightdrop", "throughput"),
        "a proxy of FastAPI and httpx",
        Cell("proxy", "throughput"),
        more=True,
    ),
    *(
        Claim(
            "a container starts and answers",
            "benchmarks/start.md",
            Cell(r"weightdrop$", "median"),
            peer,
            Cell(row, "median"),
        )
        for peer, row in (
            ("copying everything, then starting vLLM", "copy-then-start"),
            ("vLLM with run:ai's streamer", "runai"),
        )
    ),
)
"""Everything that is claimed beside somebody else."""

KEPT: Mapping[str, tuple[str, str]] = {
    "benchmarks/control.md": ("limit", "measured"),
    "benchmarks/bucket.md": ("promised", "measured"),
}
"""Pages whose rows have a limit of their own: its column, and the measured one."""

Row = Mapping[str, str]


def rows(text: str) -> Iterator[Row]:
    """Every row of every table of a page, by the names of its columns."""
    names: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            names = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not names:
            names = cells
        elif not set("".join(cells)) <= set("-: "):
            yield dict(zip(names, cells, strict=False)) | {"": cells[0]}


def cell(text: str, where: Cell) -> str:
    """What a page says there.

    Raises:
        LookupError: If it has no such row or column.
    """
    for row in rows(text):
        if re.match(where.row, row[""]) and where.column in row:
            return row[where.column]
    raise LookupError(f"no row {where.row!r} with a column {where.column!r}")


def number(text: str, figure: int = 0) -> float:
    """One of the numbers in a cell.

    Raises:
        LookupError: If it has not so many.
    """
    found = re.findall(r"[-+]?\d[\d,]*\.?\d*", text)
    return float(found[figure].replace(",", ""))


def shown(text: str, figure: int = 0) -> str:
    """The part of a cell that holds the figure."""
    parts = [part.strip() for part in text.replace("**", "").split(", ")]
    return parts[figure] if len(parts) > figure else text


def ratio(claim: Claim, text: str) -> float:
    """How many times better ours is."""
    ours = number(cell(text, claim.ours), claim.figure)
    theirs = number(cell(text, claim.theirs), claim.figure)
    better, worse = (ours, theirs) if claim.more else (theirs, ours)
    return better / worse if worse > 0 else float("inf")


def facts(text: str) -> tuple[str, str, str]:
    """Command, date and machine of a benchmark's page; empty where it says none."""
    command = re.search(r"`(make [a-z-]+)", text)
    date = re.search(r"\bon (20\d\d-\d\d-\d\d)\b", text)
    machine = re.search(r"\d+ (?:processors|cores)[^|)\n]*", text)
    return (
        command[1] if command else "",
        date[1] if date else "",
        machine[0].strip().rstrip(".") if machine else "",
    )


def _times(found: float) -> str:
    return "no cost to be seen" if found == float("inf") else f"{found:.1f}x"


def page(docs: Path = DOCS) -> str:
    """The whole page.

    Raises:
        LookupError: If a page that is there lacks a row of a claim.
    """
    texts = {
        str(path.relative_to(docs)): path.read_text(encoding="utf-8")
        for path in [*sorted((docs / "benchmarks").glob("*.md")), docs / "planning.md"]
        if path.name != "index.md" and path.exists()
    }
    lines = [
        f"| {claim.text} | {shown(cell(text, claim.ours), claim.figure)} | "
        f"{shown(cell(text, claim.theirs), claim.figure)}, {claim.peer} | "
        f"{_times(ratio(claim, text))} | {_link(claim.page, text)} |"
        for claim in CLAIMS
        if (text := texts.get(claim.page)) is not None
    ]
    plot = "\n![How many times better, on a logarithmic scale](../img/benchmarks.svg)\n"
    kept = [
        f"| {row['']} | {row[limit]} | {row[measured]} | {_link(name, texts[name])} |"
        for name, (limit, measured) in KEPT.items()
        if name in texts
        for row in rows(texts[name])
        if row.get(limit) and measured in row
    ]
    runs = [
        f"| {_link(name, text)} | `{command}` | {date} | {machine} |"
        for name, text in texts.items()
        for command, date, machine in [facts(text)]
    ]
    parts = [HEAD, *_lines(lines), plot, LIMITS, *_lines(kept), RUNS, *_lines(runs)]
    return "".join(parts)


def _lines(found: Sequence[str]) -> list[str]:
    return [f"{line}\n" for line in found]


def _link(name: str, text: str) -> str:
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    place = name.removeprefix("benchmarks/")
    target = place if place != name else f"../{name}"
    return f"[{title[1] if title else place}]({target})"


def plot(docs: Path = DOCS) -> str:
    """The ratios as bars on a logarithmic scale: the peer is where they begin."""
    bars = [
        (f"{claim.text} / {claim.peer}".replace("`", ""), ratio(claim, text))
        for claim in CLAIMS
        if (path := docs / claim.page).exists()
        for text in [path.read_text(encoding="utf-8")]
    ]
    finite = [(label, value) for label, value in bars if value != float("inf")]
    most = max((value for _, value in finite), default=1.0)
    left, step, wide = 590, 26, 330
    height, width = len(finite) * step + 30, left + wide + 70
    lines = [_START.format(width=width, height=height)]
    for place, (label, value) in enumerate(finite):
        y = 12 + place * step
        long = math.log(max(value, 1)) / math.log(max(most, 2)) * wide
        lines += [
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(label)}',
            f'</text><rect x="{left}" y="{y}" width="{long:.1f}" height="18" ',
            f'fill="#1a73e8"/><text x="{left + long + 6:.1f}" y="{y + 13}">',
            f"{value:.1f}x</text>\n",
        ]
    return "".join([*lines, _PEER.format(x=left, y=height - 3)])


def main() -> int:
    """Write the page and its picture."""
    PAGE.write_text(page(), encoding="utf-8")
    PLOT.write_text(plot(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
