"""`status` and `events`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Group
from rich.live import Live

from weightdrop.cli.client import StatusClient, View
from weightdrop.cli.context import (
    find_target,
    json_option,
    require_status_url,
    resolve_id,
    target_options,
)
from weightdrop.cli.render import (
    change,
    deployment_lines,
    deployments_table,
    event_line,
)
from weightdrop.cli.terminal import emit, err, out
from weightdrop.core.deployment.events import EVENTS_TOPIC
from weightdrop.core.deployment.phases import RESTING
from weightdrop.errors import NotFoundError, TransientError
from weightdrop.settings import Settings

BAD = frozenset({"rejected", "failed"})
_RESTING = frozenset(phase.value for phase in RESTING)
POLL_SECONDS = 1
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
    phase = ""
    while True:
        try:
            view = client.deployment(name, wait=POLL_SECONDS, phase=phase)
        except NotFoundError:
            if time.monotonic() - begin > appear_seconds:
                raise
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
@click.argument("name", metavar="[ID]", default="")
@click.option("--watch", is_flag=True, help="Keep looking until it rests.")
@click.option("--phase", default="", help="Only deployments in this phase.")
@json_option
@target_options
def status(
    *, name: str, watch: bool, phase: str, as_json: bool, home: Path | None, url: str
) -> int:
    """Show all deployments, or the one called ID (or gs://bucket/prefix) in full.

    Exit status 1 if the one asked for is rejected or failed.
    """
    client = StatusClient(require_status_url(find_target(home=home, url=url)))
    if not name:
        return _status_of_all(client, phase=phase, watch=watch, as_json=as_json)
    name = resolve_id(name)
    view = follow(changes(client, name)) if watch else client.deployment(name)
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

    views = _watch_all(look) if watch else look()
    if as_json:
        emit({"deployments": views})
    elif views:
        out().print(deployments_table(views))
    else:
        err().print(
            "No deployments yet: copy a model folder into the bucket, or use "
            "`weightdrop drop FOLDER`."
        )
    return 0


def _watch_all(look: Callable[[], list[View]]) -> list[View]:
    console = err()
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        while True:
            views = look()
            if console.is_terminal:
                live.update(deployments_table(views))
            if views and all(resting(view) for view in views):
                return views
            time.sleep(POLL_SECONDS)


@click.command(short_help="Show what was told to the world.")
@click.argument("name", metavar="[ID]", default="")
@click.option("--follow", "follows", is_flag=True, help="Go on as events come.")
@json_option
@target_options
def events(
    *, name: str, follows: bool, as_json: bool, home: Path | None, url: str
) -> int:
    """Show the events of all deployments, or of the one called ID, in order.

    With --follow and --json every event is a JSON document on a line of its own.
    """
    target = find_target(home=home, url=url)
    client = StatusClient(require_status_url(target))
    chosen = resolve_id(name) if name else ""
    if follows:
        stream = (
            subscription(target.settings, chosen)
            if target.bucket
            else event_stream(client, chosen)
        )
        with suppress(KeyboardInterrupt):  # the way to end it
            for event in stream:
                _print_event(event, as_json=as_json)
        return 0
    found = _all_events(client, chosen)
    if as_json:
        emit({"events": found})
    else:
        for event in found:
            _print_event(event, as_json=False)
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


def _all_events(client: StatusClient, name: str) -> list[View]:
    names = [name] if name else [str(view["id"]) for view in client.deployments()]
    found = [event for each in names for event in client.events(each)]
    return sorted(found, key=lambda event: (str(event.get("time")), str(event["id"])))


def event_stream(client: StatusClient, name: str = "") -> Iterator[View]:
    """Events as they come, those that are there already first; each once.

    Raises:
        TransientError: If nobody answers for half a minute.
    """
    seen: set[str] = set()
    heard = time.monotonic()
    while True:
        try:
            found = _all_events(client, name)
        except TransientError:
            if time.monotonic() - heard > PATIENCE_SECONDS:
                raise
            time.sleep(POLL_SECONDS)
            continue
        heard = time.monotonic()
        for event in found:
            if event["id"] not in seen:
                seen.add(str(event["id"]))
                yield event
        time.sleep(POLL_SECONDS)
