"""The page for people: read without JavaScript, order with a confirmation.

`respond` answers what a browser asks for at the status function's root; every
other request is left to the JSON interface, and costs it nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Request, Response

    from weightdrop.bootstrap import App

_ONE = re.compile(r"/deployments/[a-z0-9][a-z0-9-]{0,62}")
_ORDER = re.compile(_ONE.pattern + r"/(retry|rollback|promote|undeploy)")
_ASSET = re.compile(r"/assets/[a-z]+\.[a-z]+")


def respond(app: App, request: Request) -> Response | None:
    """The answer for a person; None where a program asks.

    Args:
        app: The wired application.
        request: Any request to the status function.
    """
    path = request.path.rstrip("/") or "/"
    if not _ours(request, path):
        return None
    # Imported when a person looks: programs do not wait for templates.
    from weightdrop_functions.page.answering import answer  # noqa: PLC0415

    return answer(app, request, path)


def _ours(request: Request, path: str) -> bool:
    if path == "/deploy" or _ORDER.fullmatch(path):
        return request.method in {"GET", "HEAD", "POST"}
    if request.method not in {"GET", "HEAD"}:
        return False
    if _ASSET.fullmatch(path):
        return True
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return best == "text/html" and bool(path == "/" or _ONE.fullmatch(path))
