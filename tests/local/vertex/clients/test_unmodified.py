"""Programs that name no other host than Google's, led to the stand-in by its proxy.

The published Python sample deploys; then LangChain and LiteLLM ask what it deployed.
Those two live in an environment of their own (`make clients-env`), and what their
processes are told is their makers' own way and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.separate import separate_python
from local.vertex.clients.running import PATIENCE, WITH_VLLM, Stack, led_here
from local.vertex.running import CONTAINER

pytestmark = WITH_VLLM
GCLOUD = os.environ.get("WEIGHTDROP_GCLOUD", "gcloud")

SAMPLE = """
import vertexai
from google.cloud import aiplatform
from vertexai.preview import model_garden

vertexai.init(project="local", location="us-central1")
custom_model = model_garden.CustomModel(
  gcs_uri="gs://models/tiny",
)
endpoint = custom_model.deploy(
  machine_type="g2-standard-12",
  accelerator_type="NVIDIA_L4",
  accelerator_count=1,
  model_display_name="custom-model",
  endpoint_display_name="custom-model-endpoint")

endpoint.predict(instances=[{"prompt": "Hello"}], use_dedicated_endpoint=True)
"""
"""The published page's own, with its names filled in."""

QUERY = """
from google.cloud import aiplatform

project_id = "local"
location = "us-central1"
endpoint_id = "ENDPOINT" # Use the short ID here

aiplatform.init(project=project_id, location=location)

endpoint = aiplatform.Endpoint(endpoint_id)

prompt = "How to tell the time by looking at the sky?"
instances=[{"text": prompt}]
response = endpoint.predict(instances=instances, use_dedicated_endpoint=True)
print(response.predictions)
"""
"""The same page's query."""

SHARED = """
import sys
from google.cloud import aiplatform

aiplatform.init(project="local", location="us-central1")
model = aiplatform.Model.upload(
    display_name="shared", serving_container_image_uri="example/image:1",
    serving_container_command=[sys.executable, CONTAINER])
endpoint = aiplatform.Endpoint.create(display_name="shared")
model.deploy(endpoint=endpoint, traffic_percentage=100, machine_type="g2-standard-8",
             accelerator_type="NVIDIA_L4", accelerator_count=1)
assert not endpoint.gca_resource.dedicated_endpoint_enabled
headers = {"Content-Type": "application/json"}
raw = endpoint.raw_predict(body=b'{"prompt": "a"}', headers=headers)
assert raw.json()["body"] == {"prompt": "a"}, raw.text
streamed = list(endpoint.stream_raw_predict(body=b'{"stream": 3}', headers=headers))
assert len([line for line in streamed if line]) == 3, streamed
endpoint.delete(force=True)
model.delete()
"""

GENERATED = """
from google.api.httpbody_pb2 import HttpBody
from google.cloud import aiplatform_v1, aiplatform_v1beta1

options = {"api_endpoint": "us-central1-aiplatform.googleapis.com"}
name = "projects/local/locations/us-central1/endpoints/ENDPOINT"

def body(text):
    return HttpBody(content_type="application/json", data=text)

client = aiplatform_v1.PredictionServiceClient(client_options=options)
answer = client.predict(endpoint=name, instances=[{"prompt": "Hello", "max_tokens": 2}])
assert len(answer.predictions) == 1, answer
ask = body(b'{"instances": [{"prompt": "Hello", "max_tokens": 8, "stream": true}]}')
pieces = list(client.stream_raw_predict(endpoint=name, http_body=ask))
assert len(pieces) > 1, pieces
beta = aiplatform_v1beta1.PredictionServiceClient(client_options=options)
ask = body(b'{"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8,'
           b' "stream": true}')
chat = b"".join(one.data for one in beta.chat_completions(endpoint=name, http_body=ask))
assert chat.count(b"data: ") > 1 and b"[DONE]" in chat, chat
"""

LITELLM = """
import os
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it fetches a price list otherwise
import litellm

ask = dict(
    model="vertex_ai/openai/ENDPOINT", vertex_project="local",
    vertex_location="us-central1", max_tokens=8, temperature=0,
    messages=[{"role": "user", "content": "Hello, how are you?"}])
for more in ({}, {"api_base": API_BASE}):
    whole = litellm.completion(**ask, **more).choices[0].message.content
    pieces = litellm.completion(**ask, **more, stream=True)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert whole and whole == text, (more, whole, text)
"""

LANGCHAIN = """
import asyncio
from langchain_google_vertexai import VertexAIModelGarden

async def main():
    llm = VertexAIModelGarden(
        project="local", location="us-central1", endpoint_id="ENDPOINT",
        allowed_model_args=["temperature", "max_tokens"])
    first = llm.invoke("What is the meaning of life?", temperature=0, max_tokens=8)
    again = await llm.ainvoke(
        "What is the meaning of life?", temperature=0, max_tokens=8)
    both = llm.generate(["Hello", "Good-bye"], max_tokens=4)
    assert first and first == again, (first, again)
    assert len(both.generations) == 2, both

asyncio.run(main())
"""


@dataclass(frozen=True)
class Led:
    """Programs that are led to the stand-in.

    Attributes:
        whole: The stack.
        env: Variables of their processes.
        endpoint: Id of the endpoint that the sample deployed.
    """

    whole: Stack
    env: dict[str, str]
    endpoint: str = ""

    def run(self, script: str, python: Path = Path(sys.executable)) -> str:
        """What a script prints; it must end well."""
        return self.start(
            [str(python), "-c", script.replace("ENDPOINT", self.endpoint)]
        )

    def start(self, command: list[str], **env: str) -> str:
        """What a command prints; it must end well."""
        done = subprocess.run(
            command,
            env={**os.environ, **self.env, **env},
            cwd=self.whole.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr[-6000:]
        return done.stdout


@pytest.fixture(scope="module")
def led(whole: Stack) -> Iterator[Led]:
    """Programs are led here; the page's sample has deployed."""
    with led_here(whole) as env:
        Led(whole, env).run(SAMPLE)
        (endpoint,) = whole.vertex.call("GET", "/endpoints")["endpoints"]
        yield Led(whole, env, endpoint["name"].rpartition("/")[2])
        rest = "/endpoints/" + endpoint["name"].rpartition("/")[2]
        (one,) = whole.vertex.call("GET", rest)["deployedModels"]
        body = {"deployedModelId": one["id"]}
        whole.vertex.succeed(whole.vertex.call("POST", f"{rest}:undeployModel", body))
        whole.vertex.succeed(whole.vertex.call("DELETE", rest))
        model = one["model"].rpartition("/")[2]
        whole.vertex.succeed(whole.vertex.call("DELETE", f"/models/{model}"))


@pytest.mark.client(
    "Python SDK 2.7 as it comes, through the proxy", "the published sample as it stands"
)
def test_the_published_sample(led: Led) -> None:
    """The page's Python, not one line of it changed, deploys and queries."""
    assert led.run(QUERY).startswith("[")


@pytest.mark.client(
    "Python SDK 2.7 as it comes, through the proxy",
    "`raw_predict`, `stream_raw_predict` on an endpoint that is not dedicated",
)
def test_an_endpoint_that_is_not_dedicated(led: Led) -> None:
    """The SDK writes Google's host into these calls; the proxy knows where it is."""
    led.run(f"CONTAINER = {str(CONTAINER)!r}\n{SHARED}")


@pytest.mark.client(
    "generated clients as they come, through the proxy",
    "`predict`, `stream_raw_predict`, `chat_completions` over gRPC",
)
def test_generated_clients_stream(led: Led) -> None:
    """Over gRPC, with Google's host and default credentials, piece by piece."""
    led.run(GENERATED)


@pytest.mark.client(
    "LiteLLM", '`completion("vertex_ai/openai/ID")`, whole and streaming'
)
def test_litellm(led: Led) -> None:
    """LiteLLM's Model Garden path: Google's host, or the endpoint's own as api_base."""
    python = separate_python()
    own = f"https://{led.whole.dns}" + led.whole.vertex.path(
        f"/endpoints/{led.endpoint}", "v1beta1"
    )
    led.run(f"API_BASE = {own!r}\n{LITELLM}", python)


@pytest.mark.client(
    "LangChain", "`VertexAIModelGarden(endpoint_id=…)`: invoke, ainvoke, generate"
)
def test_langchain(led: Led) -> None:
    """LangChain's Model Garden class asks over gRPC, whole, async and in batches."""
    python = separate_python()
    led.run(LANGCHAIN, python)


@pytest.mark.client(
    "gcloud as it comes, through the proxy", "`ai endpoints describe`, `predict`"
)
def test_gcloud_without_overrides(led: Led, tmp_path: Path) -> None:
    """Gcloud with no host but Google's own describes the endpoint and asks it."""
    if shutil.which(GCLOUD) is None:
        pytest.skip("gcloud is not installed")
    request = tmp_path / "request.json"
    request.write_text('{"instances": [{"prompt": "Hello", "max_tokens": 2}]}')
    plain = {
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CONFIG": str(tmp_path),
        "CLOUDSDK_CORE_PROJECT": "local",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
    }

    def run(command: str, *more: str) -> str:
        words = [GCLOUD, "ai", "endpoints", command, led.endpoint]
        words += ["--region=us-central1", "--format=json", *more]
        return led.start(words, **plain)

    described = json.loads(run("describe"))
    predicted = json.loads(run("predict", f"--json-request={request}"))

    assert described["displayName"] == "custom-model-endpoint"
    assert len(predicted["predictions"]) == 1
