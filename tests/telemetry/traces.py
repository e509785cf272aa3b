"""Spans as a test wants them, and what must hold of those of a drop."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan

from weightdrop import telemetry
from weightdrop.telemetry import Span

PHASES = (
    *("waiting", "accepted", "uploading", "creating_endpoint"),
    *("deploying", "verifying"),
)
"""What a drop goes through on its way to ready."""


@dataclass
class MemorySink:
    """Keeps what it is given."""

    spans: list[Span] = field(default_factory=list)
    durations: list[tuple[str, float, Mapping[str, str]]] = field(default_factory=list)
    flushes: int = 0

    def span(self, span: Span) -> None:
        """See weightdrop.telemetry.Sink."""
        self.spans.append(span)

    def duration(self, name: str, seconds: float, facts: Mapping[str, str]) -> None:
        """See weightdrop.telemetry.Sink."""
        self.durations.append((name, seconds, facts))

    def flush(self) -> None:
        """See weightdrop.telemetry.Sink."""
        self.flushes += 1


@contextmanager
def collected() -> Iterator[MemorySink]:
    """What is told meanwhile."""
    kept = MemorySink()
    telemetry.use(lambda: kept)
    try:
        yield kept
    finally:
        telemetry.use(None)


@dataclass(frozen=True, slots=True)
class Seen:
    """One span, wherever it comes from; times in any unit that can be compared."""

    name: str
    trace: str
    id: str
    parent: str
    start: object
    end: object


def seen(spans: Iterable[Span | ReadableSpan]) -> list[Seen]:
    """The spans of a sink or of OpenTelemetry's SDK."""
    return [
        Seen(one.name, one.trace, one.id, one.parent, one.start, one.end)
        if isinstance(one, Span)
        else Seen(
            one.name,
            f"{one.context.trace_id:032x}",
            f"{one.context.span_id:016x}",
            f"{one.parent.span_id:016x}" if one.parent else "",
            one.start_time,
            one.end_time,
        )
        for one in spans
    ]


def from_file(path: Path, deployment: str) -> list[Seen]:
    """The spans of one deployment in what the setting `file:` writes."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        Seen(
            one["name"],
            one["context"]["trace_id"].removeprefix("0x"),
            one["context"]["span_id"].removeprefix("0x"),
            (one["parent_id"] or "").removeprefix("0x"),
            one["start_time"],
            one["end_time"],
        )
        for one in lines
        if "context" in one
        and one["attributes"].get(telemetry.DEPLOYMENT) == deployment
    ]


def problems(spans: Iterable[Seen]) -> list[str]:
    """What is wrong with the spans of one drop that came to be ready."""
    traces = defaultdict(list)
    for span in spans:
        traces[span.trace].append(span)
    if len(traces) != 1:
        return [f"{len(traces)} traces"]
    found = []
    ((_, whole),) = traces.items()
    ids = [span.id for span in whole]
    if len(set(ids)) != len(ids):
        found.append("an id is there twice")
    roots = [span for span in whole if not span.parent]
    if [root.name for root in roots] != ["drop"]:
        return [*found, f"the roots are {[root.name for root in roots]}"]
    (root,) = roots
    found += [
        f"{span.name} is part of nothing" for span in whole if _lost(span, root, ids)
    ]
    phases = [span for span in whole if re.fullmatch("|".join(PHASES), span.name)]
    if tuple(span.name for span in phases) != PHASES:
        found.append(f"the phases are {[span.name for span in phases]}")
    edges = [root.start, *(span.end for span in phases)]
    if edges[:-1] != [span.start for span in phases] or edges[-1] != root.end:
        found.append("between two phases is a gap")
    return found


def _lost(span: Seen, root: Seen, ids: list[str]) -> bool:
    phase = span.name in PHASES
    return span is not root and (
        span.parent != root.id if phase else span.parent not in ids
    )
