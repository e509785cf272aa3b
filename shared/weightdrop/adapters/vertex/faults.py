"""What Vertex AI's errors mean for us: of calls, and of operations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from weightdrop.core.deployment.phases import Reason
from weightdrop.errors import (
    ConflictError,
    NotFoundError,
    PermanentError,
    QuotaError,
    TransientError,
)

_RATE = re.compile(
    r"per[ _](minute|second|user)|rate limit|too many requests", re.IGNORECASE
)
_QUOTA = re.compile(r"quota", re.IGNORECASE)
_PERMISSION = re.compile(r"\b([a-z]+\.[A-Za-z]+\.[a-zA-Z]+)\b")
_RATE_SECONDS = 10.0
_DEADLINE, _DENIED, _EXHAUSTED = 4, 7, 8
"""Numbers of google.rpc.Code."""

_SERVER = re.compile(
    r"model server (exited|terminated|crash)|container terminated|exit_?code",
    re.IGNORECASE,
)
_NEVER_READY = re.compile(
    r"never became ready|not ready|timed? ?out|deadline", re.IGNORECASE
)
_STOCK_OUT = re.compile(
    r"temporarily unavailable|out of stock|stock-?out|insufficient|capacity|"
    r"not enough resources",
    re.IGNORECASE,
)


_KINDS = {
    "UploadModel": Reason.UPLOAD_FAILED,
    "CreateEndpoint": Reason.ENDPOINT_FAILED,
}


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what the clients raise inside the block into our errors.

    Args:
        action: What is tried, to complete "Could not …".

    Raises:
        NotFoundError: It does not exist.
        ConflictError: It exists already.
        QuotaError: The quota of machines or accelerators is used up.
        TransientError: The same call may succeed later: the service is
            unavailable, something is in use, calls came too fast.
        PermanentError: The request can never succeed, or a permission is
            missing, which the message names.
    """
    import requests  # noqa: PLC0415  # all of these cost a cold start
    from google.api_core import exceptions  # noqa: PLC0415
    from google.auth.exceptions import (  # noqa: PLC0415
        DefaultCredentialsError,
        GoogleAuthError,
    )

    try:
        yield
    except exceptions.NotFound as error:
        raise NotFoundError(f"Could not {action}: {error.message}") from error
    except exceptions.TooManyRequests as error:
        raise _exhausted(action, str(error.message)) from error
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise PermanentError(_denied(action, str(error.message))) from error
    except DefaultCredentialsError as error:
        raise PermanentError(f"Could not {action}: {error}") from error
    except exceptions.ServerError as error:
        raise TransientError(f"Could not {action}: {error}") from error
    except exceptions.ClientError as error:
        raise _client_error(action, error) from error
    except (
        exceptions.GoogleAPIError,
        GoogleAuthError,
        requests.RequestException,
    ) as error:
        raise TransientError(f"Could not {action}: {error}") from error


def _exhausted(action: str, message: str) -> PermanentError | TransientError:
    if _RATE.search(message) or not _QUOTA.search(message):
        return TransientError(
            f"Could not {action} now: {message}", retry_after=_RATE_SECONDS
        )
    return QuotaError(f"Could not {action}: {message}")


def _denied(action: str, message: str) -> str:
    found = _PERMISSION.search(message)
    missing = f"permission {found[1]}" if found else "permission that it names"
    return f"Could not {action}: {message} Grant the {missing}."


def _client_error(action: str, error: Exception) -> PermanentError | TransientError:
    # The REST transport knows only the HTTP status: 400 is InvalidArgument or
    # FailedPrecondition, 409 AlreadyExists or Aborted, told apart by the status
    # in the body.
    status = _status_of(error)
    message = str(getattr(error, "message", error))
    if status in ("FAILED_PRECONDITION", "ABORTED"):
        return TransientError(f"Could not {action} now: {message}")
    if status == "ALREADY_EXISTS":
        return ConflictError(f"Could not {action}: {message}")
    return PermanentError(f"Could not {action}: {message}")


def _status_of(error: Exception) -> str:
    response = getattr(error, "response", None)
    try:
        return str(response.json()["error"]["status"]) if response is not None else ""
    except (ValueError, KeyError, TypeError):
        return ""


def reason_of(code: int, message: str, *, kind: str) -> Reason:
    """Why an operation failed.

    Args:
        code: google.rpc.Code of its error.
        message: Its error message.
        kind: Name of its metadata's message, which tells what it did.
    """
    if code == _DENIED:
        return Reason.PERMISSION
    for prefix, reason in _KINDS.items():
        if kind.startswith(prefix):
            return reason
    if _SERVER.search(message):
        return Reason.SERVER_FAILED
    if code == _EXHAUSTED or _STOCK_OUT.search(message):
        return Reason.QUOTA if _QUOTA.search(message) else Reason.NO_CAPACITY
    if code == _DEADLINE or _NEVER_READY.search(message):
        return Reason.TIMED_OUT
    return Reason.PLATFORM
