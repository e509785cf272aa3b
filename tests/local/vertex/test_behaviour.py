"""How the stand-in behaves over time: load, sleep, limits, cancellation, faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.vertex.running import Running, until

JSON = dict[str, Any]


def _pids(vertex: Running, count: int) -> set[int]:
    """Who answers `count` requests that are sent side by side."""
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda _: vertex.ask(), range(count)))
    return {a.json()["pid"] for a in answers if a.status_code == 200}


def test_replicas_follow_the_load(make: Callable[..., Running]) -> None:
    """More requests than one replica should have bring a second one, then it goes."""
    vertex = make("--requests-per-replica", "2", "--scale-down-seconds", "2")
    vertex.upload("m", "--slow=0.5")
    vertex.endpoint()
    vertex.succeed(vertex.deploy(maxReplicaCount=2))

    assert len(_pids(vertex, 1)) == 1
    until(lambda: len(_pids(vertex, 8)) == 2)

    logs = list((vertex.home / "logs").glob("*.log"))
    assert len(logs) == 2
    until(lambda: len(list((vertex.home / "run").glob("*/*"))) >= 1)
    until(lambda: _replicas(vertex) == 1)


def _replicas(vertex: Running) -> int:
    shown = vertex.call("GET", "/endpoints/e")["deployedModels"][0]
    return int(shown["status"]["availableReplicaCount"])


def test_a_model_sleeps_and_wakes(make: Callable[..., Running]) -> None:
    """Min 0: idle, the replica goes; a request gets 429 and wakes it."""
    vertex = make("--idle-factor", "150")
    vertex.upload()
    vertex.endpoint()
    sleep = {"idleScaledownPeriod": "300s"}
    resources = {"minReplicaCount": 0, "scaleToZeroSpec": sleep}
    machine = {
        "machineType": "g2-standard-8",
        "acceleratorType": "NVIDIA_L4",
        "acceleratorCount": 1,
    }
    deployed = {
        "id": "1",
        "model": vertex.path("/models/m")[4:],
        "dedicatedResources": {"machineSpec": machine, **resources},
    }
    body = {"deployedModel": deployed, "trafficSplit": {"0": 100}}
    url = vertex.path("/endpoints/e:deployModel", "v1beta1")
    in_v1 = vertex.refused("POST", "/endpoints/e:deployModel", body)
    vertex.succeed(vertex.client.post(url, json=body).json())
    assert vertex.ask().status_code == 200

    until(lambda: _replicas(vertex) == 0)
    first = vertex.ask()
    until(lambda: vertex.ask().status_code == 200)

    assert "scaleToZeroSpec" in in_v1["message"]
    assert first.status_code == 429
    assert first.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert "not yet ready for inference" in first.json()["error"]["message"]
    with pytest.raises(AssertionError, match="one model only"):
        vertex.deploy("2", traffic={})


def test_the_bounds_can_be_changed(vertex: Running) -> None:
    """MutateDeployedModel raises the minimum, and a second replica comes."""
    vertex.ready()
    body = {
        "deployedModel": {
            "id": "1",
            "dedicatedResources": {"minReplicaCount": 2, "maxReplicaCount": 2},
        },
        "updateMask": "dedicatedResources.minReplicaCount,"
        "dedicatedResources.maxReplicaCount",
    }

    vertex.succeed(vertex.call("POST", "/endpoints/e:mutateDeployedModel", body))
    without_mask = {"deployedModel": body["deployedModel"]}
    refused = vertex.refused("POST", "/endpoints/e:mutateDeployedModel", without_mask)

    assert _replicas(vertex) == 2
    assert "update_mask" in refused["message"]


def test_a_cancelled_deployment_leaves_nothing(vertex: Running) -> None:
    """Cancel ends the operation with CANCELLED and stops its server."""
    vertex.upload("m", "--never-healthy")
    vertex.endpoint()
    operation = vertex.deploy()
    rest = "/" + operation["name"].split("/", 4)[4]
    until(lambda: any((vertex.home / "logs").glob("*")))

    vertex.call("POST", f"{rest}:cancel")
    done = vertex.finish(operation)

    assert done["error"] == {"code": 1, "message": "The operation was cancelled."}
    assert done["metadata"]["deploymentStage"] == "DEPLOYMENT_TERMINATED"
    vertex.succeed(vertex.call("DELETE", "/endpoints/e"))


def test_waiting_returns_when_it_is_done(vertex: Running) -> None:
    """:wait answers at the end of the operation, or when its timeout is over."""
    vertex.upload("m", "--never-healthy")
    vertex.endpoint()
    rest = "/" + vertex.deploy()["name"].split("/", 4)[4]

    early = vertex.call("POST", f"{rest}:wait", {"timeout": "0.2s"})
    vertex.call("POST", f"{rest}:cancel")
    late = vertex.call("POST", f"{rest}:wait", {"timeout": "30s"})
    vertex.call("DELETE", rest)

    assert (early["done"], late["done"]) == (False, True)
    assert vertex.refused("GET", rest)["status"] == "NOT_FOUND"


def test_an_endpoint_shows_what_is_coming(vertex: Running) -> None:
    """allDeploymentStates=true shows a model that is being deployed."""
    vertex.upload("m", "--never-healthy")
    vertex.endpoint()
    vertex.deploy("5")

    plain = vertex.call("GET", "/endpoints/e")
    full = vertex.call("GET", "/endpoints/e?allDeploymentStates=true")
    refused = vertex.refused("DELETE", "/endpoints/e")

    assert "deployedModels" not in plain
    assert [it["state"] for it in full["deployedModels"]] == ["BEING_DEPLOYED"]
    assert refused["status"] == "FAILED_PRECONDITION"


def test_payloads_have_limits(vertex: Running) -> None:
    """Ten megabytes on a dedicated endpoint, one and a half on a shared one."""
    vertex.ready()
    vertex.endpoint("shared", dedicatedEndpointEnabled=False)
    vertex.succeed(vertex.deploy("2", endpoint="shared"))

    fits = vertex.ask(prompt="x" * 9_000_000)
    too_large = vertex.ask(prompt="x" * 11_000_000)
    shared = vertex.ask("shared", prompt="x" * 2_000_000)

    assert (fits.status_code, too_large.status_code, shared.status_code) == (
        200,
        413,
        413,
    )


def test_slow_predictions_run_into_the_endpoints_timeout(vertex: Running) -> None:
    """client_connection_config.inference_timeout ends a prediction with 504."""
    vertex.upload("m", "--slow=5")
    vertex.endpoint(clientConnectionConfig={"inferenceTimeout": "1s"})
    vertex.succeed(vertex.deploy())

    answer = vertex.ask()

    assert answer.status_code == 504
    assert answer.json()["error"]["status"] == "DEADLINE_EXCEEDED"


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stand-in that only refuses things."""
    running = Running(tmp_path_factory.mktemp("quiet") / "vertex", "--dedicated-only")
    running.upload()
    running.endpoint()
    yield running
    running.close()


MODEL = {"displayName": "d", "containerSpec": {"imageUri": "i"}}


@pytest.mark.parametrize(
    ("method", "rest", "body", "words"),
    [
        ("POST", "/models:upload", {"modelId": "1a", "model": MODEL}, "model id"),
        ("POST", "/models:upload", {"modelId": "A", "model": MODEL}, "model id"),
        ("POST", "/models:upload", {"model": {"displayName": "d"}}, "container_spec"),
        ("POST", "/models:upload", {"model": {**MODEL, "display": 1}}, "display"),
        (
            "POST",
            "/models:upload",
            {
                "model": {
                    **MODEL,
                    "containerSpec": {"imageUri": "i", "env": [{"name": "AIP_X"}]},
                }
            },
            "AIP_",
        ),
        (
            "POST",
            "/models:upload",
            {
                "model": {
                    **MODEL,
                    "containerSpec": {"imageUri": "i", "deploymentTimeout": "7201s"},
                }
            },
            "2 hours",
        ),
        ("POST", "/models:upload", {"model": {**MODEL, "artifactUri": "/x"}}, "gs://"),
        ("POST", "/endpoints", {}, "display_name"),
        ("POST", "/endpoints?endpointId=A", {"displayName": "d"}, "endpoint id"),
        ("POST", "/endpoints?endpointId=012", {"displayName": "d"}, "endpoint id"),
        ("POST", "/endpoints?endpointId=a-", {"displayName": "d"}, "endpoint id"),
        ("POST", "/endpoints", {"displayName": "d" * 129}, "128"),
        ("POST", "/endpoints", {"displayName": "d", "labels": {"A": "x"}}, "Label"),
        ("PATCH", "/endpoints/e?updateMask=network", {}, "cannot be changed"),
        ("PATCH", "/endpoints/e", {"trafficSplit": {"9": 100}}, "not on the endpoint"),
        ("PATCH", "/models/m?updateMask=containerSpec", MODEL, "immutable"),
        ("DELETE", "/models/m@1:deleteVersion", None, "default version"),
        ("GET", "/endpoints?filter=((", None, "filter"),
        ("GET", "/endpoints?pageToken=!", None, "pageToken"),
        ("POST", "/endpoints/e:rawPredict", {}, "no deployed model"),
        ("POST", "/endpoints/e:deployModel", {"deployedModel": {}}, "model"),
        ("GET", "/endpoints/none", None, "does not exist"),
        ("GET", "/models/m@7", None, "does not exist"),
        ("GET", "/tunedModels", None, "Method not found"),
    ],
)
def test_what_is_wrong_is_refused(
    quiet: Running, method: str, rest: str, body: JSON | None, words: str
) -> None:
    """Each rule of ids, names, labels, masks and fields answers with what is wrong."""
    headers = {"host": quiet.call("GET", "/endpoints/e")["dedicatedEndpointDns"]}
    url = quiet.path(rest)
    answer = quiet.client.request(method, url, json=body, headers=headers)

    assert 400 <= answer.status_code < 500
    assert words in answer.json()["error"]["message"]


def test_other_projects_are_refused(quiet: Running) -> None:
    """The stand-in answers for one project, by its id and by its number."""
    number = quiet.call("GET", "/endpoints/e")["name"].split("/")[1]
    paths = [f"/v1/projects/{p}/locations/us-central1/models" for p in ("x", number)]

    codes = [quiet.client.get(path).status_code for path in paths]

    assert codes == [403, 200]


def test_dedicated_only_refuses_the_shared_name(quiet: Running) -> None:
    """With --dedicated-only a dedicated endpoint answers on its own name alone."""
    answer = quiet.client.post(
        quiet.path("/endpoints/e:rawPredict"), json={}, headers={"host": "localhost"}
    )

    assert "is a dedicated endpoint" in answer.json()["error"]["message"]


def test_bodies_that_are_no_requests_are_refused(quiet: Running) -> None:
    """Broken, nested and enormous JSON is answered, not a crash."""
    url = quiet.path("/models:upload")
    bodies = [b"{", b"[]", b'{"a":' * 100_000, b'{"model": {"labels": 3}}', b"\xff"]

    codes = [quiet.client.post(url, content=body).status_code for body in bodies]
    huge = quiet.client.post(url, content=b" " * 17_000_000).status_code

    assert codes == [400] * len(bodies)
    assert huge == 413
    assert quiet.call("GET", "/models/m")["displayName"] == "Model m"


def test_faults_can_be_injected(vertex: Running) -> None:
    """A rule makes the next call fail before, after, or in its operation."""
    rules: list[JSON] = [
        {"match": "POST .*/endpoints$", "status": "UNAVAILABLE"},
        {"match": "GET .*/models$", "where": "answer", "status": "INTERNAL"},
        {
            "match": "upload_model",
            "where": "operation",
            "status": "RESOURCE_EXHAUSTED",
            "message": "no more room",
        },
        {"match": "GET .*/endpoints$", "latency_seconds": 0.5},
    ]
    vertex.client.put("/weightdrop/faults", json={"rules": rules}).raise_for_status()

    before = vertex.refused("POST", "/endpoints", {"displayName": "d"})
    after = vertex.refused("GET", "/models")
    upload = {"model": MODEL}
    failed = vertex.finish(vertex.call("POST", "/models:upload", upload))
    began = time.monotonic()
    vertex.call("GET", "/endpoints")

    assert (before["status"], after["status"]) == ("UNAVAILABLE", "INTERNAL")
    assert failed["error"] == {"code": 8, "message": "no more room"}
    assert time.monotonic() - began >= 0.5
    assert vertex.client.get("/weightdrop/faults").json() == {"rules": []}
    assert vertex.client.put("/weightdrop/faults", content=b"x").status_code == 400


def test_versions_of_a_model(vertex: Running) -> None:
    """A second version is added, aliased, made the default, and deleted."""
    vertex.upload()
    parent = vertex.path("/models/m")[4:]
    second = {"parentModel": parent, "model": {**MODEL, "displayName": "two"}}

    made = vertex.succeed(vertex.call("POST", "/models:upload", second))
    before = vertex.call("GET", "/models/m")
    aliases = {"versionAliases": ["default", "prod"]}
    vertex.call("POST", "/models/m@2:mergeVersionAliases", aliases)
    vertex.call("PATCH", "/models/m@2?updateMask=displayName", {"displayName": "new"})
    after = vertex.call("GET", "/models/m@prod")
    vertex.succeed(vertex.call("DELETE", "/models/m@1:deleteVersion"))
    left = vertex.call("GET", "/models/m:listVersions")["models"]

    assert made["modelVersionId"] == "2"
    assert (before["versionId"], before["displayName"]) == ("1", "Model m")
    assert (after["versionId"], after["displayName"]) == ("2", "new")
    assert after["versionAliases"] == ["default", "prod"]
    assert [item["versionId"] for item in left] == ["2"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "evil.example:8472"}, 403),
        ({"origin": "http://localhost:8470"}, 200),
        ({"host": "us-central1-aiplatform.googleapis.com"}, 200),
    ],
)
def test_web_pages_are_kept_out(
    quiet: Running, headers: dict[str, str], code: int
) -> None:
    """A page of another site can neither call the API nor rebind its name to it."""
    for path in (quiet.path("/models"), "/weightdrop/faults"):
        assert quiet.client.get(path, headers=headers).status_code == code
