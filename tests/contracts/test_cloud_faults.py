"""What becomes of Google's errors at the edge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from google.api_core import exceptions
from google.auth.exceptions import RefreshError, TransportError

from fakes.builders import make_deployment, make_message
from weightdrop.adapters.faults import translated
from weightdrop.adapters.firestore import FirestoreRecords
from weightdrop.adapters.pubsub import PubsubBus, PubsubFollower
from weightdrop.errors import (
    NotFoundError,
    PermanentError,
    TransientError,
    UsageError,
    WeightdropError,
)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (exceptions.NotFound("x"), NotFoundError),
        (exceptions.InvalidArgument("x"), PermanentError),
        (exceptions.PermissionDenied("x"), TransientError),
        (exceptions.Unauthenticated("x"), TransientError),
        (exceptions.ServiceUnavailable("x"), TransientError),
        (exceptions.ResourceExhausted("x"), TransientError),
        (exceptions.DeadlineExceeded("x"), TransientError),
        (exceptions.InternalServerError("x"), TransientError),
        (exceptions.RetryError("x", None), TransientError),
        (RefreshError("x"), TransientError),
        (TransportError("x"), TransientError),
    ],
)
def test_their_errors_become_ours(
    theirs: Exception, ours: type[WeightdropError]
) -> None:
    """Each kind is translated, names the action, and keeps its cause."""
    with pytest.raises(ours, match="Could not read the record a") as caught:
        _raise(theirs)

    assert caught.type is ours
    assert caught.value.__cause__ is theirs


def _raise(error: Exception) -> None:
    with translated("read the record a"):
        raise error


def test_our_own_errors_pass() -> None:
    """What is ours already is left alone, and so are mistakes of ours."""
    with pytest.raises(KeyError):
        _raise(KeyError("a bug"))


def _follow() -> None:
    with PubsubFollower("nobody").follow("weightdrop-events"):
        pass


@pytest.mark.parametrize(
    "call",
    [
        lambda: FirestoreRecords("nobody").get("a-00000000"),
        lambda: FirestoreRecords("nobody").create(make_deployment()),
        lambda: FirestoreRecords("nobody").revisions("a-00000000"),
        lambda: PubsubBus("nobody").publish(make_message()),
        _follow,
    ],
)
def test_without_credentials_it_says_what_to_do(
    call: Callable[[], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whichever call comes first, missing credentials are the user's to mend."""
    missing = str(tmp_path / "none.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", missing)
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)

    with pytest.raises(UsageError, match="gcloud auth"):
        call()
