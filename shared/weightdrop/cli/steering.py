"""`retry`, `rollback`, `promote` and `undeploy`."""

from __future__ import annotations

from collections.abc import Callable

import click

from weightdrop.cli.client import View
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
from weightdrop.cli.watching import BAD, changes, follow, resting, show


def _command(verb: str, text: str, goal: str) -> click.Command:
    @click.command(name=verb, short_help=text, help=f"{text} ID may be gs://… too.")
    @click.argument("name", metavar="ID", shell_complete=deployments)
    @click.option("--watch", is_flag=True, help=f"Keep looking until it is {goal}.")
    @json_option
    @target_options
    def command(*, name: str, watch: bool, as_json: bool, where: Where) -> int:
        client = status_client(find_target(where))
        chosen = resolve_id(name)
        with naming(client, chosen):
            view = client.act(chosen, verb)
        if watch:
            view = follow(changes(client, chosen, until=_ends(verb)))
        show(view, as_json=as_json)
        return int(view.get("phase") in BAD)

    return command


def _ends(verb: str) -> Callable[[View], bool]:
    """Whether an order has been carried out.

    An order that has to wait is remembered: until then the view names it.
    """
    if verb != "undeploy":
        return lambda view: resting(view) and not view.get("ordered")
    return lambda view: resting(view) and view.get("phase") != "ready"


retry = _command("retry", "Try a failed or undeployed drop again.", "ready")
rollback = _command("rollback", "Go back to the revision before.", "ready")
promote = _command("promote", "Give the canary all traffic.", "ready")
undeploy = _command(
    "undeploy", "Take a deployment down; its files and its id stay.", "gone"
)
