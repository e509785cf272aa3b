"""Model Garden's one call: weights in a folder become an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.vertex.buckets import Buckets
from local.vertex.running import Running, tiny_image
from weightdrop.local.tiny_model import make_tiny_llama

JSON = dict[str, Any]
L4 = {
    "machineType": "g2-standard-12",
    "acceleratorType": "NVIDIA_L4",
    "acceleratorCount": 1,
}


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buckets]:
    """A bucket with a good folder `tiny`, a bad one `bad`, and `side` of 20 files."""
    home = tmp_path_factory.mktemp("buckets")
    found = Buckets(home)
    make_tiny_llama(home / "tiny")
    found.put_folder(home / "tiny", "tiny")
    found.put("bad/config.json", b"{}")
    for number in range(20):
        found.put(f"side/{number}.bin", bytes(1000))
    yield found
    found.close()


@pytest.fixture(scope="module")
def vertex(
    buckets: Buckets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A stand-in whose image is the tiny container."""
    home = tmp_path_factory.mktemp("garden")
    options = ("--storage-endpoint", buckets.url)
    running = Running(home / "vertex", *options, env=tiny_image(home))
    yield running
    running.close()


def _deploy(vertex: Running, body: JSON) -> JSON:
    url = vertex.path(":deploy", "v1beta1")
    answer = vertex.client.post(url, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _refused(vertex: Running, body: JSON, version: str = "v1beta1") -> JSON:
    answer = vertex.client.post(vertex.path(":deploy", version), json=body)
    assert answer.status_code >= 400, answer.text
    return dict(answer.json()["error"])


def test_a_folder_becomes_an_endpoint(vertex: Running, buckets: Buckets) -> None:
    """:deploy infers, copies, makes a dedicated endpoint, and it answers."""
    operation = _deploy(
        vertex,
        {
            "custom_model": {"gcs_uri": "gs://models/tiny"},
            "destination": vertex.path("")[4:],
            "model_config": {"model_user_id": "chosen"},
        },
    )
    response = vertex.succeed(operation)

    assert "/locations/us-central1/operations/" in operation["name"]
    assert operation["metadata"]["modelId"] == "chosen"
    assert response["@type"].endswith("v1beta1.DeployResponse")
    endpoint_id = response["endpoint"].rpartition("/")[2]
    endpoint = vertex.call("GET", f"/endpoints/{endpoint_id}")
    assert endpoint["dedicatedEndpointEnabled"] is True
    assert list(endpoint["trafficSplit"].values()) == [100]
    machine = endpoint["deployedModels"][0]["dedicatedResources"]["machineSpec"]
    assert machine["acceleratorType"] == "NVIDIA_L4"
    got = vertex.ask(endpoint_id).json()
    number = got["env"]["AIP_PROJECT_NUMBER"]
    managed = "vertex-managed-local"
    assert got["env"]["AIP_STORAGE_URI"] == f"gs://{managed}/us-central1/chosen/1"
    assert got["args"][-2:] == ["--served-model-name", "chosen"]
    assert response["model"] == (
        f"projects/{number}/locations/us-central1/models/chosen"
    )
    copied = {name.rpartition("/")[2] for name in buckets.names(managed, "us-central1")}
    assert "config.json" in copied
    assert vertex.call("GET", "/models/chosen")["artifactUri"] == "gs://models/tiny"


def test_the_three_machine_fields_go_together(vertex: Running) -> None:
    """One or two of machine type, accelerator type and count are refused."""
    for spec in ({"machineType": "g2-standard-12"}, {**L4, "acceleratorCount": 0}):
        error = _refused(
            vertex,
            {
                "customModel": {"gcsUri": "gs://models/tiny"},
                "deployConfig": {"dedicatedResources": {"machineSpec": spec}},
            },
        )

        assert error["status"] == "INVALID_ARGUMENT"
        assert "given together" in error["message"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({**L4, "acceleratorCount": 2}, "does not take 2"),
        ({**L4, "machineType": "g9-standard-1"}, "is not supported"),
        ({**L4, "acceleratorType": "NVIDIA_H100_80GB"}, "does not take"),
    ],
)
def test_machines_are_checked(vertex: Running, spec: JSON, words: str) -> None:
    """Machine types that nobody sells, or with other accelerators, are refused."""
    config = {"dedicatedResources": {"machineSpec": spec, "minReplicaCount": 1}}
    body = {"customModel": {"gcsUri": "gs://models/tiny"}, "deployConfig": config}

    assert words in _refused(vertex, body)["message"]


def test_a_folder_that_holds_no_model_fails_with_the_reasons(vertex: Running) -> None:
    """What validation finds is the operation's error; nothing is left."""
    body = {
        "customModel": {"gcsUri": "gs://models/bad"},
        "modelConfig": {"modelUserId": "bad"},
    }

    done = vertex.finish(_deploy(vertex, body))

    assert done["error"]["code"] == 3
    assert "config.json" in done["error"]["message"]
    assert vertex.refused("GET", "/models/bad")["status"] == "NOT_FOUND"


def test_v1_has_no_custom_model(vertex: Running) -> None:
    """Custom weights are v1beta1 only: v1 does not know the field."""
    error = _refused(vertex, {"customModel": {"gcsUri": "gs://b/x"}}, "v1")

    assert 'Unknown name "customModel"' in error["message"]


def test_recommendations_name_machine_and_container(vertex: Running) -> None:
    """:recommendSpec gives what :deploy would choose, and the quota's state."""
    body = {"gcsUri": "gs://models/tiny", "checkUserQuota": True}
    url = vertex.path(":recommendSpec", "v1beta1")

    found = vertex.client.post(url, json=body).json()
    bad = vertex.client.post(url, json={"gcsUri": "gs://models/bad"}).json()

    (one,) = found["recommendations"]
    assert one["region"] == "us-central1"
    assert one["spec"]["machineSpec"]["acceleratorType"] == "NVIDIA_L4"
    assert one["spec"]["containerSpec"]["args"]
    assert one["userQuotaState"] == "QUOTA_STATE_USER_HAS_QUOTA"
    assert bad["error"]["status"] == "INVALID_ARGUMENT"


def _upload(vertex: Running, **fields: Any) -> JSON:
    model = {
        "displayName": "d",
        "artifactUri": "gs://models/side",
        "containerSpec": {"imageUri": "i"},
    }
    return vertex.call("POST", "/models:upload", {"model": model, **fields})


def test_versions_made_at_once_do_not_meet(vertex: Running, buckets: Buckets) -> None:
    """Uploads of one model side by side get numbers and copies of their own."""
    first = vertex.succeed(_upload(vertex, modelId="side"))
    parent = {"parentModel": first["model"]}

    started = [_upload(vertex, **parent) for _ in range(4)]
    made = [vertex.succeed(operation)["modelVersionId"] for operation in started]

    assert made == ["2", "3", "4", "5"]
    for number in range(1, 6):
        copy = f"us-central1/side/{number}/"
        assert len(buckets.names("vertex-managed-local", copy)) == 20


def test_a_copy_is_the_folder_and_nothing_else(
    vertex: Running, buckets: Buckets
) -> None:
    """What an attempt that was cut short left behind is no part of the next model."""
    buckets.put("whole/config.json")
    managed, copy = "vertex-managed-local", "us-central1/whole/1/"
    vertex.succeed(_upload(vertex, modelId="first"))
    buckets.put(f"{copy}left-over.safetensors", bucket=managed)
    model = {
        "displayName": "d",
        "artifactUri": "gs://models/whole",
        "containerSpec": {"imageUri": "i"},
    }
    body = {"modelId": "whole", "model": model}

    vertex.succeed(vertex.call("POST", "/models:upload", body))

    assert buckets.names(managed, copy) == [f"{copy}config.json"]


OWN_IMAGE = {"imageUri": "mine", "command": ["false"]}


def test_only_listed_models_by_a_switch(
    make: Callable[..., Running], buckets: Buckets
) -> None:
    """Weights of no documented base model are refused, when asked and when deployed."""
    vertex = make("--storage-endpoint", buckets.url, "--listed-only")
    body = {"customModel": {"gcsUri": "gs://models/tiny"}}
    asked = vertex.path(":recommendSpec", "v1beta1")

    refused = vertex.client.post(asked, json={"gcsUri": "gs://models/tiny"}).json()
    done = vertex.finish(_deploy(vertex, body))

    assert "is not supported" in refused["error"]["message"]
    assert done["error"]["code"] == 3
    assert vertex.call("GET", "/endpoints").get("endpoints", []) == []


def test_chat_and_containers_can_be_switched(
    make: Callable[..., Running], buckets: Buckets, tmp_path: Path
) -> None:
    """Chat is refused; the stand-in's own image runs whatever the request says."""
    switches = ("--chat-refused", "--container-spec-ignored")
    options = ("--storage-endpoint", buckets.url, *switches)
    vertex = make(*options, **tiny_image(tmp_path))
    body = {
        "customModel": {"gcsUri": "gs://models/tiny"},
        "modelConfig": {"containerSpec": OWN_IMAGE},
    }

    response = vertex.succeed(_deploy(vertex, body))
    own = response["endpoint"].rpartition("/")[2]
    chat = vertex.path(f"/endpoints/{own}/chat/completions", "v1beta1")
    refused = vertex.client.post(chat, json={}).json()

    assert vertex.ask(own).status_code == 200
    assert refused["error"]["status"] == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    ("switch", "left"), [("--failed-deploy-stays", 200), ("--failed-deploy-goes", 404)]
)
def test_a_failed_deployment_stays_or_goes(
    make: Callable[..., Running], buckets: Buckets, switch: str, left: int
) -> None:
    """What a :deploy had made when its server failed is left, or removed."""
    vertex = make("--storage-endpoint", buckets.url, switch)
    body = {
        "customModel": {"gcsUri": "gs://models/tiny"},
        "modelConfig": {"modelUserId": "left", "containerSpec": OWN_IMAGE},
        "endpointConfig": {"endpointUserId": "left"},
    }

    done = vertex.finish(_deploy(vertex, body))

    assert "exited unexpectedly" in done["error"]["message"]
    for rest in ("/models/left", "/endpoints/left"):
        assert vertex.client.get(vertex.path(rest)).status_code == left
