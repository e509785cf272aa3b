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
    "destination": "projects/p/locations/l",
    "custom_model": {"gcs_uri": "gs://models/a/llama/"},
    "model_config": {"model_user_id": "llama", "model_display_name": "L"},
    "endpoint_config": {
        "endpoint_display_name": "E",
        "dedicated_endpoint_enabled": True,
    },
    "deploy_config": {
        "dedicated_resources": {
            "machine_spec": {
                "machine_type": "g2-standard-12",
                "accelerator_type": "NVIDIA_L4",
                "accelerator_count": 1,
            },
            "min_replica_count": 1,
            "max_replica_count": 2,
            "spot": True,
        }
    },
}
WANTED = {
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
    assert wanted.options == WANTED


def test_choices_are_those_of_the_folder() -> None:
    """Each has a name that weightdrop.json knows."""
    known = set(FolderOptions.__dataclass_fields__)

    assert {name for name, _ in _OPTIONS.values()} <= known


def test_numbers_may_be_text() -> None:
    """Google's JSON writes some numbers as text."""
    resources = {"minReplicaCount": "3"}
    body = {
        "customModel": {"gcsUri": "gs://models"},
        "deployConfig": {"dedicatedResources": resources},
    }

    assert read(body).options == {"min_replica_count": 3}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"publisher_model_name": "x"}, "publisher_model_name cannot be chosen"),
        ({"model_config": {"accept_eula": True}}, "model_config.accept_eula cannot"),
        ({"model_config": []}, "model_config must be an object"),
        ({"model_config": {"model_user_id": 7}}, "model_user_id is not what"),
        ({"modelConfig": {}, "model_config": {"model_user_id": ""}}, "is not what"),
        (
            {"endpoint_config": {"dedicated_endpoint_enabled": False}},
            "can only be True",
        ),
        ({"deploy_config": {"dedicated_resources": {"spot": 1}}}, "spot is not"),
        (
            {"deploy_config": {"dedicated_resources": {"min_replica_count": True}}},
            "min_replica_count is not",
        ),
        (
            {"deploy_config": {"dedicated_resources": {"min_replica_count": -1}}},
            "min_replica_count is not",
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
