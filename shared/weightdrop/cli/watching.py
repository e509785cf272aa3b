"""`status`, and looking at a deployment until it rests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

import click
from rich.console import Group
from rich.live import Live

from weightdrop.cli.client import PAGE_SIZE, StatusClient, View
from weightdrop.cli.completing import deployments
from weightdrop.cli.context import (
    Where,
    find_target,
    json_option,
    naming,
    resolve_id,
    status_client,
    target_options,
)
from weightdrop.cli.render import (
    change,
    deployment_lines,
    deployments_table,
    news_lines,
)
from weightdrop.cli.terminal import emit, emit_list, err, note, out
from weightdrop.core.deployment.phases import RESTING, Phase
from weightdrop.errors import NotFoundError, TransientError

BAD = frozenset({"rejected", "failed"})
_RESTING = frozenset(phase.value for phase in RESTING)
POLL_SECONDS = 1
APPEAR_SECONDS = 60.0
"""By then an object that was copied has been noticed, wherever it was copied to."""

PATIENCE_SECONDS = 30.0
"""A status function that is being restarted is back long before."""


def resting(view: View) -> bool:
    """Whether nothing happens to the deployment any more by itself."""
    return view.get("phase") in _RESTING


def changes(
    client: StatusClient,
    name: str,
    *,
    appear_seconds: float = 0.0,
    quiet_seconds: float = 0.0,
    until: Callable[[View], bool] = resting,
) -> Iterator[View]:
    """Looks at one deployment, one a second or more often, until it rests.

    Args:
        client: Whom to ask.
        name: The deployment's id.
        appear_seconds: How long it may be unknown at first...
        quiet_seconds: ...and how long nothing is said of that.
        until: Whether a look is the last one.

    Raises:
        NotFoundError: If it does not appear.
        TransientError: If nobody answers for half a minute.
    """
    begin = heard = time.monotonic()
    phase, said = "", False
    while True:
        try:
            view = client.deployment(name, wait=POLL_SECONDS, phase=phase)
        except NotFoundError:
            if time.monotonic() - begin > appear_seconds:
                raise
            if not said and time.monotonic() - begin >= quiet_seconds:
                note(f"{name} is not known yet; waiting {appear_seconds:.0f} s for it.")
                said = True
            time.sleep(POLL_SECONDS / 4)
            continue
        except TransientError:
            if time.monotonic() - heard > PATIENCE_SECONDS:
                raise
            time.sleep(POLL_SECONDS)
            continue
        heard = time.monotonic()
        phase = str(view.get("phase", ""))
        yield view
        if until(view):
            return


def follow(views: Iterator[View]) -> View:
    """Show looks at a deployment as they come; the last one is returned.

    On a terminal one picture is kept up to date, elsewhere every change is
    written once, in short. All of it goes to standard error. Ctrl-C ends the
    looking, and nothing else.
    """
    last: View = {}
    try:
        for view in _shown(views):
            last = view
    except KeyboardInterrupt:
        if last:
            note(
                f"{last['id']} goes on by itself: "
                f"`weightdrop status {last['id']} --watch` looks again."
            )
        raise
    return last


def _shown(views: Iterator[View]) -> Iterator[View]:
    console = err()
    if console.is_terminal:
        with Live(console=console, transient=True, refresh_per_second=4) as live:
            for view in views:
                live.update(Group(*deployment_lines(view)))
                yield view
        return
    seen = ""
    for view in views:
        if change(view) != seen:
            seen = change(view)
            for line in news_lines(view):
                console.print(line)
        yield view


@click.command(short_help="Show deployments, or one in full.")
@click.argument("name", metavar="[ID]", default="", shell_complete=deployments)
@click.option("--watch", is_flag=True, help="Keep looking until it rests.")
@click.option(
    "--phase",
    type=click.Choice([phase.value for phase in Phase]),
    default=None,
    metavar="PHASE",
    help="Only deployments in this phase: ready, waiting, failed, …",
)
@json_option
@target_options
def status(
    *, name: str, watch: bool, phase: str | None, as_json: bool, where: Where
) -> int:
    """Show all deployments, or the one called ID (or gs://bucket/prefix) in full.

    Exit status 1 if the one asked for is rejected or failed.
    """
    client = status_client(find_target(where))
    if not name:
        return _status_of_all(client, phase=phase or "", watch=watch, as_json=as_json)
    name = resolve_id(name)
    with naming(client, name):
        if watch:
            view = follow(changes(client, name, appear_seconds=APPEAR_SECONDS))
        else:
            view = client.deployment(name)
    show(view, as_json=as_json)
    return int(view.get("phase") in BAD)


def show(view: View, *, as_json: bool) -> None:
    """Write one deployment to standard output."""
    if as_json:
        emit(view)
        return
    console = out()
    for line in deployment_lines(view):
        console.print(line)


def _status_of_all(
    client: StatusClient, *, phase: str, watch: bool, as_json: bool
) -> int:
    def look() -> list[View]:
        return list(client.deployments(phase=phase))

    views = _watch_all(look) if watch else client.deployments(phase=phase)
    pages = _pages(iter(views))
    if as_json:
        emit_list("deployments", pages)
    elif not _show_all(pages):
        err().print(
            "No deployments yet: copy a model folder into the bucket, or use "
            "`weightdrop drop FOLDER`."
        )
    return 0


def _pages(views: Iterator[View]) -> Iterator[list[View]]:
    """As many at a time as one question brings: the first is shown at once."""
    while page := list(islice(views, PAGE_SIZE)):
        yield page


def _show_all(pages: Iterator[list[View]]) -> bool:
    """Write the tables; returns whether there was anything."""
    shown = False
    for page in pages:
        out().print(deployments_table(page))
        shown = True
    return shown


def _watch_all(look: Callable[[], list[View]]) -> list[View]:
    console = err()
    if not console.is_terminal:
        note("Looking until all of them rest; Ctrl-C ends it.")
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        while True:
            views = look()
            if console.is_terminal:
                live.update(deployments_table(views))
            if views and all(resting(view) for view in views):
                return views
            time.sleep(POLL_SECONDS)
