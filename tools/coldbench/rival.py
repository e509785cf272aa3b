"""The same functions as one writes them on `from google.cloud import aiplatform`.

python -m coldbench.rival CASE
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from coldbench.cost import as_deployed, tell
from coldbench.ours import NAME, event

as_deployed()
import flask  # noqa: E402  # only now, as it is where functions run
import functions_framework  # noqa: E402
from google.cloud import aiplatform, firestore, storage  # noqa: E402

PROJECT = os.environ["WEIGHTDROP_PROJECT"]
REGION = "us-central1"


def client() -> firestore.Client:
    """Firestore, as its emulator's variable says."""
    return firestore.Client(project=PROJECT)


@functions_framework.cloud_event
def on_artifact(arrived: Any) -> None:
    """React to an object."""
    name = arrived.get_data()["name"]
    if not name.endswith((".json", ".safetensors")):
        return
    client().collection("deployments").document("cold").get()


@functions_framework.http
def answer(request: flask.Request) -> Any:
    """Answer a question about one deployment."""
    identity = request.path.rpartition("/")[2]
    found = client().collection("deployments").document(identity).get()
    return flask.Response(json.dumps(found.to_dict()), status=200)


@functions_framework.http
def on_tick(_: flask.Request) -> Any:
    """Look at Vertex AI's endpoints and models."""
    aiplatform.init(
        project=PROJECT,
        location=REGION,
        api_transport="rest",
        api_endpoint=os.environ["WEIGHTDROP_VERTEX_ENDPOINT"],
        credentials=_nobody(),
    )
    client().collection("deployments").limit(100).get()
    wanted = 'labels.weightdrop="true"'
    return {
        "endpoints": len(aiplatform.Endpoint.list(filter=wanted)),
        "models": len(aiplatform.Model.list(filter=wanted)),
    }


def _nobody() -> Any:
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415

    return AnonymousCredentials()


def ignored() -> None:
    """An object that cannot belong to a drop."""
    on_artifact(event("cold/README.md"))


def record() -> None:
    """A shard of a folder that nobody knows."""
    on_artifact(event(NAME))


def status() -> None:
    """A question about one deployment."""
    with flask.Flask("cold").test_request_context("/deployments/none"):
        answer(flask.request)


def vertex() -> None:
    """A tick."""
    with flask.Flask("cold").test_request_context("/"):
        on_tick(flask.request)


if __name__ == "__main__":
    del storage  # it is used by the real one
    globals()[sys.argv[1]]()
    tell()
