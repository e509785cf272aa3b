"""Every answer is read by the official protos, and means the same after it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api import field_behavior_pb2
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1, aiplatform_v1beta1
from google.longrunning import operations_pb2
from google.protobuf import json_format
from google.rpc import error_details_pb2

from local import table
from local.vertex import make_schema
from local.vertex.buckets import Buckets
from local.vertex.running import Running, tiny_image
from weightdrop.local.tiny_model import make_tiny_llama

JSON = dict[str, Any]
TYPES = {"v1": aiplatform_v1.types, "v1beta1": aiplatform_v1beta1.types}
INTS = "$alt=json;enum-encoding=int"
SCHEMA = (
    Path(__file__).parents[3] / "shared/weightdrop/local/vertex/schema.json"
).read_text()
assert error_details_pb2  # registers what an error's details are


@pytest.fixture(scope="module")
def vertex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stand-in with one of everything."""
    home = tmp_path_factory.mktemp("protos")
    buckets = Buckets(home)
    make_tiny_llama(home / "tiny")
    buckets.put_folder(home / "tiny", "tiny")
    options = ("--storage-endpoint", buckets.url)
    running = Running(home / "vertex", *options, env=tiny_image(home))
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 5, "timeoutSeconds": 5}
    running.upload(
        "m",
        "--say=x",
        env=[{"name": "A", "value": "b"}],
        ports=[{"containerPort": 8080}],
        deploymentTimeout="600s",
        sharedMemorySizeMb="16384",
        startupProbe=probe,
    )
    running.endpoint("e", labels={"team": "x"})
    running.succeed(running.deploy(requiredReplicaCount=1))
    yield running
    running.close()
    buckets.close()


def _same(message: Any, body: JSON) -> None:
    """Parse strictly; writing it again gives what came."""
    json_format.Parse(json.dumps(body), message)
    again = json_format.MessageToDict(message)

    assert list(_missing(message)) == []
    assert _normal(again) == _normal(body)


def _missing(message: Any) -> Iterator[str]:
    """Required fields that are not set, anywhere inside."""
    for field in message.DESCRIPTOR.fields:
        behavior = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        value = getattr(message, field.name)
        if field_behavior_pb2.REQUIRED in behavior and not value:
            yield field.full_name
        plain = field.message_type and not field.message_type.GetOptions().map_entry
        inner = value if field.is_repeated else [value]
        known = plain and field.message_type.full_name.startswith("google.cloud.")
        if known and (field.is_repeated or message.HasField(field.name)):
            for item in inner:
                yield from _missing(item)


def _normal(value: Any) -> Any:
    """Without what JSON writes in two ways: fractions of a second, empty fields."""
    if isinstance(value, dict):
        return {k: _normal(v) for k, v in value.items() if v not in ({}, [], "", 0)}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if isinstance(value, str) and value.endswith("Z"):
        return value.rstrip("Z").rstrip("0").rstrip(".")
    return value


def _message(version: str, name: str) -> Any:
    wrapper = getattr(TYPES[version], name)
    return wrapper.pb(wrapper())


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
@pytest.mark.parametrize(
    ("rest", "name"),
    [
        ("/models/m", "Model"),
        ("/models/m@1", "Model"),
        ("/models", "ListModelsResponse"),
        ("/models/m:listVersions", "ListModelVersionsResponse"),
        ("/endpoints/e", "Endpoint"),
        ("/endpoints", "ListEndpointsResponse"),
    ],
)
def test_resources(vertex: Running, version: str, rest: str, name: str) -> None:
    """Models and endpoints, one and many, are what the protos know."""
    body = vertex.client.get(vertex.path(rest, version)).json()

    _same(_message(version, name), body)


def test_enums_by_number(vertex: Running) -> None:
    """A client that asks for enums by number gets numbers of the same meaning."""
    url = vertex.path("/endpoints/e")
    named = vertex.client.get(url).json()
    numbered = vertex.client.get(f"{url}?{INTS}").json()

    machine = numbered["deployedModels"][0]["dedicatedResources"]["machineSpec"]
    assert machine["acceleratorType"] == 11
    first, second = _message("v1", "Endpoint"), _message("v1", "Endpoint")
    json_format.Parse(json.dumps(named), first)
    json_format.Parse(json.dumps(numbered), second)
    assert first == second


def _steps(vertex: Running) -> dict[str, Callable[[], JSON]]:
    """Calls whose answer is an operation."""
    path = vertex.path("/models/m")[4:]
    bounds = {"dedicatedResources": {"maxReplicaCount": 2}}
    mutation = {
        "deployedModel": {"id": "1", **bounds},
        "updateMask": "dedicatedResources.maxReplicaCount",
    }
    update = {"endpoint": {"clientConnectionConfig": {"inferenceTimeout": "60s"}}}
    new = {"displayName": "n", "containerSpec": {"imageUri": "i"}}
    version = {"parentModel": path, "model": new}
    garden = {"customModel": {"gcsUri": "gs://models/tiny"}}
    garden_url = vertex.path(":deploy", "v1beta1")

    def call(method: str, rest: str, body: JSON | None = None) -> JSON:
        return vertex.call(method, rest, body)

    return {
        "upload": lambda: call("POST", "/models:upload", version),
        "create": lambda: call("POST", "/endpoints", {"displayName": "x"}),
        "mutate": lambda: call("POST", "/endpoints/e:mutateDeployedModel", mutation),
        "update": lambda: call("POST", "/endpoints/e:update", update),
        "deploy": lambda: vertex.deploy("2", traffic={}),
        "undeploy": lambda: call(
            "POST", "/endpoints/e:undeployModel", {"deployedModelId": "2"}
        ),
        "garden": lambda: dict(vertex.client.post(garden_url, json=garden).json()),
        "delete": lambda: call("DELETE", "/models/m@2:deleteVersion"),
    }


def test_operations(vertex: Running) -> None:
    """Operations with metadata and response, at their start and at their end."""
    for step in _steps(vertex).values():
        started = step()
        _same(operations_pb2.Operation(), started)
        done = vertex.finish(started)
        assert "error" not in done
        _same(operations_pb2.Operation(), done)
    listed = vertex.call("GET", "/endpoints/e/operations")
    json_format.Parse(json.dumps(listed), operations_pb2.ListOperationsResponse())


def test_a_failed_operation(vertex: Running) -> None:
    """An error with its details is a google.rpc.Status."""
    vertex.upload("broken", "--exit=1")
    done = vertex.finish(vertex.deploy("9", model="broken", traffic={}))

    operation = operations_pb2.Operation()
    json_format.Parse(json.dumps(done), operation)

    info = error_details_pb2.DebugInfo()
    assert operation.error.code == 9
    assert operation.error.details[0].Unpack(info)
    assert info.stack_entries[0] == "the weights are broken"


def test_predictions_and_recommendations(vertex: Running) -> None:
    """PredictResponse and RecommendSpecResponse are what the protos know."""
    predicted = vertex.call("POST", "/endpoints/e:predict", {"instances": [{"a": 1}]})
    url = vertex.path(":recommendSpec", "v1beta1")
    body = {"gcsUri": "gs://models/tiny", "checkUserQuota": True}
    recommended = vertex.client.post(url, json=body).json()

    _same(_message("v1", "PredictResponse"), predicted)
    _same(_message("v1beta1", "RecommendSpecResponse"), recommended)


BINDINGS = {version: json.loads(SCHEMA)[version]["bindings"] for version in TYPES}


def _served(vertex: Running, binding: str, version: str) -> str:
    """Whether a call of the API does something here, or says that it does not."""
    if binding not in BINDINGS[version]:
        return ""
    method, _, path = binding.partition(" ")
    path = path.replace("projects/*", "projects/local", 1)
    path = path.replace("locations/*", "locations/us-central1", 1)
    url = f"/{version}/{path.replace('*', 'none')}"
    answer = vertex.client.request(method, url, json={})
    assert "Method not found" not in answer.text, binding
    assert answer.status_code in {200, 400, 404, 501}, (binding, answer.text)
    return "501" if answer.status_code == 501 else "yes"


def test_every_call_of_the_services(vertex: Running) -> None:
    """What the four services bind to HTTP is served, or refused by name, as told."""
    found = [
        f"| `{binding}` | {_served(vertex, binding, 'v1')} "
        f"| {_served(vertex, binding, 'v1beta1')} |"
        for binding in sorted({*BINDINGS["v1"], *BINDINGS["v1beta1"]})
    ]
    nobodys = vertex.client.get(vertex.path("/nothing"))

    if os.environ.get(table.WRITE):
        table.write(table.BINDINGS, "| call | v1 | v1beta1 |", found)
    assert nobodys.status_code == 404
    assert table.lines(table.BINDINGS) == found, "run `make clients`"


def test_the_schema_is_the_installed_protos() -> None:
    """schema.json is what the installed google-cloud-aiplatform makes."""
    assert make_schema.text() == SCHEMA


@pytest.mark.client(
    "generated clients over REST",
    "upload, create, deploy, mutate, predict, list, undeploy, delete, operations",
)
def test_the_generated_clients(vertex: Running) -> None:
    """GAPIC clients upload, create, deploy, ask, list, undeploy and delete."""
    options: JSON = {
        "transport": "rest",
        "client_options": {"api_endpoint": vertex.url},
        "credentials": AnonymousCredentials(),
    }
    models = aiplatform_v1.ModelServiceClient(**options)
    endpoints = aiplatform_v1.EndpointServiceClient(**options)
    predictions = aiplatform_v1.PredictionServiceClient(**options)
    parent = "projects/local/locations/us-central1"
    source = vertex.call("GET", "/models/m")["containerSpec"]
    container = {
        "image_uri": "i",
        "command": source["command"],
        "args": ["--say=gapic"],
    }

    uploaded = models.upload_model(
        parent=parent, model={"display_name": "g", "container_spec": container}
    ).result()
    created = endpoints.create_endpoint(
        parent=parent, endpoint={"display_name": "g"}, endpoint_id="gapic"
    ).result()
    machine = {
        "machine_type": "g2-standard-8",
        "accelerator_type": "NVIDIA_L4",
        "accelerator_count": 1,
    }
    deployed = endpoints.deploy_model(
        endpoint=created.name,
        deployed_model={
            "model": uploaded.model,
            "dedicated_resources": {"machine_spec": machine, "min_replica_count": 1},
        },
        traffic_split={"0": 100},
    ).result()
    own = deployed.deployed_model.id
    answer = predictions.predict(endpoint=created.name, instances=[{"a": 1}])
    listed = endpoints.list_operations(request={"name": created.name})
    moved = endpoints.mutate_deployed_model(
        endpoint=created.name,
        deployed_model={"id": own, "dedicated_resources": {"max_replica_count": 3}},
        update_mask={"paths": ["dedicated_resources.max_replica_count"]},
    ).result()
    endpoints.undeploy_model(endpoint=created.name, deployed_model_id=own).result()
    endpoints.delete_endpoint(name=created.name).result()
    models.delete_model(name=uploaded.model).result()

    assert answer.predictions[0]["said"] == "gapic"
    assert answer.deployed_model_id == own
    assert len(listed.operations) == 2
    assert moved.deployed_model.dedicated_resources.max_replica_count == 3
