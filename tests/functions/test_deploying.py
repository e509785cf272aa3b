"""The body of Vertex AI's own `:deploy`, in either spelling of its names."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.errors import PermanentError
from weightdrop_functions.deploying import _OPTIONS, wish

BUCKETS = ("models",)
SNAKE: dict[str, Any] = {
    "destination": "projects/p/locations/europe-west4",
    "custom_model": {"gcs_uri": "gs://models/a/llama/"},
    "model_config": {
        "model_user_id": "llama",
        "model_display_name": "L",
        "accept_eula": True,
    },
    "endpoint_config": {
        "endpoint_display_name": "E",
        "dedicated_endpoint_enabled": True,
    },
    "deploy_config": {
        "fast_tryout_enabled": False,
        "system_labels": {"team": "a"},
        "dedicated_resources": {
            "machine_spec": {
                "machine_type": "g2-standard-12",
                "accelerator_type": "NVIDIA_L4",
                "accelerator_count": 1,
            },
            "min_replica_count": 1,
            "max_replica_count": 2,
            "spot": True,
        },
    },
}
WANTED = {
    "region": "europe-west4",
    "labels": (("team", "a"),),
    "scale_to_zero": False,
    "model_id": "llama",
    "model_display_name": "L",
    "endpoint_display_name": "E",
    "machine_type": "g2-standard-12",
    "accelerator_type": "NVIDIA_L4",
    "accelerator_count": 1,
    "min_replica_count": 1,
    "max_replica_count": 2,
    "spot": True,
}

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["custom_model", "gcs_uri", "deployConfig", "spot"])
            | st.text(),
            inner,
        )
    ),
    max_leaves=8,
)


def camel(value: Any) -> Any:
    """The same body as JSON clients of Google write it."""
    if not isinstance(value, dict):
        return value
    return {
        "".join(
            word.capitalize() if place else word
            for place, word in enumerate(name.split("_"))
        ): camel(inner)
        for name, inner in value.items()
    }


def read(body: object) -> Any:
    """The wish in a body."""
    return wish(json.dumps(body).encode(), buckets=BUCKETS)


@pytest.mark.parametrize("body", [SNAKE, camel(SNAKE)])
def test_every_choice_is_understood(body: object) -> None:
    """What Vertex AI's samples send is what is wished for."""
    wanted = read(body)

    assert (wanted.bucket, wanted.prefix) == ("models", "a/llama")
    assert dict(wanted.overrides) == WANTED


def test_choices_are_those_of_the_folder() -> None:
    """Each has a name that weightdrop.json knows."""
    known = set(FolderOptions.__dataclass_fields__)

    assert set(_OPTIONS.values()) <= known


def test_numbers_may_be_text() -> None:
    """Google's JSON writes some numbers as text."""
    resources = {"minReplicaCount": "3"}
    body = {
        "customModel": {"gcsUri": "gs://models"},
        "deployConfig": {"dedicatedResources": resources},
    }

    assert dict(read(body).overrides)["min_replica_count"] == 3


def test_no_replicas_are_kept_where_the_least_is_none() -> None:
    """Vertex AI's own way of asking for scale to zero."""
    body = {
        "custom_model": {"gcs_uri": "gs://models/a"},
        "deploy_config": {"dedicated_resources": {"min_replica_count": 0}},
    }

    assert dict(read(body).overrides) == {"min_replica_count": 0, "scale_to_zero": True}


@pytest.mark.parametrize(
    ("config", "projects", "good"),
    [
        ({"enable_private_service_connect": True}, ("p",), True),
        ({"enable_private_service_connect": True}, (), False),
        ({"enable_private_service_connect": False}, ("p",), False),
        ({"enable_private_service_connect": False}, (), True),
        ({"project_allowlist": ["p"]}, ("p", "q"), True),
        ({"project_allowlist": ["p", "r"]}, ("p", "q"), False),
        ({"project_allowlist": "p"}, ("p",), False),
    ],
)
def test_who_may_connect_is_not_chosen_in_a_body(
    config: object, projects: tuple[str, ...], good: bool
) -> None:
    """What says the same as the settings is taken, anything else is refused."""
    body = {
        "custom_model": {"gcs_uri": "gs://models/a"},
        "endpoint_config": {"private_service_connect_config": config},
    }
    text = json.dumps(body).encode()

    if good:
        assert wish(text, buckets=BUCKETS, private_projects=projects).overrides == ()
        return
    with pytest.raises(PermanentError, match="endpoints here are"):
        wish(text, buckets=BUCKETS, private_projects=projects)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"publisher_model_name": "x"}, "publisher_model_name cannot be chosen"),
        (
            {"model_config": {"container_spec": {}}},
            "model_config.container_spec cannot",
        ),
        ({"destination": "us-central1"}, "destination must be projects/"),
        ({"destination": "projects/p/locations/Atlantis"}, "destination must be"),
        (
            {"deploy_config": {"system_labels": {"weightdrop": "x"}}},
            "system_labels must be",
        ),
        ({"deploy_config": {"fast_tryout_enabled": True}}, "can only be False"),
        (
            {
                "deploy_config": {
                    "dedicated_resources": {"machine_spec": {"machine_type": "g2-x"}}
                }
            },
            "give all three or none",
        ),
        (
            {
                "deploy_config": {
                    "dedicated_resources": {
                        "min_replica_count": 3,
                        "max_replica_count": 2,
                    }
                }
            },
            "more than max_replica_count",
        ),
        ({"model_config": []}, "model_config must be an object"),
        ({"model_config": {"model_user_id": 7}}, "model_user_id must be"),
        ({"modelConfig": {}, "model_config": {"model_user_id": ""}}, "must be"),
        (
            {"endpoint_config": {"dedicated_endpoint_enabled": False}},
            "can only be True",
        ),
        ({"deploy_config": {"dedicated_resources": {"spot": 1}}}, "spot must be"),
        (
            {"deploy_config": {"dedicated_resources": {"min_replica_count": True}}},
            "min_replica_count must be",
        ),
        (
            {"deploy_config": {"dedicated_resources": {"min_replica_count": -1}}},
            "min_replica_count must be",
        ),
        ({"custom_model": {"gcs_uri": "gs://foreign/x"}}, "foreign is not watched"),
        ({"custom_model": {"gcs_uri": "gs://models/../x"}}, "no folder"),
        ({"custom_model": {"gcs_uri": "gs://models/a//b"}}, "no folder"),
        ({"custom_model": {"gcs_uri": "gs://models/a\n"}}, "no folder"),
        ({"custom_model": {"gcs_uri": "/etc"}}, "must hold"),
        ({"custom_model": {"gcs_uri": "gs://models/x", "n": 1}}, "custom_model.n"),
        ({"custom_model": "gs://models/x"}, "must be an object"),
    ],
)
def test_what_cannot_be_had_is_named(change: dict[str, Any], words: str) -> None:
    """The caller reads which part of the body it was."""
    body = {"custom_model": {"gcs_uri": "gs://models/llama"}} | change

    with pytest.raises(PermanentError, match=words):
        read(body)


def test_the_same_choice_twice_is_refused() -> None:
    """Two spellings that disagree must not be settled by chance."""
    body = {
        "custom_model": {"gcs_uri": "gs://models/a"},
        "model_config": {"model_user_id": "a", "modelUserId": "b"},
    }

    with pytest.raises(PermanentError, match="twice"):
        read(body)


@given(ANYTHING)
def test_no_body_crashes_the_decoder(body: Any) -> None:
    """JSON of any shape is a wish or a PermanentError."""
    with contextlib.suppress(PermanentError):
        read(body)


@given(st.binary())
def test_no_bytes_crash_the_decoder(text: bytes) -> None:
    """Nor do bytes that are no JSON at all."""
    with contextlib.suppress(PermanentError):
        wish(text, buckets=BUCKETS)
