"""`gcloud ai model-garden models deploy --model=gs://…`, and what it sends.

The command came with gcloud 532. Where an older one is installed, its requests are
replayed; where a newer one is, it runs, and is held to what is replayed.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from local.relay import Ear, relay
from local.vertex.clients.gcloud import PROGRAM, Gcloud
from local.vertex.clients.running import REGION, WITH_VLLM, WITHOUT_VLLM, Stack

JSON = dict[str, Any]
CUSTOM_WEIGHTS = (532, 0, 0)
"""The first version whose model-garden command takes gs:// folders."""

FLAGS = (
    "--machine-type=g2-standard-12",
    "--accelerator-type=NVIDIA_L4",
    "--accelerator-count=1",
)
LOCATION = f"/v1beta1/projects/local/locations/{REGION}"
POLLED = re.compile(rf"/v1beta1/projects/\d+/locations/{REGION}/operations/\d+")
TIMES = {"interval.endTime", "interval.startTime"}


@dataclass(frozen=True)
class Sent:
    """One request."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: JSON | None = None


QUOTA = [
    Sent(
        "GET",
        "/v1/projects/local/locations/global/services/aiplatform.googleapis.com"
        "/quotaInfos/CustomModelServingL4GPUsPerProjectPerRegion",
        {"alt": "json"},
    ),
    Sent(
        "GET",
        "/v3/projects/local/timeSeries",
        {
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
            "view": "FULL",
        },
    ),
]
CUSTOM_MODEL = {"customModel": {"gcsUri": "gs://models/tiny"}}
MACHINE = {
    "machineType": "g2-standard-12",
    "acceleratorType": "NVIDIA_L4",
    "acceleratorCount": 1,
}
RESOURCES = {"machineSpec": MACHINE, "minReplicaCount": 1}
CONFIG = {"deployConfig": {"dedicatedResources": RESOURCES}}


def _deploy(body: JSON) -> Sent:
    return Sent("POST", f"{LOCATION}:deploy", {"alt": "json"}, body)


FORMS = {
    "plain": ((), [_deploy(CUSTOM_MODEL)]),
    "machine": (FLAGS, [*QUOTA, _deploy({**CUSTOM_MODEL, **CONFIG})]),
}
"""Both forms of the command: its flags, and what gcloud 578 sends before it polls."""


def _heard(ear: Ear) -> list[Sent]:
    """The requests that an ear heard."""
    return [sent for said in ear.heard for sent in _requests(bytes(said))]


def _requests(said: bytes) -> list[Sent]:
    found = []
    while said:
        head, _, said = said.partition(b"\r\n\r\n")
        method, target, _ = head.decode().split(" ", 2)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        body, said = said[:size], said[size:]
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        found.append(Sent(method, url.path, query, json.loads(body or "null")))
    return found


def _timeless(sent: Sent) -> Sent:
    query = {k: "" if k in TIMES else v for k, v in sent.query.items()}
    return Sent(sent.method, sent.path, query, sent.body)


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


def _newer(form: str, call: str) -> Any:
    mark = pytest.mark.client(
        "gcloud 532 and newer", f"`ai model-garden models deploy --model=gs://…{call}`"
    )
    return pytest.param(form, marks=mark)


@WITH_VLLM
@pytest.mark.parametrize(
    "form", [_newer("plain", ""), _newer("machine", " --machine-type=… …")]
)
def test_custom_weights(whole: Stack, form: str, tmp_path: Path) -> None:
    """The command deploys a folder, and sends what is replayed below, no more."""
    flags, expected = FORMS[form]
    ear = Ear()
    if shutil.which(PROGRAM) is None:
        pytest.skip("gcloud is not installed")
    with relay(whole.vertex.port, ear=ear) as port:
        gcloud = Gcloud(f"http://127.0.0.1:{port}", tmp_path)
        if gcloud.version < CUSTOM_WEIGHTS:
            pytest.skip("this gcloud takes no gs:// model; its requests are replayed")
        gcloud("model-garden", "models", "deploy", "--model=gs://models/tiny", *flags)
    listed = [
        item["name"] for item in whole.vertex.call("GET", "/endpoints")["endpoints"]
    ]
    (endpoint,) = [name for name in listed if "/mg-endpoint-" in name]
    rest = "/endpoints/" + endpoint.rpartition("/")[2]
    instance = {"prompt": "a", "max_tokens": 2}
    asked = whole.vertex.call("POST", f"{rest}:predict", {"instances": [instance]})
    made = {"endpoint": endpoint, "model": asked["model"]}
    machine = _remove(whole, made)["dedicatedResources"]["machineSpec"]

    sent = _heard(ear)
    assert [_timeless(one) for one in sent if not POLLED.fullmatch(one.path)] == [
        _timeless(one) for one in expected
    ]
    assert any(POLLED.fullmatch(one.path) for one in sent)
    assert machine["machineType"] == "g2-standard-12" or not flags
    assert len(asked["predictions"]) == 1


@pytest.mark.client("gcloud 578's requests, replayed", "both forms of the same command")
@WITHOUT_VLLM
@pytest.mark.parametrize("form", FORMS)
def test_the_requests_of_newer_versions(whole: Stack, form: str) -> None:
    """What gcloud 578 sends for custom weights is served as it wants it."""
    vertex, answers = whole.vertex, []
    for sent in FORMS[form][1]:
        answer = vertex.client.request(
            sent.method, sent.path, params=sent.query, json=sent.body
        )
        assert answer.status_code == 200, answer.text
        answers.append(answer.json())
    *quota, started = answers
    polled = vertex.client.get(f"/v1beta1/{started['name']}?alt=json").json()
    _remove(whole, vertex.succeed(polled))

    for limit in quota[:1]:
        first = {
            info["applicableLocations"][0]: info for info in limit["dimensionsInfos"]
        }
        assert int(first[REGION]["details"]["value"]) > 0
    for used in quota[1:]:
        (series,) = used["timeSeries"]
        assert int(series["points"][0]["value"]["int64Value"]) >= 0
