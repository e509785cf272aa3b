"""The whole way with real vLLM: a tiny model is uploaded, deployed, and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from openai import OpenAI

from local.vertex.buckets import Buckets
from local.vertex.running import Running, until
from weightdrop.local.tiny_model import make_tiny_llama

pytestmark = pytest.mark.vllm
PATIENCE = 240.0
DNS = "/endpoints/e"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stand-in whose endpoint `e` serves a tiny model as `tiny`."""
    home = tmp_path_factory.mktemp("vllm")
    buckets = Buckets(home)
    make_tiny_llama(home / "tiny")
    uri = buckets.put_folder(home / "tiny", "drops/tiny")
    vertex = Running(home / "vertex", "--storage-endpoint", buckets.url)
    try:
        model = {
            "displayName": "tiny",
            "artifactUri": uri,
            "containerSpec": {
                "imageUri": "example/serving:1",
                "args": ["--max-model-len", "512", "--served-model-name", "tiny"],
                "predictRoute": "/vertex/predict",
                "healthRoute": "/vertex/health",
            },
        }
        body = {"modelId": "m", "model": model}
        vertex.succeed(vertex.call("POST", "/models:upload", body))
        vertex.endpoint("e")
        operation = vertex.deploy()
        until(lambda: vertex.operation(operation["name"])["done"], seconds=PATIENCE)
        vertex.succeed(operation)
        yield vertex
    finally:
        vertex.close()
        buckets.close()


def test_every_form_of_a_prediction_is_answered(served: Running) -> None:
    """Predict, rawPredict, chat and streams all reach vLLM and come back."""
    instance = {"prompt": "How to tell the time", "max_tokens": 4, "temperature": 0}
    predicted = served.call("POST", f"{DNS}:predict", {"instances": [instance]})
    raw = served.ask(max_tokens=4, model="tiny").json()
    chat = served.client.post(
        served.path(f"{DNS}/chat/completions", "v1beta1"),
        json={
            "model": "tiny",
            "max_tokens": 4,
            "messages": [{"role": "user", "content": "Hello"}],
        },
    ).json()
    streamed = served.client.post(
        served.path(f"{DNS}:streamRawPredict"),
        json={"instances": [{**instance, "stream": True}]},
    )

    assert len(predicted["predictions"]) == 1
    assert predicted["deployedModelId"] == "1"
    assert raw["choices"][0]["text"]
    assert chat["choices"][0]["message"]["content"]
    assert streamed.status_code == 200
    assert streamed.text


@pytest.mark.client(
    "OpenAI's Python client", "`chat.completions.create`, whole and streaming"
)
def test_the_openai_client_talks_to_the_endpoint(served: Running) -> None:
    """OpenAI's client with the endpoint as base URL: whole, and piece by piece."""
    client = OpenAI(base_url=served.url + served.path(DNS, "v1beta1"), api_key="none")
    ask = {"model": "tiny", "max_tokens": 8, "temperature": 0}
    messages = [{"role": "user", "content": "Hello"}]

    whole = client.chat.completions.create(messages=messages, **ask)  # type: ignore[call-overload]  # plain dicts
    pieces = client.chat.completions.create(messages=messages, stream=True, **ask)  # type: ignore[call-overload]  # plain dicts
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    client.close()

    assert whole.choices[0].message.content == text
    assert text


def test_the_replica_read_the_managed_copy(served: Running) -> None:
    """The server's weights come from the copy in the managed bucket."""
    found = served.call("GET", "/models/m")

    assert found["artifactUri"] == "gs://models/drops/tiny"
    shown = json.dumps(served.ask(model="tiny", max_tokens=1).json())
    assert "tiny" in shown
