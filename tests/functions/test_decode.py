"""Nothing that an event says is trusted."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightdrop.errors import PermanentError
from weightdrop_functions.decode import (
    FINALIZED,
    MAX_REQUEST_BYTES,
    MESSAGE_PUBLISHED,
    deploy_request,
    object_change,
)

BUCKETS = ("models",)
SOURCE = "//storage.googleapis.com/projects/_/buckets/models"
GOOD = {"bucket": "models", "name": "llama/config.json", "size": "7", "crc32c": "aa=="}

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def attributes(**changes: str) -> dict[str, str]:
    """The attributes of a finalize event, changed."""
    return {"type": FINALIZED, "source": SOURCE, "id": "1"} | changes


def message(body: object) -> dict[str, Any]:
    """A Pub/Sub message around `body`."""
    data = base64.b64encode(json.dumps(body).encode()).decode()
    return {"message": {"data": data, "messageId": "1"}}


def test_a_finalize_event_becomes_a_change() -> None:
    """Size arrives as text, as Cloud Storage writes it."""
    change = object_change(attributes(), GOOD, buckets=BUCKETS)

    assert (
        change.bucket,
        change.name,
        change.size,
        change.crc32c,
        change.deleted,
    ) == ("models", "llama/config.json", 7, "aa==", False)


@pytest.mark.parametrize(
    ("changed", "data"),
    [
        ({"type": "google.cloud.audit.log.v1.written"}, GOOD),
        ({}, GOOD | {"bucket": "foreign"}),
        ({"source": SOURCE + "x"}, GOOD),
        ({"source": ""}, GOOD),
        ({}, GOOD | {"name": ""}),
        ({}, GOOD | {"name": 7}),
        ({}, GOOD | {"size": "many"}),
        ({}, []),
        ({}, None),
    ],
)
def test_forged_and_foreign_events_are_refused(
    changed: dict[str, str], data: object
) -> None:
    """An event of another bucket must never start anything here."""
    with pytest.raises(PermanentError):
        object_change(attributes(**changed), data, buckets=BUCKETS)


@given(st.dictionaries(st.sampled_from(["type", "source", "id"]), st.text()), ANYTHING)
def test_no_event_crashes_the_decoder(given_attributes: Any, data: Any) -> None:
    """Whatever arrives is a change or a PermanentError."""
    with contextlib.suppress(PermanentError):
        object_change(given_attributes, data, buckets=BUCKETS)
    with contextlib.suppress(PermanentError):
        deploy_request(attributes(type=MESSAGE_PUBLISHED), data)


@given(ANYTHING)
def test_no_request_body_crashes_the_decoder(body: Any) -> None:
    """JSON of any shape inside a message is a request or a PermanentError."""
    with contextlib.suppress(PermanentError):
        deploy_request(attributes(type=MESSAGE_PUBLISHED), message(body))


def test_a_request_names_its_deployment() -> None:
    """The body says where to look, and nothing else is needed."""
    request = deploy_request(
        attributes(type=MESSAGE_PUBLISHED),
        message({"deployment": "llama-1", "digest": "d"}),
    )

    assert (request.deployment, request.digest) == ("llama-1", "d")


def test_an_oversized_request_is_refused() -> None:
    """A message is never decoded without a bound."""
    body = {"deployment": "x" * MAX_REQUEST_BYTES, "digest": "d"}

    with pytest.raises(PermanentError, match="too much"):
        deploy_request(attributes(type=MESSAGE_PUBLISHED), message(body))
