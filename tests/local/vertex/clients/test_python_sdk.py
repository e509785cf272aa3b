"""google-cloud-aiplatform's high-level SDK over REST, each script a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.vertex.clients.running import PATIENCE, REGION, WITHOUT_VLLM, Stack
from local.vertex.running import CONTAINER

SDK = "Python SDK 2.7 over REST"
INIT = """
import sys
from google.auth.credentials import AnonymousCredentials
import vertexai
from google.cloud import aiplatform
from vertexai.preview import model_garden

vertexai.init(project={project!r}, location={region!r}, api_endpoint={url!r},
              api_transport="rest", credentials=AnonymousCredentials())
"""

SEED_EXPLICIT = """
custom_model = model_garden.CustomModel(
  gcs_uri=GCS_URI,
)
endpoint = custom_model.deploy(
  machine_type="g2-standard-12",
  accelerator_type="NVIDIA_L4",
  accelerator_count=1,
  model_display_name="custom-model",
  endpoint_display_name="custom-model-endpoint")

answer = endpoint.predict(
    instances=[{"prompt": PROMPT}], use_dedicated_endpoint=True)
assert len(answer.predictions) == 1, answer
assert endpoint.display_name == "custom-model-endpoint"
"""

SEED_DEFAULT = """
custom_model = model_garden.CustomModel(
  gcs_uri=GCS_URI,
)
endpoint = custom_model.deploy()

answer = endpoint.predict(
    instances=[{"prompt": PROMPT}], use_dedicated_endpoint=True)
assert len(answer.predictions) == 1, answer
"""

SEED_QUERY = """
endpoint_id = endpoint.name
endpoint = aiplatform.Endpoint(endpoint_id)

prompt = "How to tell the time by looking at the sky?"
instances=[{"text": prompt}]
response = endpoint.predict(instances=instances, use_dedicated_endpoint=True)
assert response.predictions
"""

RAW = """
import json
body = json.dumps({"instances": [{"prompt": PROMPT, "max_tokens": 4}]}).encode()
headers = {"Content-Type": "application/json"}
raw = endpoint.raw_predict(body=body, headers=headers)
assert raw.status_code == 200, raw.text
assert raw.headers["X-Vertex-AI-Deployed-Model-Id"], raw.headers
text = "".join(
    line if isinstance(line, str) else line.decode()
    for line in endpoint.stream_raw_predict(body=body, headers=headers))
assert text
"""

CLEAN = """
listed = [found.name for found in aiplatform.Endpoint.list()]
assert endpoint.name in listed, listed
model_name = endpoint.list_models()[0].model
endpoint.delete(force=True)
aiplatform.Model(model_name).delete()
assert endpoint.name not in [found.name for found in aiplatform.Endpoint.list()]
"""

OPTIONS = """
shown = model_garden.CustomModel(gcs_uri=GCS_URI).list_deploy_options()
assert 'accelerator_type="NVIDIA_L4"' in shown, shown
"""

STEPS = """
model = aiplatform.Model.upload(
    display_name="uploaded", model_id="uploaded", artifact_uri=GCS_URI,
    serving_container_image_uri="example/image:1",
    serving_container_predict_route="/vertex/predict",
    serving_container_health_route="/vertex/health",
    serving_container_environment_variables={"EXTRA": "1"},
    serving_container_deployment_timeout=600,
    labels={"team": "x"})
assert model.version_id == "1" and "default" in model.version_aliases
second = aiplatform.Model.upload(
    display_name="uploaded", parent_model=model.resource_name,
    is_default_version=False, version_aliases=["next"],
    serving_container_image_uri="example/image:1",
    serving_container_command=[sys.executable, CONTAINER],
    serving_container_args=["--say", "second"])
assert second.version_id == "2", second.version_id
versions = model.versioning_registry.list_versions()
assert [v.version_id for v in versions] == ["1", "2"], versions
endpoint = aiplatform.Endpoint.create(
    display_name="made", endpoint_id="made", dedicated_endpoint_enabled=True,
    labels={"team": "x"})
model.deploy(
    endpoint=endpoint, deployed_model_display_name="one", traffic_percentage=100,
    machine_type="g2-standard-8", accelerator_type="NVIDIA_L4", accelerator_count=1,
    min_replica_count=1, max_replica_count=1)
first = endpoint.predict(instances=[{"prompt": "a"}], use_dedicated_endpoint=True)
assert len(first.predictions) == 1, first
assert first.model_version_id == "1"
second.deploy(
    endpoint=endpoint, deployed_model_display_name="two", traffic_percentage=100,
    machine_type="g2-standard-8", accelerator_type="NVIDIA_L4", accelerator_count=1)
after = endpoint.predict(instances=[{"prompt": "a"}], use_dedicated_endpoint=True)
assert after.predictions[0]["said"] == "second", after
assert after.model_version_id == "2"
ids = {item.display_name: item.id for item in endpoint.list_models()}
assert endpoint.traffic_split == {ids["one"]: 0, ids["two"]: 100} or (
    endpoint.traffic_split == {ids["two"]: 100}), endpoint.traffic_split
endpoint.update(traffic_split={ids["one"]: 50, ids["two"]: 50})
ask = [{"prompt": "a", "max_tokens": 1}]
versions = [endpoint.predict(instances=ask, use_dedicated_endpoint=True)
            .model_version_id for _ in range(10)]
assert versions.count("1") == 5, versions
endpoint.update(traffic_split={ids["two"]: 100})
endpoint.undeploy(deployed_model_id=ids["one"])
found = aiplatform.Endpoint.list(filter='labels.team=x')
assert [item.name for item in found] == ["made"], found
assert [m.name for m in aiplatform.Model.list(filter='labels.team="x"')]
endpoint.undeploy_all()
endpoint.delete()
model.delete()
"""

INVOKE = """
model = aiplatform.Model.upload(
    display_name="invoked", model_id="invoked",
    serving_container_image_uri="example/image:1",
    serving_container_command=[sys.executable, CONTAINER],
    serving_container_health_route="/health",
    serving_container_invoke_route_prefix="/*")
endpoint = aiplatform.Endpoint.create(
    display_name="invoked", dedicated_endpoint_enabled=True)
model.deploy(endpoint=endpoint, traffic_percentage=100, machine_type="g2-standard-8",
             accelerator_type="NVIDIA_L4", accelerator_count=1)
answer = endpoint.invoke(
    request_path="/v1/some/where", body=b'{"prompt": "a"}',
    headers={"Content-Type": "application/json"})
assert answer.json()["path"] == "/v1/some/where", answer.text
refused = endpoint.raw_predict(body=b"{}", headers={"Content-Type": "application/json"})
assert refused.status_code == 400 and "/invoke" in refused.text, refused.text
endpoint.delete(force=True)
model.delete()
"""


ASYNC = """
import asyncio, certifi, google.auth
certifi.where = lambda: AUTHORITY
endpoint.credentials, _ = google.auth.load_credentials_from_file(CREDENTIALS)
answer = asyncio.run(endpoint.predict_async(instances=[{"prompt": PROMPT}]))
assert len(answer.predictions) == 1, answer
assert answer.deployed_model_id, answer
"""


def _run(whole: Stack, *parts: str) -> None:
    """Run a script; it must end well."""
    head = INIT.format(project="local", region=REGION, url=whole.vertex.url)
    names = {
        "GCS_URI": "gs://models/tiny",
        "PROMPT": "How to tell the time by looking at the sky?",
        "CONTAINER": str(CONTAINER),
        "AUTHORITY": str(whole.authority),
        "CREDENTIALS": str(whole.credentials()),
    }
    head += "\n".join(f"{name} = {value!r}" for name, value in names.items())
    trusted = {"REQUESTS_CA_BUNDLE": str(whole.authority)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([head, *parts])],
        env={**os.environ, **trusted},
        cwd=Path(whole.home),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.mark.client(
    SDK,
    "`CustomModel(…).deploy(machine_type=…, …)`",
    "`endpoint.predict(…, use_dedicated_endpoint=True)`",
    '`aiplatform.Endpoint(ID).predict(instances=[{"text": …}])`',
    "`endpoint.raw_predict`, `endpoint.stream_raw_predict` (dedicated)",
)
def test_custom_model_with_a_machine(whole: Stack) -> None:
    """The published script with all arguments deploys and predicts."""
    _run(whole, SEED_EXPLICIT, SEED_QUERY, RAW, CLEAN)


@pytest.mark.client(SDK, "`CustomModel(…).deploy()`")
def test_custom_model_without_arguments(whole: Stack) -> None:
    """The published script without arguments deploys and predicts."""
    _run(whole, SEED_DEFAULT, CLEAN)


@pytest.mark.client(
    SDK, "`endpoint.predict_async`, `certifi.where` giving the stand-in's certificate"
)
@WITHOUT_VLLM
def test_predict_async(whole: Stack) -> None:
    """It trusts certifi's file alone, and wants credentials that can be refreshed."""
    _run(whole, SEED_DEFAULT, ASYNC, CLEAN)


@pytest.mark.client(SDK, "`CustomModel(…).list_deploy_options()`")
@WITHOUT_VLLM
def test_deploy_options(whole: Stack) -> None:
    """list_deploy_options shows what :recommendSpec says."""
    _run(whole, OPTIONS)


@pytest.mark.client(
    SDK,
    "`Model.upload`, versions and aliases, `Model.list`, `Model.delete`",
    "`Endpoint.create`, `update`, `list`, `delete`",
    "`Model.deploy` beside another model, `undeploy`, `undeploy_all`",
)
def test_step_by_step(whole: Stack) -> None:
    """Upload, create, deploy, versions, traffic, lists and deletion by the SDK."""
    _run(whole, STEPS)


@pytest.mark.client(SDK, "`endpoint.invoke`")
@WITHOUT_VLLM
def test_invoke(whole: Stack) -> None:
    """A model with invoke_route_prefix is invoked by path, and only so."""
    _run(whole, INVOKE)
