"""Google's error form: a canonical code, its HTTP status, and a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CODES: Mapping[str, tuple[int, int]] = {
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "UNAUTHENTICATED": (16, 401),
}
"""Canonical name to (google.rpc.Code number, HTTP status), as google/rpc/code.proto
says."""


class ApiError(Exception):
    """An answer of the API that is an error.

    Args:
        status: Canonical name, a key of `CODES`.
        message: For a person.
        details: Further messages, each with its `@type`.
        http: HTTP status where it is not the canonical one.
    """

    def __init__(
        self,
        status: str,
        message: str,
        *,
        details: Sequence[Mapping[str, Any]] = (),
        http: int = 0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = tuple(dict(detail) for detail in details)
        self.http = http or CODES[status][1]

    def body(self) -> dict[str, Any]:
        """The JSON body of an HTTP answer."""
        error: dict[str, Any] = {
            "code": self.http,
            "message": self.message,
            "status": self.status,
        }
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}

    def rpc_status(self) -> dict[str, Any]:
        """The google.rpc.Status that a failed operation carries."""
        status: dict[str, Any] = {
            "code": CODES[self.status][0],
            "message": self.message,
        }
        if self.details:
            status["details"] = list(self.details)
        return status


def invalid(message: str) -> ApiError:
    """INVALID_ARGUMENT: the request itself is wrong."""
    return ApiError("INVALID_ARGUMENT", message)


def precondition(message: str) -> ApiError:
    """FAILED_PRECONDITION: the request contradicts the state of things."""
    return ApiError("FAILED_PRECONDITION", message)


def not_found(kind: str, name: str) -> ApiError:
    """NOT_FOUND, in Vertex AI's words."""
    return ApiError("NOT_FOUND", f"The {kind} does not exist: {name}")


def exists(kind: str, name: str) -> ApiError:
    """ALREADY_EXISTS: the id that the client chose is taken."""
    return ApiError("ALREADY_EXISTS", f"The {kind} already exists: {name}")
