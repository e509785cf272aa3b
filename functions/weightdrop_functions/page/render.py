"""From values to HTML: every value is escaped, wherever it came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from weightdrop import __version__
from weightdrop.errors import NotFoundError
from weightdrop_functions.page import words

if TYPE_CHECKING:
    from flask import Request

    from weightdrop.bootstrap import App

_HERE = Path(__file__).parent
_KINDS = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_YEAR = 365 * 86400


@dataclass(frozen=True, slots=True)
class Site:
    """What every answer is made with."""

    app: App
    request: Request

    @property
    def root(self) -> str:
        """The way from the request's path to the page's root.

        Links are relative, because a front end may serve the function below a
        path that the function never sees.
        """
        return "../" * (self.request.path.count("/") - 1) or "./"

    @property
    def local(self) -> bool:
        """Whether this is the stack of one machine, where nothing is paid for."""
        return self.app.settings.backend.one_machine


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        moment=words.moment,
        price=words.price,
        many=words.many,
        bytesize=words.size,
        plain=words.plain,
        accelerator=words.accelerator,
    )
    return environment


def html(
    site: Site, template: str, *, code: HTTPStatus = HTTPStatus.OK, **values: object
) -> Response:
    """A page from `templates/{template}.jinja`."""
    now = site.app.clock.now()
    text = (
        _environment()
        .get_template(f"{template}.jinja")
        .render(
            root=site.root,
            local=site.local,
            version=__version__,
            asset=_address,
            age=lambda then: words.age(then, now),
            **values,
        )
    )
    return Response(text, status=int(code), mimetype="text/html")


def moved(to: str) -> Response:
    """An answer that sends the browser on, to be asked for with GET."""
    response = Response(status=int(HTTPStatus.SEE_OTHER), mimetype="text/html")
    response.headers["Location"] = to
    return response


@cache
def _content(name: str) -> bytes:
    if name not in _KINDS:
        raise NotFoundError(f"There is no file {name}.")
    return (_HERE / "static" / name).read_bytes()


@cache
def _address(name: str) -> str:
    """Where a file of our own is, by its content: it may be kept for ever."""
    return f"assets/{name}?v={hashlib.sha256(_content(name)).hexdigest()[:12]}"


def asset(name: str) -> Response:
    """A file of our own."""
    try:
        response = Response(_content(name), mimetype=_KINDS.get(name, ""))
        response.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    except NotFoundError as error:
        response = Response(
            f"{error}\n", status=int(HTTPStatus.NOT_FOUND), mimetype="text/plain"
        )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response
