"""Who may call the page, and what a browser may do with its answers.

The page gives orders that cost money, and the local stack asks nobody for a
password: a page of another site must not be able to give them through a
visitor's browser, nor reach it by a name that it made point at this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from weightdrop.errors import PermanentError
from weightdrop.settings import Settings

if TYPE_CHECKING:
    from flask import Request, Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Only files of our own are run or shown; nobody may put the page in a frame."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: that would take the Origin from the page's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class ForeignError(PermanentError):
    """The request came from another site, or for another one."""


def check_host(request: Request, settings: Settings) -> None:
    """Refuse names that are not this machine's, where it asks for no password.

    Raises:
        ForeignError: For any other name.
    """
    if not settings.backend.one_machine:
        return
    asked = urlsplit(f"//{request.host}").hostname
    if asked not in _LOOPBACK | {urlsplit(settings.base_url).hostname}:
        raise ForeignError("The local stack answers to 127.0.0.1 and localhost only.")


def check_origin(request: Request) -> None:
    """Refuse a form that was not sent by the page itself.

    Browsers say where a request comes from and let no page lie about it. The
    Origin counts where there is no better word; one of both there must be.

    Raises:
        ForeignError: If it was sent from elsewhere, or by nobody knows whom.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        same = site == "same-origin"
    else:
        origin = request.headers.get("Origin", "")
        same = bool(origin) and urlsplit(origin).netloc == request.host
    if not same:
        raise ForeignError(
            "This order was not given on this page. Open the page and give it there; "
            "programs use the JSON interface."
        )


def protect(response: Response) -> Response:
    """Give an answer its headers."""
    response.headers.update(HEADERS)
    return response
