"""Retry, rollback, promote and undeploy: asked for, confirmed, then given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightdrop.errors import ConflictError
from weightdrop_functions.page import sight
from weightdrop_functions.page.render import Site, html, moved

if TYPE_CHECKING:
    from flask import Response


def answer(site: Site, identity: str, *, order: str) -> Response:
    """Ask whether the order is meant, or give it where it was confirmed.

    Raises:
        NotFoundError: If there is no such deployment.
        ConflictError: If it does not take this order now.
    """
    commands = site.app.commands
    orders = {
        "retry": commands.retry,
        "rollback": commands.rollback,
        "promote": commands.promote,
        "undeploy": commands.undeploy,
    }
    if site.request.method == "POST":
        orders[order](identity)
        return moved(f"{site.root}deployments/{identity}")
    deployment = site.app.query.deployment(identity)
    if order not in commands.possible(deployment):
        raise ConflictError(
            f"{identity} is {deployment.phase.value}: there is nothing to {order}."
        )
    return html(site, "confirm", row=sight.row(deployment), order=order)
