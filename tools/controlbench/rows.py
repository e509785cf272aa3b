"""What the page of the warm control plane says, and how it says it."""

from __future__ import annotations

import datetime as dt
import os
import platform
from dataclasses import dataclass

ABOUT = """\
Emulators and stand-ins run on the same processors as what is measured: ratios say
more than figures. The request is measured from sending the event to the answer of
`on_artifact` under functions-framework; the request is published before it answers.
The Firestore emulator has no indexes and scans the collection, so its times grow where
the real service's do not: that one reads what a query answers. So answers are counted,
and a test (`tests/contracts/test_firestore_cost.py`) holds every query to an index that
Terraform makes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the page.

    Attributes:
        what: Was measured.
        limit: In words.
        value: In words.
        kept: Whether the limit is kept.
    """

    what: str
    limit: str
    value: str
    kept: bool = True


def quantile(values: list[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def milliseconds(seconds: float) -> str:
    """For the table."""
    return f"{seconds * 1000:.1f} ms"


def grown(counts: list[int], costs: list[float]) -> str:
    """How costs change with the number of records."""
    return ", ".join(
        f"{milliseconds(cost)} among {count:,}"
        for count, cost in zip(counts, costs, strict=True)
    )


def page(rows: list[Row]) -> str:
    """The documentation's page."""
    when = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    load = os.getloadavg()[1]
    python = f"Python {platform.python_version()}, load {load:.1f}"
    machine = f"{os.cpu_count()} processors, {platform.machine()}, {python}"
    lines = [
        "# The warm control plane",
        "",
        f"Written by `make bench-control` on {when} ({machine}).",
        ABOUT,
        "",
        "| what | limit | measured |",
        "| --- | --- | --- |",
        *(f"| {row.what} | {row.limit} | {row.value} |" for row in rows),
        "",
    ]
    return "\n".join(lines)
