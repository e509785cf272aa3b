"""From a request for the page to its answer; errors are pages, too."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from weightdrop.errors import (
    ConflictError,
    NotFoundError,
    PermanentError,
    TransientError,
    WeightdropError,
)
from weightdrop_functions.page import deploying, guard, ordering, reading
from weightdrop_functions.page.render import Site, asset, html

if TYPE_CHECKING:
    from flask import Request, Response

    from weightdrop.bootstrap import App

_CODES: tuple[tuple[type[WeightdropError], HTTPStatus, str], ...] = (
    (guard.ForeignError, HTTPStatus.FORBIDDEN, "Not from here"),
    (NotFoundError, HTTPStatus.NOT_FOUND, "Not found"),
    (ConflictError, HTTPStatus.CONFLICT, "Not possible now"),
    (PermanentError, HTTPStatus.BAD_REQUEST, "Not understood"),
    (TransientError, HTTPStatus.SERVICE_UNAVAILABLE, "Not now: try again"),
    (WeightdropError, HTTPStatus.CONFLICT, "Not possible now"),
)


def answer(app: App, request: Request, path: str) -> Response:
    """The page's answer to a request that is for it.

    Args:
        app: The wired application.
        request: The request.
        path: Its path, without a slash at the end.
    """
    _, first, *rest = path.split("/")
    if first == "assets":
        return asset(rest[0])
    site = Site(app, request)
    try:
        guard.check_host(request, app.settings)
        if request.method == "POST":
            guard.check_origin(request)
        return guard.protect(_page(site, first, rest))
    except WeightdropError as error:
        _, code, title = next(row for row in _CODES if isinstance(error, row[0]))
        said = html(site, "error", code=code, title=title, message=str(error))
        return guard.protect(said)


def _page(site: Site, first: str, rest: list[str]) -> Response:
    match first, *rest:
        case "deploy", *_:
            return deploying.answer(site)
        case "deployments", identity:
            return reading.show_one(site, identity)
        case "deployments", identity, order:
            return ordering.answer(site, identity, order=order)
        case _:
            return reading.show_list(site)
