"""The gcloud command line, unmodified, and the exact requests of newer ones.

WEIGHTDROP_GCLOUD names another gcloud than the one on the path, say a newer one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.vertex.clients.running import (
    PATIENCE,
    REGION,
    WITH_VLLM,
    WITHOUT_VLLM,
    Stack,
)

JSON = dict[str, Any]
CUSTOM_WEIGHTS = (532, 0, 0)
"""The first version whose model-garden command takes gs:// folders."""
PROGRAM = os.environ.get("WEIGHTDROP_GCLOUD", "gcloud")


class Gcloud:
    """gcloud with every host it may call pointed at the stand-in."""

    def __init__(self, url: str, home: Path) -> None:
        self._home = home
        base = f"{url}/"
        self._env = {
            **os.environ,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": base,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDQUOTAS": base,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING": base,
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_PROJECT": "local",
            "CLOUDSDK_CONFIG": str(home / "config"),
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        }

    def text(self, *words: str) -> str:
        """What a command prints; it must end well."""
        done = subprocess.run(
            [PROGRAM, "ai", *words],
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"{words}: {done.stderr[-3000:]}"
        return done.stdout

    def __call__(self, *words: str) -> Any:
        """What a command in a region answers, read from JSON."""
        out = self.text(*words, f"--region={REGION}", "--format=json")
        return json.loads(out) if out.strip() else None

    def file(self, name: str, body: JSON) -> str:
        """A file with a request's body."""
        path = self._home / name
        path.write_text(json.dumps(body))
        return str(path)

    @property
    def version(self) -> tuple[int, ...]:
        """Of the Google Cloud SDK."""
        done = subprocess.run(
            [PROGRAM, "version", "--format=value('Google Cloud SDK')"],
            env=self._env,
            capture_output=True,
            text=True,
            check=True,
        )
        return tuple(int(part) for part in done.stdout.strip().split("."))


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


def _remove(whole: Stack, answer: JSON) -> JSON:
    """Undeploy and delete what a deployment made; gives its deployed model."""
    vertex = whole.vertex
    rest = "/endpoints/" + answer["endpoint"].rpartition("/")[2]
    deployed: JSON
    (deployed,) = vertex.call("GET", rest)["deployedModels"]
    body = {"deployedModelId": deployed["id"]}
    vertex.succeed(vertex.call("POST", f"{rest}:undeployModel", body))
    vertex.succeed(vertex.call("DELETE", rest))
    model = answer["model"].rpartition("/")[2]
    vertex.succeed(vertex.call("DELETE", f"/models/{model}"))
    return deployed


def _newer(call: str) -> pytest.MarkDecorator:
    return pytest.mark.client(
        "gcloud 532 and newer", f"`ai model-garden models {call}`"
    )


FLAGS = (
    "--machine-type=g2-standard-12",
    "--accelerator-type=NVIDIA_L4",
    "--accelerator-count=1",
)


@WITH_VLLM
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="plain", marks=_newer("deploy --model=gs://…")),
        pytest.param(
            FLAGS,
            id="machine",
            marks=_newer("deploy --model=gs://… --machine-type=… …"),
        ),
    ],
)
def test_custom_weights(whole: Stack, gcloud: Gcloud, flags: tuple[str, ...]) -> None:
    """model-garden models deploy takes a folder, where gcloud is new enough."""
    if gcloud.version < CUSTOM_WEIGHTS:
        pytest.skip("this gcloud takes no gs:// model; its requests are replayed below")
    gcloud("model-garden", "models", "deploy", "--model=gs://models/tiny", *flags)
    listed = [endpoint["name"] for endpoint in gcloud("endpoints", "list")]
    (endpoint,) = [name for name in listed if "/mg-endpoint-" in name]
    rest = "/endpoints/" + endpoint.rpartition("/")[2]
    instance = {"prompt": "a", "max_tokens": 2}
    asked = whole.vertex.call("POST", f"{rest}:predict", {"instances": [instance]})

    made = {"endpoint": endpoint, "model": asked["model"]}
    machine = _remove(whole, made)["dedicatedResources"]["machineSpec"]
    assert machine["machineType"] == "g2-standard-12" or not flags
    assert len(asked["predictions"]) == 1


@pytest.mark.client("gcloud 578's requests, replayed", "both forms of the same command")
@WITHOUT_VLLM
def test_the_requests_of_newer_versions(whole: Stack) -> None:
    """What gcloud 578 sends for custom weights, byte for byte in form, is served."""
    vertex, client = whole.vertex, whole.vertex.client
    quota = client.get(
        "/v1/projects/local/locations/global/services/aiplatform.googleapis.com"
        "/quotaInfos/CustomModelServingL4GPUsPerProjectPerRegion?alt=json"
    )
    used = client.get(
        "/v3/projects/local/timeSeries",
        params={
            "aggregation.alignmentPeriod": "60s",
            "aggregation.perSeriesAligner": "ALIGN_NEXT_OLDER",
            "alt": "json",
            "filter": 'metric.type="serviceruntime.googleapis.com/quota/allocation/'
            'usage" AND resource.type="consumer_quota" AND '
            'metric.label.quota_metric="aiplatform.googleapis.com/'
            'custom_model_serving_nvidia_l4_gpus" AND '
            f'resource.label.project_id="local" AND resource.label.location="{REGION}"'
            ' AND resource.label.service="aiplatform.googleapis.com"',
            "interval.endTime": "2026-11-22T12:00:00Z",
            "interval.startTime": "2026-11-21T11:00:00Z",
        },
    )
    machine = {
        "machineType": "g2-standard-12",
        "acceleratorType": "NVIDIA_L4",
        "acceleratorCount": 1,
    }
    config = {"dedicatedResources": {"machineSpec": machine, "minReplicaCount": 1}}
    for extra in ({}, {"deployConfig": config}):
        started = client.post(
            vertex.path(":deploy", "v1beta1") + "?alt=json",
            json={"customModel": {"gcsUri": "gs://models/tiny"}, **extra},
        ).json()
        name = started["name"]
        polled = client.get(f"/v1beta1/{name}?alt=json").json()
        _remove(whole, vertex.succeed(polled))

    limits = {
        info["applicableLocations"][0]: int(info["details"]["value"])
        for info in quota.json()["dimensionsInfos"]
    }
    assert limits[REGION] > 0
    assert used.status_code == 200
    assert "timeSeries" in used.json()
