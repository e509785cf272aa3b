"""Write docs/reference from the code: `python tools/reference_pages.py`.

Tests compare the pages with what this writes, so that none of them grows old.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from importlib import resources
from pathlib import Path
from typing import Any

import click

from weightdrop.cli.main import cli
from weightdrop.core.artifacts.engine_args import FLAGS, VALUES
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.artifacts.options_file import read_options
from weightdrop.core.deployment.events import EVENT_TYPES
from weightdrop.core.deployment.phases import ADVICE, MOVES, Phase, Reason
from weightdrop.settings import Settings, variable

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
_WIDTH = 80
_NOTE = "<!-- Written by tools/reference_pages.py: change the code, then run it. -->\n"
_SETTINGS = """\
# Settings

Environment variables, read once when a process starts; all that cannot be used are
named together. In the cloud Terraform sets them; on one machine `weightdrop up` does,
and takes yours where they do not name its own addresses. Lists are separated by commas,
times are in seconds.

| variable | default | meaning |
| --- | --- | --- |
"""
_OPTIONS = """\
# weightdrop.json

An optional file beside `config.json`: what you choose for this folder. It is part of
the folder's digest, so that another choice is another revision. An unknown key or a
wrong value is a finding, and nothing is deployed.

| key | value | default | meaning |
| --- | --- | --- | --- |
"""
_ARGUMENTS = """
`machine_type`, `accelerator_type` and `accelerator_count` are given all three or not
at all.

## Arguments of the engine

`vllm_args` may hold, without a value: {flags}.

With one, as the next word or after `=`: {values}.

A parser that the folder's own files show is chosen without being asked for
([families.md](../families.md)); `--tool-call-parser none` and `--reasoning-parser none`
take it away.
"""
_PHASES = """\
# Phases and reasons

## Phases

A phase rests if nothing happens any more without a new cause.

| phase | rests | leads to |
| --- | --- | --- |
"""
_REASONS = """
## Reasons

Why a revision came to rest; in `reason` of the status and of events.

| reason | can be retried | what to do |
| --- | --- | --- |
"""
_EVENTS = """\
# Events

CloudEvents 1.0 on the topic `weightdrop-events`, in Pub/Sub's binary form: the
attributes `ce-id`, `ce-type`, `ce-source`, `ce-time` and so on, the data as JSON. The
ordering key is the deployment's id. The id of an event follows from what it tells of:
the same event twice has the same id twice, so keep the ids you have seen. Where traces
are collected, `ce-traceparent` names that of the drop: see the guide
[See what a drop did](../guides/observe.md).
The [guide](../guides/events.md) has code.
"""
_COMMANDS = """\
# Command line

Exit status: 0 done, 1 the answer is no (rejected, failed), 2 the call was wrong or the
source cannot be read. With `--json` standard output is one JSON document and everything
else goes to standard error.
"""


def attributes(kind: type) -> dict[str, str]:
    """What a dataclass's docstring says of each of its fields.

    Raises:
        ValueError: If it leaves a field out.
    """
    text = inspect.getdoc(kind) or ""
    section = text.partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    for match in re.finditer(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", section, re.MULTILINE):
        found[match[1]] = re.sub(r"\s+", " ", match[2])
    missing = {field.name for field in fields(kind)} - found.keys()
    if missing:
        raise ValueError(f"{kind.__name__} does not document {sorted(missing)}")
    return found


def _default(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is MISSING or value in ("", ()):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value}`"


def settings_page() -> str:
    """Every setting: its variable, its default, what it does."""
    told = attributes(Settings)
    rows = [
        f"| `{variable(field.name)}` | {_default(field.default)} | {told[field.name]} |"
        for field in fields(Settings)
    ]
    return f"{_NOTE}{_SETTINGS}" + "\n".join(rows) + "\n"


def _bounds(key: str) -> str:
    """What a key of weightdrop.json may hold, in validation's own words."""
    _, findings = read_options(json.dumps({key: {"": None}}).encode())
    return findings[0].detail.partition("it must be ")[2].removesuffix(".")


def options_page() -> str:
    """Every key of weightdrop.json, and the arguments that vllm_args may hold."""
    told = attributes(FolderOptions)
    rows = [
        f"| `{field.name}` | {_bounds(field.name)} | {_default(field.default)} "
        f"| {told[field.name]} |"
        for field in fields(FolderOptions)
    ]
    flags = ", ".join(f"`{name}`" for name in sorted(FLAGS))
    values = ", ".join(f"`{name}`" for name in sorted(VALUES))
    more = _ARGUMENTS.format(flags=flags, values=values)
    return f"{_NOTE}{_OPTIONS}" + "\n".join(rows) + "\n" + more


def reasons_page() -> str:
    """Phases, where they lead, and why a revision came to rest."""
    phases = [
        f"| `{phase.value}` | {'yes' if phase.resting else 'no'} | "
        + ", ".join(f"`{end.value}`" for end in Phase if end in MOVES[phase])
        + " |"
        for phase in Phase
    ]
    reasons = [
        f"| `{reason.value}` | {'yes' if reason.retryable else 'no'} "
        f"| {ADVICE[reason]} |"
        for reason in Reason
        if reason
    ]
    told = "\n".join(phases) + "\n" + _REASONS + "\n".join(reasons) + "\n"
    return f"{_NOTE}{_PHASES}{told}"


def schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema of an event's data."""
    place = resources.files("weightdrop") / "schemas" / f"{event_type}.json"
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


def _kind(part: Mapping[str, Any]) -> str:
    if "enum" in part:
        return " or ".join(f"`{word}`" for word in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    kind = part.get("type", "")
    if kind == "array":
        return f"list of {_kind(part.get('items', {})) or 'values'}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _properties(part: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, inner in part.get("properties", {}).items():
        optional = "" if name in part.get("required", ()) else ", may be absent"
        said = inner.get("description", "")
        yield f"| `{prefix}{name}` | {_kind(inner)}{optional} | {said} |"
        yield from _properties(inner, f"{prefix}{name}.")
        yield from _properties(inner.get("items", {}), f"{prefix}{name}[].")


def events_page() -> str:
    """Every type of event, and what its data holds."""
    parts = [_NOTE, _EVENTS]
    for name in EVENT_TYPES:
        described = schema(name)
        rows = "\n".join(_properties(described))
        parts.append(
            f"\n## {name}\n\n{described['description']}\n\n"
            f"| field | value | meaning |\n| --- | --- | --- |\n{rows}\n"
        )
    return "".join(parts)


def commands() -> dict[str, click.Command]:
    """Every command, by its name."""
    context = click.Context(cli)
    found = {
        name: cli.get_command(context, name) for name in cli.list_commands(context)
    }
    return {name: command for name, command in found.items() if command is not None}


def _help(command: click.Command, name: str) -> str:
    whole = click.Context(cli, info_name="weightdrop", **cli.context_settings)
    whole.terminal_width = whole.max_content_width = _WIDTH
    context = click.Context(command, info_name=name, parent=whole)
    return command.get_help(context)


def command_line_page() -> str:
    """The help of every command."""
    parts = [_NOTE, _COMMANDS]
    for name, command in commands().items():
        said = _help(command, name)
        parts.append(f"\n## {name}\n\n```text\n{said}\n```\n")
    return "".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "options.md": options_page,
    "reasons.md": reasons_page,
    "events.md": events_page,
    "command-line.md": command_line_page,
}
"""Every page, and what writes it."""


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
