"""Google's clients, made when they are needed, one of each kind and region."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from weightdrop.adapters.vertex import lean

_STABLE, _BETA = "google.cloud.aiplatform_v1", "google.cloud.aiplatform_v1beta1"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_RETRY_FIRST, _RETRY_LONGEST, _RETRY_ALL = 0.5, 4.0, 20.0
"""Seconds: first pause, longest pause, all tries of one call together."""


class Clients:
    """Clients for one project, over REST; safe for several threads.

    Args:
        endpoint: Base URL of a stand-in, spoken to without credentials; empty
            for Google's service with the default credentials.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], Any] = {}

    def base(self, region: str) -> str:
        """Base URL of the API in a region."""
        return self._endpoint or f"https://{region}-aiplatform.googleapis.com"

    def endpoints(self, region: str, *, beta: bool = False) -> Any:
        """The EndpointServiceClient, of v1beta1 if `beta`."""

        def make() -> Any:
            version = _BETA if beta else _STABLE
            found = lean.service(version, "endpoint_service")
            return found.EndpointServiceClient(**self._options(region))

        return self._once("beta" if beta else "endpoints", region, make)

    def models(self, region: str) -> Any:
        """The ModelServiceClient."""

        def make() -> Any:
            found = lean.service(_STABLE, "model_service")
            return found.ModelServiceClient(**self._options(region))

        return self._once("models", region, make)

    def http(self) -> Any:
        """A requests session that carries the credentials."""

        def make() -> Any:
            if self._endpoint:
                import requests  # noqa: PLC0415  # costs a cold start

                return requests.Session()
            import google.auth  # noqa: PLC0415  # costs a cold start
            from google.auth.transport.requests import (  # noqa: PLC0415
                AuthorizedSession,
            )

            credentials, _ = google.auth.default(scopes=[_SCOPE])
            return AuthorizedSession(credentials)

        return self._once("http", "", make)

    def _options(self, region: str) -> dict[str, Any]:
        options: dict[str, Any] = {
            "transport": "rest",
            "client_options": {"api_endpoint": self.base(region)},
        }
        if self._endpoint:
            from google.auth.credentials import (  # noqa: PLC0415
                AnonymousCredentials,
            )

            options["credentials"] = AnonymousCredentials()
        return options

    def _once(self, kind: str, region: str, make: Callable[[], Any]) -> Any:
        with self._lock:
            if (kind, region) not in self._made:
                self._made[kind, region] = make()
            return self._made[kind, region]


def retry() -> Any:
    """Repeat what may be repeated: every call of ours may, its ids are derived."""
    import requests  # noqa: PLC0415  # costs a cold start
    from google.api_core import exceptions  # noqa: PLC0415
    from google.api_core.retry import Retry, if_exception_type  # noqa: PLC0415

    return Retry(
        predicate=if_exception_type(
            exceptions.BadGateway,
            exceptions.ServiceUnavailable,
            requests.ConnectionError,
        ),
        initial=_RETRY_FIRST,
        maximum=_RETRY_LONGEST,
        timeout=_RETRY_ALL,
    )
