"""The status function's HTTP interface, as the commands use it."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from weightdrop.errors import (
    ConflictError,
    NotFoundError,
    PermanentError,
    TransientError,
    UsageError,
    WeightdropError,
)

View = dict[str, Any]
"""A JSON object of the status function."""

TIMEOUT_SECONDS = 30.0
PAGE_SIZE = 100
"""Deployments that one question brings, if nobody says otherwise."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_KINDS: dict[int, type[WeightdropError]] = {
    400: UsageError,
    401: PermanentError,
    403: PermanentError,
    404: NotFoundError,
    409: ConflictError,
}


class StatusClient:
    """Speaks to one status function.

    Args:
        url: Its base URL.
        token: Gives an identity token; asked for over https:// alone.
    """

    def __init__(self, url: str, *, token: Callable[[], str] | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{url!r} is no http:// or https:// address.")
        self._url = url.rstrip("/")
        self._token = token if parts.scheme == "https" else None
        near = parts.hostname in _LOOPBACK
        proxies = [urllib.request.ProxyHandler({})] if near else []
        self._opener = urllib.request.build_opener(*proxies)

    def deployments(self, *, phase: str = "", size: int = PAGE_SIZE) -> Iterator[View]:
        """All deployments, newest update first, of one phase if given.

        Args:
            phase: Leave the others out.
            size: How many are asked for at a time.
        """
        token = ""
        while True:
            page = self._call(
                "/deployments", phase=phase, pageSize=str(size), pageToken=token
            )
            yield from page["deployments"]
            token = page.get("nextPageToken", "")
            if not token:
                return

    def deployment(self, name: str, *, wait: int = 0, phase: str = "") -> View:
        """One deployment.

        Args:
            name: Its id.
            wait: Seconds for which the answer may be held back, as long as...
            phase: ...this is still its phase.

        Raises:
            NotFoundError: If there is none of this id.
        """
        held = {"wait": str(wait), "phase": phase} if wait and phase else {}
        return self._call(f"/deployments/{_quoted(name)}", **held)

    def events(self, name: str) -> list[View]:
        """The newest events of one deployment, oldest first."""
        answer = self._call(f"/deployments/{_quoted(name)}/events")
        events: list[View] = answer["events"]
        return events

    def act(self, name: str, verb: str) -> View:
        """Do `retry`, `rollback`, `promote` or `undeploy`.

        Raises:
            ConflictError: If its phase does not allow it.
        """
        return self._call(f"/deployments/{_quoted(name)}:{verb}", method="POST")

    def _call(self, path: str, *, method: str = "GET", **query: str) -> View:
        given = {name: text for name, text in query.items() if text}
        address = self._url + path
        if given:
            address += "?" + urllib.parse.urlencode(given)
        request = urllib.request.Request(  # noqa: S310  # the scheme was checked
            address, method=method, data=b"{}" if method == "POST" else None
        )
        request.add_header("Content-Type", "application/json")
        if self._token:
            # Not sent on where the answer leads elsewhere.
            request.add_unredirected_header("Authorization", f"Bearer {self._token()}")
        wait = float(given.get("wait", 0))
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS + wait) as answer:
                view: View = json.load(answer)
        except urllib.error.HTTPError as error:
            raise _translated(error, path, url=self._url) from error
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(
                f"The status function at {self._url} does not answer ({error}): "
                + ("look at --url." if self._token else "is `weightdrop up` running?")
            ) from error
        except ValueError as error:
            raise PermanentError(
                f"What answers at {self._url} is no status function: check --url."
            ) from error
        return view


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


_WHAT_TO_DO = {
    401: "Log in with `gcloud auth login`; over http:// no token is sent.",
    403: "Ask whoever runs it to add you to `status_invokers` in Terraform, and log "
    "in with `gcloud auth login`.",
    404: "Look at --url, --project and --region.",
}


def _translated(
    error: urllib.error.HTTPError, path: str, *, url: str
) -> WeightdropError:
    body = error.read(65536)
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        message = f"{url} answered {error.code} to {path}. "
        message += _WHAT_TO_DO.get(error.code, "Try again in a moment.")
    if error.code in _KINDS:
        return _KINDS[error.code](message)
    return TransientError(message)
