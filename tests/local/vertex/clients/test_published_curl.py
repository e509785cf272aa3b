"""The curl commands of the published page, as they stand there.

Only names are filled in, by shell variables of the very names the page uses.
Where the page says a Google host, curl's own configuration file sends it to the
stand-in; a `gcloud` that prints a token stands in for the real one.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.vertex.clients.running import PATIENCE, REGION, Stack
from local.vertex.running import until

JSON = dict[str, Any]

DEPLOY = r"""
curl -X POST \
  -H "Authorization: Bearer $(gcloud auth print-access-token)" \
  -H "Content-Type: application/json" \
  "https://${REGION}-aiplatform.googleapis.com/v1beta1/projects/${PROJECT_ID}/locations/${REGION}:deploy" \
  -d '{
    "custom_model": {
    "gcs_uri": "'"${MODEL_GCS}"'"
  },
  "destination": "projects/'"${PROJECT_ID}"'/locations/'"${REGION}"'",
  "model_config": {
     "model_user_id": "'"${MODEL_ID}"'",
  },
}'
"""  # noqa: E501  # the page's own lines
DEPLOY_ON = r"""
curl -X POST \
  -H "Authorization: Bearer $(gcloud auth print-access-token)" \
  -H "Content-Type: application/json" \
  "https://${REGION}-aiplatform.googleapis.com/v1beta1/projects/${PROJECT_ID}/locations/${REGION}:deploy" \
  -d '{
    "custom_model": {
    "gcs_uri": "'"${MODEL_GCS}"'"
  },
  "destination": "projects/'"${PROJECT_ID}"'/locations/'"${REGION}"'",
  "model_config": {
     "model_user_id": "'"${MODEL_ID}"'",
  },
  "deploy_config": {
    "dedicated_resources": {
      "machine_spec": {
        "machine_type": "'"${MACHINE_TYPE}"'",
        "accelerator_type": "'"${ACCELERATOR_TYPE}"'",
        "accelerator_count": '"${ACCELERATOR_COUNT}"'
      },
      "min_replica_count": 1
    }
  }
}'
"""  # noqa: E501  # the page's own lines
CHAT = r"""
  curl -X POST \
    -H "Authorization: Bearer $(gcloud auth print-access-token)" \
    -H "Content-Type: application/json" \
    "https://${ENDPOINT_URL}/v1beta1/projects/${PROJECT_ID}/locations/${LOCATION}/endpoints/${ENDPOINT_ID}/chat/completions" \
    -d '{
    "model": "'"${MODEL_ID}"'",
    "temperature": 0,
    "top_p": 1,
    "max_tokens": 154,
    "ignore_eos": true,
    "messages": [
      {
        "role": "user",
        "content": "How to tell the time by looking at the sky?"
      }
    ]
  }'
"""  # noqa: E501  # the page's own lines
CHAT_STREAM = r"""
  curl -X POST \
    -H "Authorization: Bearer $(gcloud auth print-access-token)" \
    -H "Content-Type: application/json" \  "https://${ENDPOINT_URL}/v1beta1/projects/${PROJECT_ID}/locations/${LOCATION}/endpoints/${ENDPOINT_ID}/chat/completions" \
    -d '{
    "model": "'"${MODEL_ID}"'",
    "stream": true,
    "temperature": 0,
    "top_p": 1,
    "max_tokens": 154,
    "ignore_eos": true,
    "messages": [
      {
        "role": "user",
        "content": "How to tell the time by looking at the sky?"
      }
    ]
  }'
"""  # noqa: E501  # the page's own lines, its stray backslash included
PREDICT = r"""
  curl -X POST \
    -H "Authorization: Bearer $(gcloud auth print-access-token)" \
    -H "Content-Type: application/json" \
  "https://${ENDPOINT_URL}/v1beta1/projects/${PROJECT_ID}/locations/${LOCATION}/endpoints/${ENDPOINT_ID}:predict" \
    -d '{
    "instances": [
      {
        "prompt": "How to tell the time by looking at the sky?",
        "temperature": 0,
        "top_p": 1,
        "max_tokens": 154,
        "ignore_eos": true
      }
    ]
  }'
"""  # noqa: E501  # the page's own lines
STREAM = r"""
  curl -X POST \
    -N \
    --output - \
    -H "Authorization: Bearer $(gcloud auth print-access-token)" \
    -H "Content-Type: application/json" \
    "https://${ENDPOINT_URL}/v1beta1/projects/${PROJECT_ID}/locations/${LOCATION}/endpoints/${ENDPOINT_ID}:streamRawPredict" \
    -d '{
    "instances": [
      {
        "prompt": "How to tell the time by looking at the sky?",
        "temperature": 0,
        "top_p": 1,
        "max_tokens": 154,
        "ignore_eos": true,
        "stream": true
      }
    ]
  }'
"""  # noqa: E501  # the page's own lines


class Shell:
    """A shell in which the page's commands run as they are."""

    def __init__(self, whole: Stack, home: Path) -> None:
        self.whole = whole
        token = home / "gcloud"
        token.write_text("#!/bin/sh\necho a-token\n")
        token.chmod(0o755)
        google = f"{REGION}-aiplatform.googleapis.com:443"
        (home / ".curlrc").write_text(
            f'connect-to = "{google}:localhost:{whole.tls_port}"\n'
            f'cacert = "{whole.authority}"\nsilent\nshow-error\nmax-time = 120\n'
        )
        path = f"{home}:{os.environ['PATH']}"
        self.names = {"PATH": path, "CURL_HOME": str(home), **whole.names()}

    def run(self, command: str, **names: str) -> str:
        """What a command prints."""
        done = subprocess.run(
            ["bash", "-c", command],
            env={**self.names, **names},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def shell(whole: Stack, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell with the names filled in."""
    return Shell(whole, tmp_path_factory.mktemp("shell"))


def _finish(whole: Stack, operation: JSON) -> JSON:
    vertex, name = whole.vertex, operation["name"]
    until(lambda: vertex.operation(name)["done"], seconds=PATIENCE)
    return vertex.succeed(operation)


def _remove(whole: Stack, response: JSON) -> None:
    vertex = whole.vertex
    rest = "/endpoints/" + response["endpoint"].rpartition("/")[2]
    for item in vertex.call("GET", rest)["deployedModels"]:
        body = {"deployedModelId": item["id"]}
        vertex.succeed(vertex.call("POST", f"{rest}:undeployModel", body))
    vertex.succeed(vertex.call("DELETE", rest))
    model = "/models/" + response["model"].rpartition("/")[2]
    vertex.succeed(vertex.call("DELETE", model))


@pytest.fixture(scope="module")
def deployed(whole: Stack, shell: Shell) -> Iterator[dict[str, str]]:
    """What the first command deploys: names for the others."""
    operation = json.loads(shell.run(DEPLOY, MODEL_ID="from-curl"))
    response = _finish(whole, operation)
    endpoint_id = response["endpoint"].rpartition("/")[2]
    yield {"MODEL_ID": "from-curl", "ENDPOINT_ID": endpoint_id}
    _remove(whole, response)


@pytest.mark.client("curl", "`:deploy` of `custom_model` with a machine")
def test_deploy_on_a_chosen_machine(whole: Stack, shell: Shell) -> None:
    """The long form of :deploy runs on the machine it names."""
    operation = json.loads(shell.run(DEPLOY_ON, MODEL_ID="on-a-machine"))

    response = _finish(whole, operation)

    rest = "/endpoints/" + response["endpoint"].rpartition("/")[2]
    (one,) = whole.vertex.call("GET", rest)["deployedModels"]
    assert one["dedicatedResources"]["machineSpec"] == {
        "machineType": "g2-standard-12",
        "acceleratorType": "NVIDIA_L4",
        "acceleratorCount": 1,
    }
    _remove(whole, response)


@pytest.mark.client("curl", "`:deploy` of `custom_model`", "`chat/completions`")
def test_chat(shell: Shell, deployed: dict[str, str]) -> None:
    """A chat completion comes whole."""
    answer = json.loads(shell.run(CHAT, **deployed))

    assert answer["choices"]


@pytest.mark.client("curl", "`chat/completions` with `stream`")
def test_chat_stream(shell: Shell, deployed: dict[str, str]) -> None:
    """A chat completion comes as server-sent events."""
    text = shell.run(CHAT_STREAM, **deployed)

    assert text.count("data: ") > 1


@pytest.mark.client("curl", "`:predict`")
def test_predict(shell: Shell, deployed: dict[str, str]) -> None:
    """A prediction names who made it."""
    answer = json.loads(shell.run(PREDICT, **deployed))

    assert len(answer["predictions"]) == 1
    assert answer["model"].endswith("/models/from-curl")


@pytest.mark.client("curl", "`:streamRawPredict`")
def test_stream(shell: Shell, deployed: dict[str, str]) -> None:
    """StreamRawPredict streams what the server says."""
    assert shell.run(STREAM, **deployed).strip()
