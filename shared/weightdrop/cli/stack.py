"""`up`: the local stack in this process."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict, replace
from pathlib import Path

import click

from weightdrop.cli.terminal import clean, emit
from weightdrop.local.supervisor.layout import DEFAULT_BUCKET, DEFAULT_PORT, Layout
from weightdrop.local.supervisor.stack import Stack
from weightdrop.local.supervisor.supervisor import Supervisor
from weightdrop.settings import Settings, home_folder, load


@click.command(short_help="Run the local stack until Ctrl-C.")
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    help="Folder of all its state.  [default: ~/.weightdrop]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    default=DEFAULT_PORT,
    show_default=True,
    help="First of its ports; 0 takes free ones, the same the next time.",
)
@click.option(
    "--bucket",
    metavar="NAME",
    default=DEFAULT_BUCKET,
    show_default=True,
    help="Bucket to watch.",
)
@click.option(
    "--emulators",
    is_flag=True,
    help="Keep records and messages on Google's emulators of Firestore and Pub/Sub.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print what is where as JSON, once ready."
)
def up(
    *, home: Path | None, port: int, bucket: str, emulators: bool, as_json: bool
) -> int:
    """Run the whole of Weightdrop on this machine, with real vLLM, until Ctrl-C.

    For trying, developing and testing: it asks nobody for a password, and
    binds 127.0.0.1 only.
    """
    settings = load() if home is None else replace(load(), home=home)
    layout = Layout(
        home=home_folder(settings), port=port, bucket=bucket, emulators=emulators
    )
    begin = time.monotonic()

    def say(line: str) -> None:
        click.echo(clean(line, lines=True), err=True)

    def ready(stack: Stack) -> None:
        took = time.monotonic() - begin
        if as_json:
            emit(asdict(stack))
        say(_where(stack, took=took))

    say(
        "Weightdrop's local stack is for trying, developing and testing; "
        "it binds 127.0.0.1 only."
    )
    Supervisor(layout, say=say, ready=ready).run()
    say("Everything is stopped.")
    return 0


def _where(stack: Stack, *, took: float) -> str:
    usual = stack.home == str(home_folder(Settings()))
    where = "" if usual else f" --home {shlex.quote(stack.home)}"
    rows = (
        ("page", stack.urls["status"]),
        ("bucket", f"gs://{stack.bucket} is the folder {stack.folder}"),
        ("storage", stack.urls["bucket"]),
        ("vertex", stack.urls["vertex"]),
        ("logs", str(Path(stack.home, "logs"))),
        ("drop", f"weightdrop drop FOLDER --watch{where}"),
        ("", f"or: cp -r FOLDER {shlex.quote(stack.folder)}/"),
        ("watch", f"weightdrop status --watch{where}"),
        ("ask", f"weightdrop ask ID PROMPT{where}"),
    )
    lines = [f"Ready after {took:.1f} s. Ctrl-C stops everything."]
    return "\n".join(lines + [f"  {name:<8} {text}" for name, text in rows])
