"""The gcloud command line, unmodified: models, endpoints, predictions, operations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from local.vertex.clients.gcloud import PROGRAM, Gcloud
from local.vertex.clients.running import REGION, WITH_VLLM, Stack

JSON = dict[str, Any]


@pytest.fixture(scope="module")
def gcloud(whole: Stack, tmp_path_factory: pytest.TempPathFactory) -> Gcloud:
    """gcloud, where it is installed."""
    if shutil.which(PROGRAM) is None:
        pytest.skip("gcloud is not installed")
    return Gcloud(whole.vertex.url, tmp_path_factory.mktemp("gcloud"))


@pytest.fixture(scope="module")
def served(gcloud: Gcloud) -> Iterator[str]:
    """Upload, create and deploy with gcloud; gives the endpoint's id."""
    uploaded = gcloud(
        *("models", "upload", "--display-name=by-gcloud", "--model-id=by-gcloud"),
        "--artifact-uri=gs://models/tiny",
        "--container-image-uri=example/image:1",
        "--container-env-vars=MODEL_ID=by-gcloud",
        "--container-predict-route=/vertex/predict",
        "--container-health-route=/vertex/health",
        "--container-ports=8080",
    )
    assert uploaded["model"].endswith("/models/by-gcloud")
    gcloud(
        *("endpoints", "create", "--display-name=by-gcloud"),
        *("--endpoint-id=424242", "--labels=team=x"),
    )
    gcloud(
        *("endpoints", "deploy-model", "424242", "--model=by-gcloud"),
        *("--display-name=by-gcloud", "--machine-type=g2-standard-8"),
        "--accelerator=count=1,type=nvidia-l4",
        "--traffic-split=0=100",
        "--deployed-model-id=77",
    )
    yield "424242"
    gcloud("endpoints", "undeploy-model", "424242", "--deployed-model-id=77")
    gcloud("endpoints", "delete", "424242")
    gcloud("models", "delete", "by-gcloud")
    assert gcloud("endpoints", "list") == []
    assert gcloud("models", "list") == []


@pytest.mark.client(
    "gcloud",
    "`ai models upload, list, describe, delete`",
    "`ai endpoints create, list, describe, delete`",
    "`ai endpoints deploy-model, undeploy-model`",
)
@WITH_VLLM
def test_lists_and_descriptions(gcloud: Gcloud, served: str) -> None:
    """What was made is listed and described."""
    (endpoint,) = gcloud("endpoints", "list")
    described = gcloud("endpoints", "describe", served)
    models = gcloud("models", "list")
    model = gcloud("models", "describe", "by-gcloud")

    assert endpoint["name"] == described["name"]
    assert described["deployedModels"][0]["id"] == "77"
    assert described["labels"] == {"team": "x"}
    assert [item["displayName"] for item in models] == ["by-gcloud"]
    assert model["containerSpec"]["predictRoute"] == "/vertex/predict"


@pytest.mark.client("gcloud", "`ai endpoints predict, raw-predict, stream-raw-predict`")
@WITH_VLLM
def test_predictions(gcloud: Gcloud, served: str) -> None:
    """predict, raw-predict and stream-raw-predict answer."""
    instance = {"prompt": "a", "max_tokens": 4}
    request = gcloud.file("request.json", {"instances": [instance]})
    predicted = gcloud("endpoints", "predict", served, f"--json-request={request}")
    where = (served, f"--region={REGION}", f"--request=@{request}")
    raw = gcloud.text("endpoints", "raw-predict", *where, "--format=json")
    stream = gcloud.file("stream.json", {"instances": [{**instance, "stream": True}]})
    streamed = gcloud.text(
        *("endpoints", "stream-raw-predict", served),
        *(f"--region={REGION}", f"--request=@{stream}"),
    )

    assert len(predicted["predictions"]) == 1
    assert len(json.loads(raw)["predictions"]) == 1
    assert streamed.strip()


@pytest.mark.client("gcloud", "`ai operations describe`")
@WITH_VLLM
def test_an_operation_is_described(whole: Stack, gcloud: Gcloud, served: str) -> None:
    """Operations describe shows an operation of an endpoint."""
    found = whole.vertex.call("GET", f"/endpoints/{served}/operations")["operations"]
    number = found[0]["name"].rpartition("/")[2]

    shown = gcloud("operations", "describe", number)

    assert shown["done"] is True
    assert shown["name"].endswith(number)
