"""A deployment, a finding, an event for a person's eyes.

Every text that comes from outside goes through `clean` here, once.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from weightdrop.cli.client import View
from weightdrop.cli.terminal import clean

_STYLES = {
    "ready": "bold green",
    "rejected": "bold red",
    "failed": "bold red",
    "waiting": "bold yellow",
    "superseded": "dim",
    "retired": "dim",
}
_SEVERITIES = {
    "error": "bold red",
    "missing": "bold yellow",
    "warning": "yellow",
    "notice": "dim",
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_THOUSAND = 1000
_DIGEST_SHOWN = 12


def phase_text(phase: object) -> Text:
    """A phase in its colour."""
    name = clean(phase)
    return Text(name, style=_STYLES.get(name, "bold cyan"))


def span(seconds: float) -> str:
    """A length of time, short."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:02.0f} s"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:02.0f} min"
    return f"{seconds // _DAY:.0f} d {seconds % _DAY // _HOUR:.0f} h"


def since(stamp: object) -> str:
    """How long ago an ISO 8601 time was; empty if it is none."""
    try:
        then = datetime.fromisoformat(str(stamp))
        gone = (datetime.now(UTC) - then).total_seconds()
    except (ValueError, TypeError):
        return ""
    return span(max(gone, 0.0))


def _moment(stamp: object) -> str:
    """An ISO 8601 time to the second, in UTC; as it came where it is none."""
    try:
        then = datetime.fromisoformat(str(stamp)).astimezone(UTC)
    except ValueError:
        return clean(stamp)
    return then.strftime("%Y-%m-%d %H:%M:%SZ")


def magnitude(number: float, unit: str = "") -> str:
    """A large number with its prefix: 1.2 M, 3.4 GB."""
    prefixes = ["", "k", "M", "G", "T"]
    while number >= _THOUSAND and len(prefixes) > 1:
        number /= _THOUSAND
        prefixes.pop(0)
    return f"{number:.3g} {prefixes[0]}{unit}".strip()


def counted(number: int, thing: str) -> str:
    """A number of things: 1 file, 2 files."""
    return f"{number} {thing}{'s'[: number != 1]}"


def finding_lines(findings: Iterable[View]) -> Iterator[Text]:
    """Findings: severity, code, file, and below it the detail and the fix."""
    for finding in findings:
        severity = clean(finding.get("severity", ""))
        line = Text("  ")
        line.append(severity, style=_SEVERITIES.get(severity, ""))
        line.append(f" {clean(finding.get('code', ''))}", style="bold")
        if finding.get("file"):
            line.append(f"  {clean(finding['file'])}")
        if finding.get("offset") is not None:
            line.append(f" at byte {clean(finding['offset'])}")
        yield line
        yield Text(f"      {clean(finding.get('detail', ''))}")
        if finding.get("fix"):
            yield Text(f"      fix: {clean(finding['fix'])}", style="green")


def _model_line(model: View) -> str:
    parameters = float(model.get("parameters", 0))
    size = float(model.get("weightBytes", 0))
    parts = [
        model.get("baseModel") or model.get("architecture", ""),
        # Unknown until the weights are there.
        f"{magnitude(parameters)} parameters" if parameters else "",
        model.get("dtype", ""),
        model.get("quantization", ""),
        magnitude(size, "B") if size else "",
    ]
    return ", ".join(clean(part) for part in parts if part)


def plan_line(plan: View) -> str:
    """Machine, accelerators, context and price of a plan."""
    price = plan.get("hourlyUsd")
    parts = [
        plan.get("region", ""),
        plan.get("machineType", ""),
        f"{plan.get('acceleratorCount', 0)} x {plan.get('acceleratorType', '')}",
        f"context {plan.get('maxModelLen', 0)}",
        "price unknown" if price is None else f"{float(price):.2f} USD/h",
    ]
    return ", ".join(clean(part) for part in parts if part)


def _facts(view: View) -> Iterator[tuple[str, str]]:
    yield "source", clean(view.get("source", ""))
    if view.get("digest"):
        attempt = view.get("attempt", 1)
        again = f", attempt {clean(attempt)}" if attempt != 1 else ""
        digest = clean(view["digest"])[:_DIGEST_SHOWN]
        yield "revision", f"{clean(view.get('revision', ''))} ({digest}){again}"
    serving = view.get("serving")
    parts = view.get("traffic") or []
    if len(parts) > 1:
        yield "traffic", _split(parts)
    elif serving and serving.get("revision") != view.get("revision"):
        yield "serving", f"revision {clean(serving['revision'])} has the traffic"
    if view.get("ordered"):
        yield "ordered", f"{clean(view['ordered'])}, to be done next"
    if setback := view.get("setback"):
        yield "held up", _setback(setback)
    if view.get("model"):
        yield "model", _model_line(view["model"])
    if view.get("plan"):
        yield "plan", plan_line(view["plan"])
    if view.get("endpoint"):
        yield "endpoint", clean(view["endpoint"].get("baseUrl", ""))
        yield "ask", f'weightdrop ask {shlex.quote(clean(view["id"]))} "PROMPT"'


def _setback(setback: View) -> str:
    """How often it got nowhere, why, and when it is tried again."""
    times = int(setback.get("times", 1))
    looks = "look" if times == 1 else f"{times} looks"
    later = _moment(setback.get("nextLook"))
    said = f"the last {looks} got nowhere, the next is at {later}"
    return f"{said}: {clean(setback['message'])}" if setback.get("message") else said


def _split(parts: Iterable[View]) -> str:
    """Who has which part of the traffic, in one line."""
    return ", ".join(
        f"revision {clean(part.get('revision'))} {clean(part.get('percent'))} %"
        for part in parts
    )


def _headline(view: View) -> Text:
    line = Text()
    line.append(clean(view.get("id", "")), style="bold")
    line.append("  ")
    line.append_text(phase_text(view.get("phase", "")))
    stage = clean(view.get("stage") or "")
    if stage:
        line.append(f" · {stage}", style="cyan")
    line.append(f" for {since(view.get('phaseSince'))}", style="dim")
    return line


def news_lines(view: View) -> Iterator[Text]:
    """What is new of a deployment, where all of it was or will be shown."""
    yield _headline(view)
    if view.get("setback"):
        yield Text(f"  {_setback(view['setback'])}")
    yield from _missing_lines(view)


def _missing_lines(view: View) -> Iterator[Text]:
    if view.get("missing"):
        yield Text("  waiting for", style="yellow")
    for path in view.get("missing") or ():
        yield Text(f"    {clean(path)}")


def deployment_lines(view: View) -> Iterator[Text]:
    """One deployment in full."""
    yield _headline(view)
    for name, text in _facts(view):
        line = Text()
        line.append(f"  {name:<10}", style="dim")
        line.append(text)
        yield line
    if view.get("missing"):
        yield from _missing_lines(view)
    elif view.get("phase") == "waiting":
        yield Text("  no file is missing; waiting for the copying to end")
    if view.get("reason"):
        yield Text(f"  {'reason':<10}{clean(view['reason'])}")
    if view.get("message"):
        yield Text(f"  {clean(view['message'])}")
    missing = set(view.get("missing") or ())
    yield from finding_lines(
        finding
        for finding in view.get("findings") or ()
        if finding.get("severity") != "missing" or finding.get("file") not in missing
    )
    if view.get("logTail"):
        yield Text("  the server's log ends with", style="dim")
        for text in view["logTail"]:
            yield Text(f"    {clean(text)}")
    if view.get("advice"):
        yield Text(f"  {clean(view['advice'])}", style="green")


def deployments_table(views: Iterable[View]) -> Table:
    """All deployments, one a line."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("ID", "PHASE", "FOR", "REV", "SOURCE", "NOTE"):
        table.add_column(title, overflow="fold")
    for view in views:
        table.add_row(
            Text(clean(view.get("id", "")), style="bold"),
            phase_text(view.get("phase", "")),
            since(view.get("phaseSince")),
            clean(view.get("revision", "")),
            Text(clean(view.get("source", ""))),
            Text(_table_note(view)),
        )
    return table


def _table_note(view: View) -> str:
    if view.get("missing"):
        return f"{counted(len(view['missing']), 'file')} to come"
    errors = [
        finding
        for finding in view.get("findings") or ()
        if finding.get("severity") == "error"
    ]
    if errors and view.get("phase") == "rejected":
        return clean(errors[0].get("code", ""))
    held_up = "held up" if view.get("setback") else ""
    return clean(view.get("reason") or held_up or view.get("stage") or "")


def change(view: View) -> str:
    """What distinguishes one look at a deployment from the next."""
    parts: list[Any] = [view.get("phase"), view.get("stage"), view.get("revision")]
    setback = (view.get("setback") or {}).get("message")
    return repr([*parts, view.get("missing"), setback])


def event_line(event: View) -> Text:
    """One event on one line."""
    data = event.get("data") or {}
    kind = clean(event.get("type", ""))
    word = kind.removeprefix("weightdrop.deployment.").removesuffix(".v1")
    line = Text()
    line.append(_moment(event.get("time", "")), style="dim")
    line.append(f"  {clean(data.get('deployment', ''))}  ", style="bold")
    line.append_text(phase_text(word))
    if word == "progress":
        line.append(f"  {clean(data.get('phase', ''))}")
    for name in ("stage", "reason", "message"):
        if data.get(name):
            line.append(f"  {clean(data[name])}")
    if data.get("missing"):
        line.append("  " + ", ".join(clean(path) for path in data["missing"]))
    for finding in data.get("findings") or ():
        line.append(f"  {clean(finding.get('code', ''))}")
    endpoint = data.get("endpoint") or {}
    if endpoint.get("baseUrl"):
        line.append(f"  {clean(endpoint['baseUrl'])}")
    return line
