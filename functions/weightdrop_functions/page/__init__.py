"""The page for people: read without JavaScript, order with a confirmation.

`respond` answers what a browser asks for at the status function's root; every
other request is left to the JSON interface.
"""

from __future__ import annotations

import re
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

_ID = r"([a-z0-9][a-z0-9-]{0,62})"
_ONE = re.compile(rf"/deployments/{_ID}")
_ORDER = re.compile(rf"/deployments/{_ID}/(retry|rollback|undeploy)")
_ASSET = re.compile(r"/assets/([a-z]+\.[a-z]+)")

_CODES: tuple[tuple[type[WeightdropError], HTTPStatus, str], ...] = (
    (guard.ForeignError, HTTPStatus.FORBIDDEN, "Not from here"),
    (NotFoundError, HTTPStatus.NOT_FOUND, "Not found"),
    (ConflictError, HTTPStatus.CONFLICT, "Not possible now"),
    (PermanentError, HTTPStatus.BAD_REQUEST, "Not understood"),
    (TransientError, HTTPStatus.SERVICE_UNAVAILABLE, "Not now: try again"),
    (WeightdropError, HTTPStatus.CONFLICT, "Not possible now"),
)


def respond(app: App, request: Request) -> Response | None:
    """The answer for a person; None where a program asks.

    Args:
        app: The wired application.
        request: Any request to the status function.
    """
    path = request.path.rstrip("/") or "/"
    if match := _ASSET.fullmatch(path):
        return asset(match[1])
    if not _ours(request, path):
        return None
    site = Site(app, request)
    try:
        guard.check_host(request, app.settings)
        if request.method == "POST":
            guard.check_origin(request)
        return guard.protect(_answer(site, path))
    except WeightdropError as error:
        _, code, title = next(row for row in _CODES if isinstance(error, row[0]))
        answer = html(site, "error", code=code, title=title, message=str(error))
        return guard.protect(answer)


def _ours(request: Request, path: str) -> bool:
    if path == "/deploy" or _ORDER.fullmatch(path):
        return request.method in {"GET", "HEAD", "POST"}
    if request.method not in {"GET", "HEAD"}:
        return False
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return best == "text/html" and bool(path == "/" or _ONE.fullmatch(path))


def _answer(site: Site, path: str) -> Response:
    if path == "/":
        return reading.show_list(site)
    if path == "/deploy":
        return deploying.answer(site)
    if match := _ORDER.fullmatch(path):
        return ordering.answer(site, match[1], order=match[2])
    if match := _ONE.fullmatch(path):
        return reading.show_one(site, match[1])
    raise NotFoundError(f"There is nothing at {path}")
