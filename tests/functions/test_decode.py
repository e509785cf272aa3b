"""Nothing that an event says is trusted."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightdrop.core.deployment.triggers import (
    AUDIT_LOG,
    FINALIZED,
    MESSAGE_PUBLISHED,
)
from weightdrop.errors import PermanentError
from weightdrop_functions.decode import (
    MAX_REQUEST_BYTES,
    deploy_request,
    object_change,
    operated,
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


TOPIC = "//pubsub.googleapis.com/projects/p/topics/weightdrop-requests"


def published(source: str = TOPIC) -> dict[str, str]:
    """The attributes of a message on the topic of requests."""
    return attributes(type=MESSAGE_PUBLISHED, source=source)


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
        deploy_request(published(), data)


@given(ANYTHING)
def test_no_request_body_crashes_the_decoder(body: Any) -> None:
    """JSON of any shape inside a message is a request or a PermanentError."""
    with contextlib.suppress(PermanentError):
        deploy_request(published(), message(body))


def test_a_request_names_its_deployment() -> None:
    """The body says where to look, and nothing else is needed."""
    request = deploy_request(
        published(),
        message({"deployment": "llama-1", "digest": "d"}),
    )

    assert (request.deployment, request.digest) == ("llama-1", "d")


@pytest.mark.parametrize(
    "identity",
    [
        "",
        "..",
        "a/events/b",
        "a/../b",
        "__x__",
        "UPPER-1",
        "a b",
        "a\n",
        "-a",
        "x" * 64,
    ],
)
def test_an_id_that_none_can_have_leads_nowhere(identity: str) -> None:
    """A slash in it would name another document of the database."""
    with pytest.raises(PermanentError, match="no possible id"):
        deploy_request(published(), message({"deployment": identity, "digest": "d"}))


@pytest.mark.parametrize(
    "source",
    [
        "//pubsub.googleapis.com/projects/p/topics/weightdrop-events",
        "//pubsub.googleapis.com/projects/p/topics/x-weightdrop-requests",
        "//storage.googleapis.com/projects/_/buckets/models",
        "",
    ],
)
def test_a_message_of_another_topic_is_refused(source: str) -> None:
    """Who may publish there is not who may ask for deployments."""
    body = message({"deployment": "llama-1", "digest": "d"})

    with pytest.raises(PermanentError, match="not our topic"):
        deploy_request(published(source), body)


def test_an_oversized_request_is_refused() -> None:
    """A message is never decoded without a bound."""
    body = {"deployment": "x" * MAX_REQUEST_BYTES, "digest": "d"}

    with pytest.raises(PermanentError, match="too much"):
        deploy_request(published(), message(body))


ENDPOINT = "projects/7/locations/us-central1/endpoints/wd-llama-12345678"
ENDED: dict[str, Any] = {
    "protoPayload": {
        "serviceName": "aiplatform.googleapis.com",
        "methodName": "google.cloud.aiplatform.v1.EndpointService.DeployModel",
        "resourceName": ENDPOINT,
    },
    "operation": {"id": "projects/7/operations/1", "last": True},
}


def audited(data: object, **changes: str) -> str:
    """The deployment that an audit event names."""
    source = "//cloudaudit.googleapis.com/projects/p/logs/activity"
    return operated({"type": AUDIT_LOG, "source": source} | changes, data)


@pytest.mark.parametrize(
    "operation",
    [{"last": True}, {"first": True, "last": True}, {"id": "1"}, None, "odd", {}],
)
def test_the_end_of_an_operation_names_its_deployment(operation: object) -> None:
    """Also where the log does not say which of its entries it is."""
    assert audited(ENDED | {"operation": operation}) == "llama-12345678"


@pytest.mark.parametrize(
    ("data", "changes"),
    [
        (ENDED | {"operation": {"first": True}}, {}),
        (ENDED, {"source": "//storage.googleapis.com/projects/_/buckets/models"}),
        (ENDED, {"source": ""}),
        (ENDED | {"protoPayload": {"serviceName": "storage.googleapis.com"}}, {}),
        (ENDED | {"protoPayload": []}, {}),
        *(
            (
                ENDED
                | {"protoPayload": ENDED["protoPayload"] | {"resourceName": name}},
                {},
            )
            for name in (
                "projects/7/locations/us-central1/endpoints/4711",
                "projects/7/locations/us-central1/endpoints/wd-../../x",
                f"{ENDPOINT}/operations/1",
                f"x/{ENDPOINT}",
                f"projects/7/locations/l/endpoints/wd-{'a' * 99}",
                7,
            )
        ),
        (None, {}),
    ],
)
def test_other_entries_of_the_log_name_nothing(
    data: object, changes: dict[str, str]
) -> None:
    """Beginnings, others' endpoints and forged entries have nobody looked at."""
    assert audited(data, **changes) == ""


@given(ANYTHING)
def test_no_entry_crashes_the_decoder(data: Any) -> None:
    """JSON of any shape."""
    assert operated({"type": AUDIT_LOG}, data) == ""
    assert audited({"protoPayload": data}) == ""
