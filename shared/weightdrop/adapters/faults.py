"""Google's errors, translated into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from weightdrop.errors import (
    NotFoundError,
    PermanentError,
    TransientError,
    UsageError,
)


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what Google's clients raise inside the block into our errors.

    A refusal for lack of permission is transient here: a role that was just
    granted takes minutes to arrive, and a message that was acknowledged
    because of it would be lost.

    Args:
        action: What is tried, to complete "Could not …".

    Raises:
        UsageError: There are no credentials at all.
        NotFoundError: It does not exist.
        PermanentError: The request can never succeed.
        TransientError: Anything else.
    """
    from google.api_core import exceptions  # noqa: PLC0415  # costs a cold start
    from google.auth.exceptions import (  # noqa: PLC0415
        DefaultCredentialsError,
        GoogleAuthError,
    )

    try:
        yield
    except DefaultCredentialsError as error:
        raise UsageError(
            f"Could not {action}: {error}. Log in with `gcloud auth "
            "application-default login`."
        ) from error
    except exceptions.NotFound as error:
        raise NotFoundError(f"Could not {action}: {error.message}") from error
    except (exceptions.Forbidden, exceptions.Unauthorized, GoogleAuthError) as error:
        raise TransientError(
            f"Could not {action}: {error}. Grant the role that is missing; a fresh "
            "grant takes some minutes to arrive."
        ) from error
    except (
        exceptions.InvalidArgument,
        exceptions.OutOfRange,
        exceptions.MethodNotImplemented,
    ) as error:
        raise PermanentError(f"Could not {action}: {error.message}") from error
    except exceptions.GoogleAPIError as error:
        raise TransientError(f"Could not {action}: {error}") from error
