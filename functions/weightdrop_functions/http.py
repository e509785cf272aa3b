"""The `status` function: routes, parameters and errors in Google's JSON form.

`weightdrop/schemas/openapi.json` describes it; tests hold the two together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING

from flask import Response

from weightdrop.core.deployment.views import deployment_view
from weightdrop.errors import (
    ConflictError,
    NotFoundError,
    PermanentError,
    TransientError,
    WeightdropError,
)
from weightdrop_functions import page
from weightdrop_functions.deploying import wish

if TYPE_CHECKING:
    from flask import Request

    from weightdrop.bootstrap import App

MAX_BODY_BYTES = 64 * 1024
MAX_WAIT_PARAMETER = 3600
"""Seconds a caller may ask a long poll for; it answers sooner, see services.query."""

_JSON = "application/json"
_ID = r"([a-z0-9][a-z0-9-]{0,62})"
_NUMBER = re.compile(r"[0-9]{1,9}")

_CODES: tuple[tuple[type[WeightdropError], HTTPStatus, str], ...] = (
    (NotFoundError, HTTPStatus.NOT_FOUND, "NOT_FOUND"),
    (ConflictError, HTTPStatus.CONFLICT, "FAILED_PRECONDITION"),
    (PermanentError, HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT"),
    (TransientError, HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    (WeightdropError, HTTPStatus.CONFLICT, "ABORTED"),
)


class RefusedError(PermanentError):
    """A request that is refused before anybody looks at what it asks for.

    Args:
        message: Why, for a person.
        code: The HTTP status.
        name: Google's canonical code.
        headers: Of the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        code: HTTPStatus,
        name: str = "INVALID_ARGUMENT",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.name, self.headers = code, name, dict(headers or {})


Answer = Callable[["App", "Request", str], object]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one kind of path; the path's group is the deployment's id."""

    method: str
    path: re.Pattern[str]
    answer: Answer


def respond(app: App, request: Request) -> Response:
    """The answer to one HTTP request: the page's, or JSON in Google's form."""
    if answer := page.respond(app, request):
        return answer
    try:
        _check(request)
        route, identity = _route(request)
        return _json(route.answer(app, request, identity), HTTPStatus.OK)
    except RefusedError as error:
        return _error(error, error.code, error.name, error.headers)
    except WeightdropError as error:
        _, code, name = next(row for row in _CODES if isinstance(error, row[0]))
        return _error(error, code, name, {})


def _error(
    error: Exception, code: HTTPStatus, name: str, headers: Mapping[str, str]
) -> Response:
    body = {"error": {"code": int(code), "message": str(error), "status": name}}
    response = _json(body, code)
    response.headers.update(headers)
    return response


def _json(body: object, code: HTTPStatus) -> Response:
    text = body if isinstance(body, str) else json.dumps(body) + "\n"
    response = Response(text, status=int(code), mimetype=_JSON)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _check(request: Request) -> None:
    """Refuse what no route takes.

    A page of another site can make a browser post here, where the local stack
    asks nobody for a password; browsers say that they do.
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        raise RefusedError(
            "A page of another site may not call this.",
            code=HTTPStatus.FORBIDDEN,
            name="PERMISSION_DENIED",
        )
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise RefusedError(
            f"The body is larger than {MAX_BODY_BYTES} bytes.",
            code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )


def _route(request: Request) -> tuple[Route, str]:
    path = request.path.rstrip("/") or "/"
    method = "GET" if request.method == "HEAD" else request.method
    matches = [(it, found) for it in ROUTES if (found := it.path.fullmatch(path))]
    if not matches:
        raise NotFoundError(f"There is nothing at {path}")
    for route, found in matches:
        if route.method == method:
            return route, found[1] if found.re.groups else ""
    allowed = sorted({route.method for route, _ in matches})
    raise RefusedError(
        f"{request.method} is not a method of {path}",
        code=HTTPStatus.METHOD_NOT_ALLOWED,
        name="UNIMPLEMENTED",
        headers={"Allow": ", ".join(allowed)},
    )


# ------------------------------------------------------------------- questions


def _root(app: App, request: Request, identity: str) -> object:
    del app, request, identity
    return {
        "service": "weightdrop",
        "deployments": "/deployments",
        "openapi": "/openapi.json",
    }


@cache
def openapi() -> str:
    """The document that describes this function."""
    place = resources.files("weightdrop") / "schemas" / "openapi.json"
    return place.read_text(encoding="utf-8")


def _openapi(app: App, request: Request, identity: str) -> object:
    del app, request, identity
    return openapi()


def _page(app: App, request: Request, identity: str) -> object:
    del identity
    return app.query.page(
        phase=request.args.get("phase", ""),
        size=_number(request, "pageSize", 50),
        token=request.args.get("pageToken", ""),
    )


def _deployment(app: App, request: Request, identity: str) -> object:
    seconds = _number(request, "wait", 0)
    if seconds > MAX_WAIT_PARAMETER:
        raise PermanentError(f"wait must be at most {MAX_WAIT_PARAMETER}")
    phase = request.args.get("phase", "")
    return deployment_view(app.query.wait(identity, seconds=seconds, phase=phase))


def _events(app: App, request: Request, identity: str) -> object:
    del request
    return app.query.events(identity)


def _revisions(app: App, request: Request, identity: str) -> object:
    del request
    return app.query.revisions(identity)


def _number(request: Request, name: str, default: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise PermanentError(f"{name} must be a whole number, not {text!r}")
    return int(text)


# --------------------------------------------------------------------- orders


def _deploy(app: App, request: Request, identity: str) -> object:
    """Deploy weights that are in the bucket already."""
    del identity
    if request.mimetype != _JSON:
        raise RefusedError(
            f"The body must be {_JSON}, not {request.mimetype or 'of no type'}.",
            code=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    # A chunked body has no length to be refused by: read no more than one byte
    # beyond the bound.
    text = request.stream.read(MAX_BODY_BYTES + 1)
    if len(text) > MAX_BODY_BYTES:
        raise RefusedError(
            f"The body is larger than {MAX_BODY_BYTES} bytes.",
            code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )
    wanted = wish(
        text,
        buckets=app.settings.buckets,
        private_projects=app.settings.private_projects,
    )
    found = app.admission.folder(
        wanted.bucket, wanted.prefix, overrides=wanted.overrides
    )
    if found is None:
        place = f"gs://{wanted.bucket}/{wanted.prefix}"
        raise NotFoundError(f"There is no config.json in {place}")
    return deployment_view(found)


def _retry(app: App, request: Request, identity: str) -> object:
    del request
    return deployment_view(app.commands.retry(identity))


def _rollback(app: App, request: Request, identity: str) -> object:
    del request
    return deployment_view(app.commands.rollback(identity))


def _promote(app: App, request: Request, identity: str) -> object:
    del request
    return deployment_view(app.commands.promote(identity))


def _undeploy(app: App, request: Request, identity: str) -> object:
    del request
    return deployment_view(app.commands.undeploy(identity))


_ONE = rf"/deployments/{_ID}"

ROUTES: tuple[Route, ...] = tuple(
    Route(method, re.compile(path), answer)
    for method, path, answer in (
        ("GET", "/", _root),
        ("GET", r"/openapi\.json", _openapi),
        ("GET", "/deployments", _page),
        ("POST", "/deployments:deploy", _deploy),
        ("GET", _ONE, _deployment),
        ("GET", f"{_ONE}/events", _events),
        ("GET", f"{_ONE}/revisions", _revisions),
        ("POST", f"{_ONE}:retry", _retry),
        ("POST", f"{_ONE}:rollback", _rollback),
        ("POST", f"{_ONE}:promote", _promote),
        ("POST", f"{_ONE}:undeploy", _undeploy),
    )
)
"""Everything that the function answers."""
