"""The list, and one deployment in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightdrop.core.deployment.phases import Phase
from weightdrop.errors import PermanentError
from weightdrop.services.query import MAX_EVENTS
from weightdrop_functions.page import sight
from weightdrop_functions.page.render import Site, html

if TYPE_CHECKING:
    from flask import Response

PAGE_SIZE = 50
"""Deployments on one page."""


def show_list(site: Site) -> Response:
    """One page of deployments, newest change first."""
    phase = site.request.args.get("phase", "")
    token = site.request.args.get("pageToken", "")
    if phase and phase not in set(Phase):
        raise PermanentError(f"There is no phase {phase!r}.")
    page = site.app.records.page(
        phase=Phase(phase) if phase else None, size=PAGE_SIZE, token=token
    )
    rows = [sight.row(one) for one in page.deployments]
    return html(
        site,
        "list",
        rows=rows,
        phases=list(Phase),
        phase=phase,
        token=token,
        next_token=page.next_token,
        updated=rows[0].deployment.updated.isoformat() if rows else "",
    )


def show_one(site: Site, identity: str) -> Response:
    """One deployment in full."""
    deployment = site.app.query.deployment(identity)
    events = site.app.records.events(identity, limit=MAX_EVENTS)
    orders = site.app.commands.possible(deployment)
    return html(site, "one", it=sight.sight(deployment, events, orders=orders))
