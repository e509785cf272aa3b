"""Refusals, in the two forms in which Cloud Storage gives them."""

from __future__ import annotations

import errno
import sqlite3
from xml.sax.saxutils import escape

import msgspec

_REASONS = {
    400: ("invalid", "InvalidArgument"),
    403: ("forbidden", "AccessDenied"),
    404: ("notFound", "NoSuchKey"),
    405: ("methodNotAllowed", "MethodNotAllowed"),
    409: ("conflict", "BucketAlreadyExists"),
    410: ("gone", "Gone"),
    411: ("lengthRequired", "MissingContentLength"),
    412: ("conditionNotMet", "PreconditionFailed"),
    413: ("uploadTooLarge", "EntityTooLarge"),
    416: ("requestedRangeNotSatisfiable", "InvalidRange"),
    500: ("internalError", "InternalError"),
    501: ("notImplemented", "NotImplemented"),
    503: ("backendError", "ServiceUnavailable"),
    507: ("insufficientStorage", "InsufficientStorage"),
}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ApiError(Exception):
    """An answer other than success.

    Args:
        status: HTTP status code.
        message: What happened, for a person.
        headers: Further response headers.
    """

    def __init__(
        self, status: int, message: str, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def json(self) -> bytes:
        """The body in the JSON API's form."""
        reason = _REASONS.get(self.status, ("backendError", ""))[0]
        detail = {"message": self.message, "domain": "global", "reason": reason}
        error = {"code": self.status, "message": self.message, "errors": [detail]}
        return msgspec.json.encode({"error": error})

    def xml(self) -> bytes:
        """The body in the XML API's form."""
        code = _REASONS.get(self.status, ("", "InternalError"))[1]
        return (
            "<?xml version='1.0' encoding='UTF-8'?>"
            f"<Error><Code>{code}</Code><Message>{escape(self.message)}</Message></Error>"
        ).encode()


def not_found(bucket: str, name: str, generation: int | None = None) -> ApiError:
    """404 for an object, or for one generation of it."""
    suffix = f"#{generation}" if generation is not None else ""
    return ApiError(404, f"No such object: {bucket}/{name}{suffix}")


def no_bucket(bucket: str) -> ApiError:
    """404 for a bucket."""
    return ApiError(404, f"The specified bucket does not exist: {bucket}")


def translate(error: OSError | sqlite3.Error) -> ApiError:
    """What a fault of the disk or the database is to a client."""
    text = str(error)
    full = isinstance(error, OSError) and error.errno in _FULL
    if full or "disk is full" in text:
        return ApiError(507, "The disk that holds the buckets is full.")
    return ApiError(503, f"The bucket server cannot use its disk now: {text}")
