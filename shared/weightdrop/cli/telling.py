"""`events`: what was told to the world."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice, takewhile

import click

from weightdrop.cli.client import StatusClient, View
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
from weightdrop.cli.render import event_line
from weightdrop.cli.terminal import emit, note, out
from weightdrop.cli.watching import PATIENCE_SECONDS, POLL_SECONDS
from weightdrop.core.deployment.events import EVENTS_TOPIC
from weightdrop.errors import TransientError
from weightdrop.settings import Settings

RECENT = 20
"""Deployments whose events are shown where none is named: those that changed last."""

_PARALLEL = 8


@click.command(short_help="Show what was told to the world.")
@click.argument("name", metavar="[ID]", default="", shell_complete=deployments)
@click.option("--follow", "follows", is_flag=True, help="Go on as events come.")
@click.option(
    "--recent",
    type=click.IntRange(1),
    metavar="N",
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
    with naming(client, chosen):
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
