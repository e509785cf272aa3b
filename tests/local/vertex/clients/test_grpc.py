"""The default transport of Google's Python clients, through the gRPC face."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.vertex.clients.running import (
    PATIENCE,
    REGION,
    WITHOUT_VLLM,
    Stack,
    grpc_face,
)
from local.vertex.running import CONTAINER

SDK = """
import sys
from google.auth.credentials import AnonymousCredentials
import vertexai
from google.cloud import aiplatform
from vertexai.preview import model_garden

vertexai.init(project="local", location={region!r}, api_endpoint={host!r},
              credentials=AnonymousCredentials())
custom_model = model_garden.CustomModel(gcs_uri="gs://models/tiny")
endpoint = custom_model.deploy()
answer = endpoint.predict(instances=[{{"prompt": "a"}}], use_dedicated_endpoint=True)
assert len(answer.predictions) == 1, answer
model_name = endpoint.list_models()[0].model
endpoint.delete(force=True)
aiplatform.Model(model_name).delete()
"""

GAPIC = """
import sys
import grpc
from google.api_core import exceptions
from google.cloud import aiplatform_v1, aiplatform_v1beta1

with open({authority!r}, "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())

def made(kind):
    channel = grpc.secure_channel({host!r}, credentials)
    return kind(transport=kind.get_transport_class("grpc")(channel=channel))

models = made(aiplatform_v1.ModelServiceClient)
endpoints = made(aiplatform_v1.EndpointServiceClient)
predictions = made(aiplatform_v1.PredictionServiceClient)
parent = "projects/local/locations/{region}"
container = {{"image_uri": "i", "command": [sys.executable, {container!r}],
             "args": ["--say=grpc"]}}
uploaded = models.upload_model(parent=parent, model={{
    "display_name": "g", "container_spec": container}}).result()
created = endpoints.create_endpoint(
    parent=parent, endpoint={{"display_name": "g"}}, endpoint_id="by-grpc").result()
try:
    endpoints.create_endpoint(
        parent=parent, endpoint={{"display_name": "g"}}, endpoint_id="by-grpc")
except exceptions.AlreadyExists:
    pass
else:
    raise AssertionError("a second endpoint of one id")
machine = {{"machine_type": "g2-standard-8", "accelerator_type": "NVIDIA_L4",
           "accelerator_count": 1}}
deployed = endpoints.deploy_model(
    endpoint=created.name, traffic_split={{"0": 100}}, deployed_model={{
        "model": uploaded.model,
        "dedicated_resources": {{"machine_spec": machine, "min_replica_count": 1}},
    }}).result().deployed_model
answer = predictions.predict(endpoint=created.name, instances=[{{"a": 1}}])
assert answer.predictions[0]["said"] == "grpc", answer
{streams}assert [item.name for item in endpoints.list_endpoints(parent=parent)]
try:
    endpoints.delete_endpoint(name=created.name)
except exceptions.FailedPrecondition:
    pass
else:
    raise AssertionError("a busy endpoint was deleted")
endpoints.undeploy_model(
    endpoint=created.name, deployed_model_id=deployed.id).result()
endpoints.delete_endpoint(name=created.name).result()
models.delete_model(name=uploaded.model).result()
"""


STREAMS = """
import json
import time
from google.api.httpbody_pb2 import HttpBody

raw = predictions.raw_predict(endpoint=created.name, http_body=HttpBody(
    content_type="application/json", data=b'{"prompt": "a"}'))
assert json.loads(raw.data)["body"] == {"prompt": "a"}, raw
assert raw.content_type == "application/json", raw
times, text = [], b""
for piece in predictions.stream_raw_predict(endpoint=created.name, http_body=HttpBody(
        content_type="application/json", data=b'{"stream": 4}')):
    times.append(time.monotonic())
    text += piece.data
assert text == b"".join(b"data: %d\\n\\n" % number for number in range(4)), text
assert times[-1] - times[0] > 0.4, times
beta = made(aiplatform_v1beta1.PredictionServiceClient)
chat = b"".join(piece.data for piece in beta.chat_completions(
    endpoint=created.name, http_body=HttpBody(data=b'{"messages": []}')))
assert json.loads(chat)["body"]["@requestFormat"] == "chatCompletions", chat

def refused(kind, call):
    try:
        list(call())
    except kind as error:
        return str(error)
    raise AssertionError(kind)

broken = HttpBody(data=b'{"fail": 400}')
refused(exceptions.InvalidArgument, lambda: predictions.stream_raw_predict(
    endpoint=created.name, http_body=broken))
refused(exceptions.NotFound, lambda: predictions.stream_raw_predict(
    endpoint=parent + "/endpoints/none", http_body=HttpBody(data=b"{}")))
refused(exceptions.MethodNotImplemented, lambda: [predictions.direct_predict(
    request={"endpoint": created.name})])
refused(exceptions.MethodNotImplemented, lambda: predictions.stream_direct_predict(
    iter([{"endpoint": created.name}])))
words = refused(exceptions.MethodNotImplemented,
    lambda: predictions.server_streaming_predict(request={"endpoint": created.name}))
assert "its containers speak HTTP" in words, words
"""


pytestmark = WITHOUT_VLLM


@pytest.fixture(scope="module")
def face(whole: Stack) -> Iterator[str]:
    """A gRPC face with TLS in front of the stand-in; gives host and port."""
    with grpc_face(whole) as port:
        yield f"localhost:{port}"


def _run(whole: Stack, script: str) -> None:
    trusted = {
        "REQUESTS_CA_BUNDLE": str(whole.authority),
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(whole.authority),
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **trusted},
        cwd=Path(whole.home),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.mark.client(
    "generated clients over gRPC",
    "upload, create, deploy, predict, list, delete",
    "`raw_predict`, `stream_raw_predict`, `chat_completions`",
)
def test_generated_clients(whole: Stack, face: str) -> None:
    """GAPIC clients over gRPC: upload to delete, and codes of errors."""
    names = {"host": face, "region": REGION, "authority": str(whole.authority)}
    _run(whole, GAPIC.format(container=str(CONTAINER), streams=STREAMS, **names))


@pytest.mark.client("Python SDK 2.7 over gRPC", "`CustomModel(…).deploy()`, predict")
def test_the_sdk_as_it_comes(whole: Stack, face: str) -> None:
    """The high-level SDK with its default transport deploys custom weights."""
    _run(whole, SDK.format(host=face, region=REGION))
