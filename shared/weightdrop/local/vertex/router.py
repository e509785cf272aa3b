"""From a path of the API to its handler."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from weightdrop.local.vertex import schema
from weightdrop.local.vertex.faults import ApiError
from weightdrop.local.vertex.names import Place

JSON = dict[str, Any]
_BASE = re.compile(
    r"^/(?P<version>v1|v1beta1|ui)/projects/(?P<project>[^/]+)"
    r"/locations/(?P<location>[^/:]+)(?P<rest>.*)$",
    re.DOTALL,
)
_VERSIONS = ("v1", "v1beta1")
_LARGEST_BODY = 16_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the API.

    Attributes:
        request: As received.
        version: "v1" or "v1beta1".
        place: Project and location it names.
        rest: Path after the location.
        parts: Named parts of the path.
        query: Query parameters by their camelCase names.
        body: As received.
    """

    request: Request
    version: str
    place: Place
    rest: str
    parts: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes

    def message(self, name: str) -> JSON:
        """The body as one of the API's messages."""
        parsed = schema.parse(self.body)
        return schema.decode(name, parsed, version=self.version)


Handler = Callable[[Call], Awaitable[JSON | Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One binding: HTTP method, path below the location, handler, versions."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    shows: str
    versions: tuple[str, ...]


class Router:
    """All bindings below projects/*/locations/*.

    Args:
        project: The project id that is answered for.
        number: The project's number, which answers name.
    """

    def __init__(self, *, project: str, number: str) -> None:
        self._project = project
        self._number = number
        self._routes: list[Route] = []

    def add(
        self,
        method: str,
        path: str,
        handler: Handler,
        *,
        shows: str = "",
        versions: tuple[str, ...] = _VERSIONS,
    ) -> None:
        """Bind a path.

        Args:
            method: HTTP method.
            path: Below the location; `{name}` is one segment without a colon,
                `{name*}` whatever is left.
            handler: Answers the call.
            shows: Message that the answer is, for enums by number.
            versions: API versions that have it.
        """
        text = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
        text = re.sub(r"\{(\w+)\\\*\}", r"(?P<\1>.*)", text)
        text = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", text)
        pattern = re.compile(f"^{text}$", re.DOTALL)
        self._routes.append(Route(method, pattern, handler, shows, versions))

    async def find(self, request: Request) -> tuple[Route, Call]:
        """The handler of a request, and what to call it with.

        Raises:
            ApiError: NOT_FOUND for a path that Vertex AI does not have,
                UNIMPLEMENTED for one that only it serves, PERMISSION_DENIED for
                another project.
        """
        path: str = request.scope["path"]
        base = _BASE.match(path)
        if base is None:
            raise _unknown(request.method, path)
        if base["project"] not in (self._project, self._number):
            raise ApiError(
                "PERMISSION_DENIED",
                f"Permission denied on resource project {base['project']}: this "
                f"stand-in answers for the project {self._project}.",
            )
        version = "v1beta1" if base["version"] == "ui" else base["version"]
        for route in self._routes:
            match = route.pattern.match(base["rest"])
            if match and route.method == request.method and version in route.versions:
                call = Call(
                    request=request,
                    version=version,
                    place=Place(self._number, base["location"]),
                    rest=base["rest"],
                    parts=match.groupdict(),
                    query={
                        schema.camel(key): value
                        for key, value in request.query_params.items()
                    },
                    body=await _body(request),
                )
                return route, call
        raise _unknown(request.method, path)


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _LARGEST_BODY:
            raise ApiError("INVALID_ARGUMENT", "The request is too large.", http=413)
        chunks.append(chunk)
    return b"".join(chunks)


def _unknown(method: str, path: str) -> ApiError:
    _, version, rest = (path + "//").split("/", 2)
    rest = rest.rstrip("/")
    if version in _VERSIONS and schema.bound(method, rest, version=version):
        return ApiError(
            "UNIMPLEMENTED", f"This stand-in does not serve {method} {path}."
        )
    return ApiError("NOT_FOUND", f"Method not found: {method} {path}")
