"""`dead-letters`."""

from __future__ import annotations

from dataclasses import asdict, replace

import click

from weightdrop.cli.context import (
    Target,
    Where,
    find_target,
    json_option,
    target_options,
)
from weightdrop.cli.terminal import clean, emit, note, out
from weightdrop.errors import UsageError
from weightdrop.ports import DeadLetter
from weightdrop.settings import Backend, Settings, home_folder

MAX_LETTERS = 1_000
"""How many are shown at most."""

_DATA = 120
"""Characters of a letter's body that a person is shown."""


@click.command(short_help="Show what could not be handled.")
@click.option(
    "--redrive",
    "chosen",
    multiple=True,
    metavar="LETTER",
    help="Publish this one again where it came from; may be repeated.",
)
@json_option
@target_options
def dead_letters(*, chosen: tuple[str, ...], as_json: bool, where: Where) -> int:
    """Show the messages that could not be handled, each with its reason.

    Mend the cause first, then send them on their way again with --redrive.
    Against the cloud it speaks to Pub/Sub with your own credentials.
    """
    from weightdrop.bootstrap import App  # noqa: PLC0415  # --help does without

    port = App(_settings(find_target(where))).dead_letters
    if chosen:
        letters = tuple(port.redrive(one) for one in chosen)
    else:
        letters = port.letters(limit=MAX_LETTERS)
    if as_json:
        views = [asdict(it) | {"time": it.time.isoformat()} for it in letters]
        emit({"redriven" if chosen else "deadLetters": views})
        return 0
    for letter in letters:
        out().print(_line(letter))
    if chosen:
        note(f"{len(letters)} published again.")
    elif not letters:
        note("There are no dead letters.")
    return 0


def _settings(target: Target) -> Settings:
    """The settings of the stack or cloud whose letters are looked at."""
    settings = target.settings
    queue = home_folder(settings) / "queue.db"
    if target.local or settings.backend is Backend.LOCAL:
        return settings
    if settings.project != Settings().project:
        return settings
    if queue.is_file():
        return replace(settings, backend=Backend.LOCAL)
    raise UsageError(
        f"There is no local stack in {home_folder(settings)}; name the cloud with "
        "--project."
    )


def _line(letter: DeadLetter) -> str:
    text = letter.data if len(letter.data) <= _DATA else letter.data[:_DATA] + "…"
    when = letter.time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    origin = letter.origin or "unknown topic"
    return clean(
        f"{letter.id}  {when}  {origin}  {letter.reason}\n    {text}", lines=True
    )
