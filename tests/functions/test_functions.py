"""The functions as functions-framework serves them, over ports in memory."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import functions_framework
import pytest
from flask.testing import FlaskClient

from fakes.builders import make_deployment, make_revision
from weightdrop.bootstrap import App
from weightdrop.core.deployment.phases import Phase
from weightdrop.services.query import Query

MAIN = Path(__file__).resolve().parents[2] / "functions" / "main.py"
TOPIC = "//pubsub.googleapis.com/projects/p/topics/weightdrop-requests"
SOURCE = "//storage.googleapis.com/projects/_/buckets/models"


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
            "ce-source": TOPIC,
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


@pytest.mark.parametrize(("last", "looked"), [(True, ["llama-12345678"]), (False, [])])
def test_the_end_of_a_deployment_has_it_looked_at(
    app: App, last: bool, looked: list[str]
) -> None:
    """The same look that a tick would take, and nothing for its beginning."""
    seen: list[str] = []
    app.reconciler = SimpleNamespace(deployment=seen.append)  # type: ignore[assignment]
    entry = {
        "serviceName": "aiplatform.googleapis.com",
        "resourceName": "projects/7/locations/l/endpoints/wd-llama-12345678",
    }
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "a1",
        "ce-type": "google.cloud.audit.log.v1.written",
        "ce-source": "//cloudaudit.googleapis.com/projects/p/logs/activity",
        "content-type": "application/json",
    }
    told = {"protoPayload": entry, "operation": {"first": not last, "last": last}}

    answer = client("on_request").post("/", headers=headers, data=json.dumps(told))

    assert (answer.status_code, seen) == (200, looked)
    assert app.bus.published == []  # type: ignore[attr-defined]


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
        ("POST", "/deployments:deploy", 415, "INVALID_ARGUMENT"),
        ("POST", "/deployments/tiny-12345678", 405, "UNIMPLEMENTED"),
        ("GET", "/deployments/tiny-12345678:retry", 405, "UNIMPLEMENTED"),
        ("GET", "/deployments/tiny-12345678?wait=-1", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments/tiny-12345678?wait=1e9", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments/tiny-12345678?wait=3601", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments/tiny-12345678?phase=odd", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments?pageSize=2.5", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments?pageSize=1_0", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments?pageSize=", 400, "INVALID_ARGUMENT"),
        ("GET", "/deployments/TINY-12345678", 404, "NOT_FOUND"),
        ("GET", "/deployments/-x", 404, "NOT_FOUND"),
        ("GET", f"/deployments/{'x' * 64}", 404, "NOT_FOUND"),
        ("GET", "/deployments/tiny-12345678%00", 404, "NOT_FOUND"),
        ("GET", "/deployments/%2e%2e%2frecords", 404, "NOT_FOUND"),
        ("GET", "/deployments/tiny-12345678/events/", 200, ""),
        ("GET", "/deployments/tiny-12345678/revisions", 200, ""),
        ("POST", "/deployments/tiny-12345678:reboot", 404, "NOT_FOUND"),
        ("DELETE", "/deployments/tiny-12345678", 405, "UNIMPLEMENTED"),
        ("PATCH", "/deployments", 405, "UNIMPLEMENTED"),
    ],
)
def test_errors_have_googles_form(
    app: App, method: str, path: str, code: int, name: str
) -> None:
    """A program can tell what went wrong, and a person can read it."""
    app.records.create(make_deployment())

    given, body = status(app, method, path)

    error = body.get("error", {"code": given, "status": "", "message": "none"})
    assert (code, code, name) == (given, error["code"], error["status"])
    assert error["message"]


def test_a_wrong_method_is_told_the_right_ones(app: App) -> None:
    """`Allow` names what the path takes."""
    answer = client("status").put("/deployments/tiny-12345678")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_another_site_may_not_call(app: App, site: str, method: str) -> None:
    """The local stack asks for no password: a browser must not be its accomplice."""
    code, body = status(
        app,
        method,
        "/deployments/tiny-12345678:undeploy",
        headers={"Sec-Fetch-Site": site},
    )

    assert (code, body["error"]["status"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("path", ["/deployments:deploy", "/deployments/x:retry"])
def test_an_oversized_body_is_refused(app: App, path: str) -> None:
    """Nobody reads what no order can need."""
    code, body = status(app, "POST", path, json={"x": "y" * 70_000})

    assert (code, body["error"]["code"]) == (413, 413)


def test_a_body_without_a_length_is_bounded_too(app: App) -> None:
    """A chunked body has nothing to be judged by before it is read."""
    stream = io.BytesIO(b" " * 100_000)

    code, _ = status(
        app,
        "POST",
        "/deployments:deploy",
        input_stream=stream,
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert code == 413


def test_waiting_ends_when_the_phase_changes(app: App) -> None:
    """A long poll answers as soon as there is news, and looks ever more rarely."""
    made = app.records.create(make_deployment())
    looks: list[float] = []
    now = 0.0

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds
        looks.append(seconds)
        if len(looks) == 8:
            ready = replace(
                made.deployment, revisions=(make_revision(phase=Phase.READY),)
            )
            app.records.put(ready, version=made.version)

    app.query = Query(app.records, pause=pause, seconds=lambda: now)

    code, view = status(app, "GET", "/deployments/tiny-12345678?wait=50&phase=waiting")

    assert (code, view["phase"]) == (200, "ready")
    assert looks == [0.1, 0.2, 0.3, 0.5, 1.0, 1.0, 1.0, 1.0]


def test_waiting_ends_in_time(app: App) -> None:
    """Whatever is asked for, the answer comes before a front end gives up."""
    app.records.create(make_deployment())
    now = 0.0

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds

    app.query = Query(app.records, pause=pause, seconds=lambda: now)

    code, view = status(app, "GET", "/deployments/tiny-12345678?wait=3600")

    assert (code, view["phase"]) == (200, "waiting")
    assert now == pytest.approx(50)


def test_a_phase_that_is_over_is_not_waited_for(app: App) -> None:
    """Whoever knows an older phase learns the new one at once."""
    app.records.create(make_deployment())
    app.query = Query(app.records, pause=lambda _: pytest.fail("it waited"))

    code, _ = status(app, "GET", "/deployments/tiny-12345678?wait=50&phase=ready")

    assert code == 200


def test_the_history_outlives_the_record(app: App) -> None:
    """Revisions that were cut off are still told of."""
    made = app.records.create(make_deployment())
    newer = make_deployment(revisions=(make_revision(2),))
    app.records.put(newer, version=made.version)

    _, body = status(app, "GET", "/deployments/tiny-12345678/revisions")

    assert [it["number"] for it in body["revisions"]] == [1, 2]


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


def test_deploy_lays_its_choices_over_the_folder(app: App) -> None:
    """They are part of what is seen; asked again, nothing is written anew."""
    app.artifacts.names = ("llama/config.json",)  # type: ignore[attr-defined]
    body = {
        "customModel": {"gcsUri": "gs://models/llama"},
        "destination": "projects/any/locations/europe-west4",
        "deployConfig": {"dedicatedResources": {"minReplicaCount": "2"}},
    }

    code, view = status(app, "POST", "/deployments:deploy", json=body)
    _, again = status(app, "POST", "/deployments:deploy", json=body)

    assert (code, view["overrides"]) == (
        200,
        {"min_replica_count": 2, "region": "europe-west4", "scale_to_zero": False},
    )
    assert again == view


def test_an_endpoint_is_where_the_stand_in_is_now(app: App) -> None:
    """A stack that came back on another port shows the URL that answers."""
    name = "projects/1/locations/us-central1/endpoints/wd-tiny-12345678"
    app.records.create(
        make_deployment(
            revisions=(make_revision(phase=Phase.READY),),
            endpoint_name=name,
            endpoint_url=f"http://127.0.0.1:1/v1beta1/{name}",
        )
    )
    app.query = Query(app.records, vertex_endpoint="http://127.0.0.1:2")

    _, view = status(app, "GET", "/deployments/tiny-12345678")

    assert view["endpoint"]["baseUrl"] == f"http://127.0.0.1:2/v1beta1/{name}"
