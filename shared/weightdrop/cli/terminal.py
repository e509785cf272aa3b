"""What reaches the terminal: escaped text, colours only for people, JSON."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

_UNSAFE = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
"""Unicode categories that can move the cursor, colour, hide or reorder text."""


def clean(text: object, *, lines: bool = False) -> str:
    """`text` with everything that is no visible character written as an escape.

    Names and messages come from buckets and model servers: they must not be
    able to steer the terminal they are shown on.

    Args:
        text: Anything; its `str` is used.
        lines: Whether line breaks and tabs may stay.
    """
    kept = "\n\t" if lines else ""
    return "".join(
        character
        if character in kept or unicodedata.category(character) not in _UNSAFE
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in str(text)
    )


def out() -> Console:
    """Where facts go: standard output."""
    return _console(stderr=False)


def err() -> Console:
    """Where everything else goes: standard error."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console  # noqa: PLC0415  # --help does without

    return Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True
    )


def emit(document: object) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    sys.stdout.flush()


def emit_list(name: str, pages: Iterable[Sequence[object]]) -> None:
    """Write one JSON document that holds a list, each part of it once it is there."""
    parts, before = iter(pages), ""
    # An error before the first part leaves nothing behind.
    first = next(parts, ())
    sys.stdout.write(f'{{"{name}": [')
    for page in chain([first], parts):
        for one in page:
            sys.stdout.write(f"{before}{json.dumps(one)}")
            before = ",\n"
        sys.stdout.flush()
    sys.stdout.write("]}\n")


def note(message: str) -> None:
    """Write a line for a person to standard error, without colours."""
    click.echo(clean(message, lines=True), err=True)
