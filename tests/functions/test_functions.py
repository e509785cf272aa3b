"""The functions as functions-framework serves them, over ports in memory."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import functions_framework
import pytest
from flask.testing import FlaskClient

from fakes.builders import make_deployment, make_revision
from fakes.bus import MemoryBus
from fakes.clock import FakeClock
from fakes.records import MemoryRecords
from weightdrop.bootstrap import App
from weightdrop.core.artifacts.objects import StoredObject
from weightdrop.core.deployment.phases import Phase
from weightdrop.errors import NotFoundError, TransientError
from weightdrop.ports import Listing
from weightdrop.settings import Backend, Settings
from weightdrop_functions import handlers

MAIN = Path(__file__).resolve().parents[2] / "functions" / "main.py"
SOURCE = "//storage.googleapis.com/projects/_/buckets/models"


class Store:
    """The Artifacts port over names alone; counts what it is asked."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.lists = 0
        self.down = False

    def list(self, bucket: str, prefix: str, *, limit: int) -> Listing:
        """See weightdrop.ports.Artifacts."""
        self.lists += 1
        if self.down:
            raise TransientError("the bucket does not answer")
        found = [n for n in self.names if n.startswith(f"{prefix}/")][:limit]
        when = datetime(2026, 1, 1, tzinfo=UTC)
        return Listing(tuple(StoredObject(n, 1, 2, "crc", when) for n in found), False)

    def stat(self, bucket: str, name: str) -> StoredObject:
        """See weightdrop.ports.Artifacts."""
        raise NotFoundError(f"{bucket}/{name}")

    def read(
        self, bucket: str, name: str, *, generation: int, start: int, length: int
    ) -> bytes:
        """See weightdrop.ports.Artifacts."""
        return b"{}"[start : start + length]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    """The application over fakes."""
    settings = Settings(backend=Backend.LOCAL, buckets=("models",))
    wired = App(settings)
    wired.records = MemoryRecords(strict=True)
    wired.bus = MemoryBus()
    wired.clock = FakeClock()
    wired.artifacts = Store()
    monkeypatch.setattr(handlers, "app", lambda: wired)
    return wired


def client(target: str) -> FlaskClient:
    """A client of one function as the framework serves it."""
    return functions_framework.create_app(target, str(MAIN)).test_client()


def finalized(name: str) -> dict[str, Any]:
    """What Eventarc posts for an object."""
    return {
        "headers": {
            "ce-specversion": "1.0",
            "ce-id": "1",
            "ce-type": "google.cloud.storage.object.v1.finalized",
            "ce-source": SOURCE,
            "ce-subject": f"objects/{name}",
            "ce-bucket": "models",
            "content-type": "application/json",
        },
        "data": json.dumps({"bucket": "models", "name": name, "size": "2"}),
    }


def request(body: object) -> dict[str, Any]:
    """What Eventarc posts for a message on the requests topic."""
    data = base64.b64encode(json.dumps(body).encode()).decode()
    return {
        "headers": {
            "ce-specversion": "1.0",
            "ce-id": "m1",
            "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
            "ce-source": "//pubsub.googleapis.com/projects/p/topics/requests",
            "content-type": "application/json",
        },
        "data": json.dumps({"message": {"data": data, "messageId": "m1"}}),
    }


def test_an_object_that_cannot_matter_costs_nothing(app: App) -> None:
    """No listing, no record, no client: a look at the name."""
    answer = client("on_artifact").post("/", **finalized("llama/README.md"))

    assert (answer.status_code, app.artifacts.lists) == (200, 0)  # type: ignore[attr-defined]


def test_a_shard_of_an_unknown_folder_costs_one_read(app: App) -> None:
    """Its config.json will say when the folder is to be looked at."""
    answer = client("on_artifact").post("/", **finalized("llama/m.safetensors"))

    assert (answer.status_code, app.artifacts.lists) == (200, 0)  # type: ignore[attr-defined]


def test_a_config_makes_the_folder_looked_at(app: App) -> None:
    """The drop is the API: an unfinished one waits and says for what."""
    app.artifacts.names = ("llama/config.json",)  # type: ignore[attr-defined]

    answer = client("on_artifact").post("/", **finalized("llama/config.json"))

    held = app.records.page(phase=None, size=5, token="").deployments
    assert answer.status_code == 200
    assert [deployment.prefix for deployment in held] == ["llama"]
    assert held[0].phase in {Phase.WAITING, Phase.REJECTED}


def test_a_bucket_that_does_not_answer_makes_the_event_come_again(app: App) -> None:
    """A transient error is raised, so that Eventarc delivers once more."""
    app.artifacts.down = True  # type: ignore[attr-defined]

    answer = client("on_artifact").post("/", **finalized("llama/config.json"))

    assert answer.status_code == 500


def test_a_request_that_cannot_be_read_is_buried_with_its_reason(app: App) -> None:
    """No message is lost, and none is delivered for ever."""
    answer = client("on_request").post("/", **request({"nonsense": True}))

    (buried,) = app.bus.on("weightdrop-dead-letters")  # type: ignore[attr-defined]
    assert answer.status_code == 200
    assert "names no deployment" in json.loads(buried.data)["reason"]


def status(app: App, method: str, path: str, **more: Any) -> tuple[int, Any]:
    """Ask the status function."""
    del app
    answer = client("status").open(path, method=method, **more)
    return answer.status_code, answer.get_json()


def test_status_lists_pages_and_filters(app: App) -> None:
    """Newest first, a token for the rest, one phase if asked for."""
    for number in range(3):
        revision = make_revision(phase=Phase.FAILED if number else Phase.READY)
        app.records.create(make_deployment(f"one-{number:08d}", revisions=(revision,)))

    code, first = status(app, "GET", "/deployments?pageSize=2")
    _, rest = status(
        app, "GET", f"/deployments?pageSize=2&pageToken={first['nextPageToken']}"
    )
    _, ready = status(app, "GET", "/deployments?phase=ready")

    ids = [one["id"] for one in first["deployments"] + rest["deployments"]]
    assert (code, len(ids), len(set(ids))) == (200, 3, 3)
    assert [one["id"] for one in ready["deployments"]] == ["one-00000000"]


@pytest.mark.parametrize(
    ("method", "path", "code", "name"),
    [
        ("GET", "/deployments/none-00000000", 404, "NOT_FOUND"),
        ("GET", "/deployments/none-00000000/events", 404, "NOT_FOUND"),
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("GET", "/deployments?phase=odd", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments?pageSize=0", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments?pageSize=x", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments?pageSize=nan", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments?pageToken=forged", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments/../../etc/passwd", 404, "NOT_FOUND"),
        ("POST", "/deployments/tiny-12345678:retry", 409, "FAILED_PRECONDITION"),
        ("POST", "/deployments/tiny-12345678:rollback", 409, "FAILED_PRECONDITION"),
        ("POST", "/deployments/tiny-12345678:undeploy", 409, "FAILED_PRECONDITION"),
        ("POST", "/deployments/none-00000000:retry", 404, "NOT_FOUND"),
        ("POST", "/deployments:deploy", 400, "INVALID_ARGUMENT"),
        ("DELETE", "/deployments/tiny-12345678", 400, "INVALID_ARGUMENT"),
    ],
)
def test_errors_have_googles_form(
    app: App, method: str, path: str, code: int, name: str
) -> None:
    """A program can tell what went wrong, and a person can read it."""
    app.records.create(make_deployment())

    given, body = status(app, method, path)

    assert (code, code, name) == (
        given,
        body["error"]["code"],
        body["error"]["status"],
    )
    assert body["error"]["message"]


def test_a_failed_deployment_is_retried(app: App) -> None:
    """One write brings it back, with the request in the same write."""
    failed = make_revision(phase=Phase.FAILED, reason="quota")
    app.records.create(make_deployment(revisions=(failed,)))

    code, view = status(app, "POST", "/deployments/tiny-12345678:retry")

    assert (code, view["phase"], view["attempt"]) == (200, "accepted", 2)
    assert len(app.bus.on("weightdrop-requests")) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "uri", ["gs://foreign/llama", "/etc", "gs://models/../x/%00", 7, None]
)
def test_deploy_takes_folders_of_watched_buckets_alone(app: App, uri: object) -> None:
    """The body of Vertex AI's own call, and nothing that leads elsewhere."""
    code, body = status(
        app, "POST", "/deployments:deploy", json={"custom_model": {"gcs_uri": uri}}
    )

    assert code in {400, 404}
    assert body["error"]["message"]


def test_deploy_looks_at_weights_that_are_there(app: App) -> None:
    """The same way as a drop, without a new copy of the bytes."""
    app.artifacts.names = ("llama/config.json",)  # type: ignore[attr-defined]

    code, view = status(
        app,
        "POST",
        "/deployments:deploy",
        json={"custom_model": {"gcs_uri": "gs://models/llama/"}},
    )

    assert (code, view["source"]) == (200, "gs://models/llama")
