"""The `status` function: routes, parameters and errors in Google's JSON form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http import HTTPStatus
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

if TYPE_CHECKING:
    from flask import Request

    from weightdrop.bootstrap import App

_ID = r"[a-z0-9][a-z0-9-]{0,62}"
_ONE = re.compile(rf"/deployments/({_ID})")
_EVENTS = re.compile(rf"/deployments/({_ID})/events")
_ORDER = re.compile(rf"/deployments/({_ID}):(retry|rollback|undeploy)")
_GCS = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220})/?(.*)")
MAX_BODY_BYTES = 64 * 1024

_CODES: tuple[tuple[type[WeightdropError], HTTPStatus, str], ...] = (
    (NotFoundError, HTTPStatus.NOT_FOUND, "NOT_FOUND"),
    (ConflictError, HTTPStatus.CONFLICT, "FAILED_PRECONDITION"),
    (PermanentError, HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT"),
    (TransientError, HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    (WeightdropError, HTTPStatus.CONFLICT, "ABORTED"),
)


def respond(app: App, request: Request) -> Response:
    """The answer to one HTTP request; every error has Google's form."""
    try:
        return _json(_route(app, request), HTTPStatus.OK)
    except WeightdropError as error:
        _, code, name = next(row for row in _CODES if isinstance(error, row[0]))
        body = {"error": {"code": int(code), "message": str(error), "status": name}}
        return _json(body, code)


def _json(body: object, code: HTTPStatus) -> Response:
    response = Response(
        json.dumps(body) + "\n", status=int(code), mimetype="application/json"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _route(app: App, request: Request) -> object:
    path = request.path.rstrip("/") or "/"
    if request.method in {"GET", "HEAD"}:
        return _read(app, request, path)
    if request.method == "POST":
        return _order(app, request, path)
    raise PermanentError(f"{request.method} is not a method of {path}")


def _read(app: App, request: Request, path: str) -> object:
    if path == "/":
        return {"service": "weightdrop", "deployments": "/deployments"}
    if path == "/deployments":
        return app.query.page(
            phase=request.args.get("phase", ""),
            size=int(_number(request, "pageSize", 50)),
            token=request.args.get("pageToken", ""),
        )
    if match := _EVENTS.fullmatch(path):
        return app.query.events(match[1])
    if match := _ONE.fullmatch(path):
        seconds = _number(request, "wait", 0)
        phase = request.args.get("phase", "")
        if seconds:
            found = app.query.wait(match[1], seconds=seconds, phase=phase)
        else:
            found = app.query.deployment(match[1])
        return deployment_view(found)
    raise NotFoundError(f"There is nothing at {path}")


def _number(request: Request, name: str, default: float) -> float:
    text = request.args.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError as error:
        raise PermanentError(f"{name} must be a number, not {text!r}") from error
    if not 0 <= value < 1e6:  # noqa: PLR2004 - no parameter is larger
        raise PermanentError(f"{name} is out of range: {text!r}")
    return value


def _order(app: App, request: Request, path: str) -> object:
    if path == "/deployments:deploy":
        return _deploy(app, request)
    match = _ORDER.fullmatch(path)
    if not match:
        raise NotFoundError(f"There is nothing to POST to at {path}")
    orders: dict[str, Callable[[str], object]] = {
        "retry": lambda one: deployment_view(app.commands.retry(one)),
        "rollback": lambda one: deployment_view(app.commands.rollback(one)),
        "undeploy": lambda one: deployment_view(app.commands.undeploy(one)),
    }
    return orders[match[2]](match[1])


def _deploy(app: App, request: Request) -> object:
    """Deploy weights that are in the bucket already."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise PermanentError("The body is larger than 64 KiB.")
    try:
        body = json.loads(request.get_data(cache=False))
        model = body.get("custom_model") or body["customModel"]
        uri = model.get("gcs_uri") or model["gcsUri"]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise PermanentError(
            'The body must be JSON with {"custom_model": {"gcs_uri": "gs://…"}}.'
        ) from error
    match = _GCS.fullmatch(uri) if isinstance(uri, str) else None
    if not match or match[1] not in app.settings.buckets:
        raise PermanentError("gcs_uri must name a folder of a watched bucket.")
    others = sorted(set(body) - {"custom_model", "customModel", "destination"})
    if others:
        raise PermanentError(
            f"{', '.join(others)}: put these choices into weightdrop.json beside "
            "config.json."
        )
    found = app.admission.folder(match[1], match[2].strip("/"))
    if found is None:
        raise NotFoundError(f"There is no config.json in {uri}")
    return deployment_view(found)
