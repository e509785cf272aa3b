"""`status` and `events`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice, takewhile

import click
from rich.console import Group
from rich.live import Live

from weightdrop.cli.client import PAGE_SIZE, StatusClient, View
from weightdrop.cli.completing import deployments
from weightdrop.cli.context import (
    Where,
    find_target,
    json_option,
    resolve_id,
    status_client,
    target_options,
)
from weightdrop.cli.render import (
    change,
    deployment_lines,
    deployments_table,
    event_line,
)
from weightdrop.cli.terminal import emit, emit_list, err, note, out
from weightdrop.core.deployment.events import EVENTS_TOPIC
from weightdrop.core.deployment.phases import RESTING
from weightdrop.errors import NotFoundError, TransientError
from weightdrop.settings import Settings

BAD = frozenset({"rejected", "failed"})
_PARALLEL = 8
_RESTING = frozenset(phase.value for phase in RESTING)
POLL_SECONDS = 1
APPEAR_SECONDS = 60.0
"""By then an object that was copied has been noticed, wherever it was copied to."""

RECENT = 20
"""Deployments whose events are shown where none is named: those that changed last."""

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
    until: Callable[[View], bool] = resting,
) -> Iterator[View]:
    """Looks at one deployment, one a second or more often, until it rests.

    Args:
        client: Whom to ask.
        name: The deployment's id.
        appear_seconds: How long it may be unknown at first.
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
            if not said:
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
    written once. All of it goes to standard error.
    """
    console = err()
    last: View = {}
    if console.is_terminal:
        with Live(console=console, transient=True, refresh_per_second=4) as live:
            for last in views:
                live.update(Group(*deployment_lines(last)))
        return last
    seen = ""
    for last in views:
        if change(last) != seen:
            seen = change(last)
            for line in deployment_lines(last):
                console.print(line)
    return last


@click.command(short_help="Show deployments, or one in full.")
@click.argument("name", metavar="[ID]", default="", shell_complete=deployments)
@click.option("--watch", is_flag=True, help="Keep looking until it rests.")
@click.option("--phase", default="", help="Only deployments in this phase.")
@json_option
@target_options
def status(*, name: str, watch: bool, phase: str, as_json: bool, where: Where) -> int:
    """Show all deployments, or the one called ID (or gs://bucket/prefix) in full.

    Exit status 1 if the one asked for is rejected or failed.
    """
    client = status_client(find_target(where))
    if not name:
        return _status_of_all(client, phase=phase, watch=watch, as_json=as_json)
    name = resolve_id(name)
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


@click.command(short_help="Show what was told to the world.")
@click.argument("name", metavar="[ID]", default="", shell_complete=deployments)
@click.option("--follow", "follows", is_flag=True, help="Go on as events come.")
@click.option(
    "--recent",
    type=click.IntRange(1),
    default=RECENT,
    show_default=True,
    help="Without ID: how many deployments' events, those that changed last.",
)
@json_option
@target_options
def events(
    *, name: str, follows: bool, recent: int, as_json: bool, where: Where
) -> int:
    """Show the events of the deployment called ID, in order.

    Without ID they are those of the deployments that changed last. With --follow
    and --json every event is a JSON document on a line of its own.
    """
    target = find_target(where)
    client = status_client(target)
    chosen = resolve_id(name) if name else ""
    if follows:
        note("Events as they come; Ctrl-C ends it.")
        stream = (
            subscription(target.settings, chosen)
            if target.local
            else event_stream(client, chosen, recent=recent)
        )
        with suppress(KeyboardInterrupt):  # the way to end it
            for event in stream:
                _print_event(event, as_json=as_json)
        return 0
    names = [chosen] if chosen else [_id(it) for it in _recent(client, recent)]
    found = _events_of(client, names)
    if as_json:
        emit({"events": found})
    else:
        for event in found:
            _print_event(event, as_json=False)
        if not found:
            note("Nothing was told yet; --follow waits for it.")
    return 0


def subscription(
    settings: Settings, name: str = "", *, from_start: bool = True
) -> Iterator[View]:
    """What a subscriber of the local stack's events topic receives, as it comes.

    Args:
        settings: With the local stack's home.
        name: Only events of this deployment, if given.
        from_start: Whether events that were told before are received too.
    """
    from weightdrop.bootstrap import App  # noqa: PLC0415  # only --follow needs it

    with App(settings).follower.follow(EVENTS_TOPIC, from_start=from_start) as messages:
        for message in messages:
            if not name or message.ordering_key == name:
                yield {
                    "id": message.id,
                    "type": message.type,
                    "time": message.time.isoformat(),
                    "data": json.loads(message.data),
                }


def _print_event(event: View, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(event))
    else:
        out().print(event_line(event))


def _id(view: View) -> str:
    return str(view["id"])


def _recent(client: StatusClient, count: int) -> list[View]:
    return list(islice(client.deployments(size=min(count, 100)), count))


def _events_of(client: StatusClient, names: list[str]) -> list[View]:
    """The events of some deployments, asked for side by side."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # lazy

    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = [event for events in pool.map(client.events, names) for event in events]
    return sorted(found, key=lambda event: (str(event.get("time")), str(event["id"])))


def event_stream(
    client: StatusClient, name: str = "", *, recent: int = RECENT
) -> Iterator[View]:
    """Events as they come, those that are there already first; each once.

    Args:
        client: Whom to ask.
        name: Only events of this deployment, if given.
        recent: How many deployments' earlier events are told, those that changed last.

    Raises:
        TransientError: If nobody answers for half a minute.
    """
    seen: set[str] = set()
    updates: dict[str, object] = {}
    heard = time.monotonic()
    while True:
        try:
            changed = _changed(client, name, updates, recent=recent)
            found = _events_of(client, [_id(view) for view in changed])
        except TransientError:
            if time.monotonic() - heard > PATIENCE_SECONDS:
                raise
            time.sleep(POLL_SECONDS)
            continue
        heard = time.monotonic()
        updates |= {_id(view): view["updated"] for view in changed}
        for event in found:
            if event["id"] not in seen:
                seen.add(str(event["id"]))
                yield event
        time.sleep(POLL_SECONDS)


def _changed(
    client: StatusClient, name: str, updates: dict[str, object], *, recent: int
) -> list[View]:
    """What was written since the last look: lists begin with what changed last."""
    if name:
        views = [client.deployment(name)]
    elif not updates:
        return _recent(client, recent)
    else:
        oldest = min(map(str, updates.values()))
        views = list(
            takewhile(
                lambda view: str(view["updated"]) >= oldest,
                client.deployments(size=RECENT),
            )
        )
    return [view for view in views if updates.get(_id(view)) != view["updated"]]
