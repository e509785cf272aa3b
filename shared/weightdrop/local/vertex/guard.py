"""Keep web pages out: what is deployed here is a command that runs on this machine.

A browser lets any page send requests to loopback. They carry an Origin, or, when
the page's own name was made to resolve to 127.0.0.1, a Host that is not ours.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from weightdrop.local.vertex.faults import ApiError

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_GOOGLE = re.compile(
    r"^([a-z0-9-]+-)?(aiplatform|cloudquotas|monitoring)\.googleapis\.com$"
)


def is_google(host: str) -> bool:
    """Whether a host is one of Google's that the stand-in plays."""
    return _GOOGLE.match(host) is not None


class Guard:
    """Answers only what was sent to this machine, and by no foreign web page.

    Args:
        app: What is guarded.
        dns: Further name that the stand-in has.
    """

    def __init__(self, app: ASGIApp, *, dns: str) -> None:
        self._app = app
        self._own = _LOOPBACK | {_host(dns)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it with 403."""
        if scope["type"] == "http" and (words := self._wrong(scope)):
            error = ApiError("PERMISSION_DENIED", words)
            refusal = JSONResponse(error.body(), status_code=error.http)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _wrong(self, scope: Scope) -> str:
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        host = _host(headers.get("host", ""))
        if host not in self._own and not is_google(host):
            return f"Requests for the host {host!r} are not answered here."
        origin = headers.get("origin", "")
        if origin and _host(urlsplit(origin).netloc) not in self._own:
            return f"Requests of the web page {origin!r} are not answered here."
        return ""


def _host(text: str) -> str:
    """The host of "host:port"."""
    return (urlsplit(f"//{text}").hostname or "").lower()
