"""Models, endpoints, deployments and predictions, as the API documents them."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from local.vertex.running import Running, until


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_deploy_runs_the_container_with_the_documented_variables(
    vertex: Running,
) -> None:
    """A deployed container has AIP_ variables, its own env and expanded arguments."""
    vertex.upload(
        "m",
        "--say=$(WHO)",
        "$(AIP_ENDPOINT_ID)",
        "$$(WHO)",
        env=[
            {"name": "NAME", "value": "Ada"},
            {"name": "WHO", "value": "dear $(NAME)"},
            {"name": "EXTRA", "value": "$(MISSING)"},
        ],
        predictRoute="/vertex/predict",
        healthRoute="/vertex/health",
    )
    vertex.endpoint("e")
    vertex.succeed(vertex.deploy("42"))

    got = vertex.ask().json()

    assert got["choices"][0]["text"] == "dear Ada"
    assert got["args"] == ["e", "$(WHO)"]
    assert got["path"] == "/vertex/predict"
    env = got["env"]
    assert env.pop("EXTRA") == "$(MISSING)"
    assert env.pop("AIP_HTTP_PORT").isdigit()
    assert env.pop("AIP_PROJECT_NUMBER").isdigit()
    assert env == {
        "AIP_ACCELERATOR_TYPE": "NVIDIA_L4",
        "AIP_DEPLOYED_MODEL_ID": "42",
        "AIP_ENDPOINT_ID": "e",
        "AIP_FRAMEWORK": "CUSTOM_CONTAINER",
        "AIP_HEALTH_ROUTE": "/vertex/health",
        "AIP_MACHINE_TYPE": "g2-standard-8",
        "AIP_MODE": "PREDICTION",
        "AIP_MODE_VERSION": "1.0.0",
        "AIP_MODEL_NAME": "e",
        "AIP_PREDICT_ROUTE": "/vertex/predict",
        "AIP_STORAGE_URI": "",
        "AIP_VERSION_NAME": "42",
    }


def test_an_operation_shows_its_stages_and_ends_with_the_deployed_model(
    vertex: Running,
) -> None:
    """The metadata carries deploymentStage, the response the DeployedModel."""
    vertex.upload()
    vertex.endpoint()

    operation = vertex.deploy("7")

    assert operation["done"] is False
    done = vertex.finish(operation)
    assert done["metadata"]["deploymentStage"] == "SUCCESSFULLY_DEPLOYED"
    assert done["metadata"]["@type"].endswith("v1.DeployModelOperationMetadata")
    assert done["response"]["@type"].endswith("v1.DeployModelResponse")
    assert done["response"]["deployedModel"]["id"] == "7"
    shown = vertex.call("GET", "/endpoints/e")
    assert [item["id"] for item in shown["deployedModels"]] == ["7"]
    assert shown["trafficSplit"] == {"7": 100}


def test_a_server_that_ends_fails_the_deployment_with_its_log(vertex: Running) -> None:
    """The error names the exit and carries the tail of the log; nothing is left."""
    vertex.upload("m", "--exit=3")
    vertex.endpoint()

    done = vertex.finish(vertex.deploy())

    assert done["metadata"]["deploymentStage"] == "FAILED_TO_DEPLOY"
    assert done["error"]["code"] == 9
    assert "Model server exited unexpectedly (exit code 3)" in done["error"]["message"]
    assert "the weights are broken" in done["error"]["message"]
    entries = done["error"]["details"][0]["stackEntries"]
    assert entries[:2] == ["the weights are broken", "cannot go on"]
    assert "deployedModels" not in vertex.call("GET", "/endpoints/e")
    vertex.succeed(vertex.call("DELETE", "/endpoints/e"))


def test_a_server_that_is_never_healthy_runs_into_the_timeout(vertex: Running) -> None:
    """After containerSpec.deploymentTimeout the deployment fails and stops."""
    vertex.upload("m", "--never-healthy", deploymentTimeout="1.5s")
    vertex.endpoint()

    done = vertex.finish(vertex.deploy())

    assert "Model server never became ready" in done["error"]["message"]
    assert done["error"]["details"][0]["stackEntries"] == ["listening"]


def test_a_dead_server_is_started_again(vertex: Running) -> None:
    """A server that ends after it was healthy comes back by itself."""
    vertex.ready()
    first = vertex.ask().json()["pid"]

    vertex.ask(die=True)

    until(lambda: vertex.ask().status_code == 200)
    assert vertex.ask().json()["pid"] != first


def test_undeploy_stops_the_server_and_frees_everything(vertex: Running) -> None:
    """After undeploy the process is gone, and endpoint and model can be deleted."""
    vertex.ready()
    pid = vertex.ask().json()["pid"]
    refused = vertex.refused("DELETE", "/endpoints/e")
    assert refused["status"] == "FAILED_PRECONDITION"
    assert refused["message"].endswith("DeployedModel(s) with ID(s): 1.")
    assert vertex.refused("DELETE", "/models/m")["status"] == "FAILED_PRECONDITION"

    body = {"deployedModelId": "1"}
    vertex.succeed(vertex.call("POST", "/endpoints/e:undeployModel", body))

    assert not _alive(pid)
    assert list((vertex.home / "run").iterdir()) == []
    assert "trafficSplit" not in vertex.call("GET", "/endpoints/e") or (
        vertex.call("GET", "/endpoints/e")["trafficSplit"] == {}
    )
    vertex.succeed(vertex.call("DELETE", "/endpoints/e"))
    vertex.succeed(vertex.call("DELETE", "/models/m"))
    assert vertex.refused("GET", "/endpoints/e")["status"] == "NOT_FOUND"
    assert vertex.refused("GET", "/models/m")["status"] == "NOT_FOUND"


def test_ids_that_are_taken_are_refused(vertex: Running) -> None:
    """A second model, endpoint or deployed model of one id is ALREADY_EXISTS."""
    vertex.ready()
    spec = {"imageUri": "i"}
    model = {"modelId": "m", "model": {"displayName": "d", "containerSpec": spec}}

    answers = [
        vertex.refused("POST", "/models:upload", model),
        vertex.refused("POST", "/endpoints?endpoint_id=e", {"displayName": "d"}),
    ]
    with pytest.raises(AssertionError, match="ALREADY_EXISTS"):
        vertex.deploy("1")

    assert [answer["code"] for answer in answers] == [409, 409]
    assert {answer["status"] for answer in answers} == {"ALREADY_EXISTS"}


def test_traffic_is_split_request_by_request(vertex: Running) -> None:
    """Of a hundred requests each of two deployed models gets exactly its part."""
    vertex.ready("--say=old")
    vertex.upload("n", "--say=new")
    vertex.succeed(vertex.deploy("2", model="n", traffic={"0": 30, "1": 70}))

    answers = [vertex.ask() for _ in range(100)]

    by_header = Counter(a.headers["X-Vertex-AI-Deployed-Model-Id"] for a in answers)
    assert by_header == {"1": 70, "2": 30}
    said = Counter(answer.json()["choices"][0]["text"] for answer in answers)
    assert said == {"old": 70, "new": 30}


def test_traffic_moves_by_patch_and_the_old_model_goes(vertex: Running) -> None:
    """PATCH moves the traffic; only then may the old model be undeployed."""
    vertex.ready("--say=old")
    vertex.upload("n", "--say=new")
    vertex.succeed(vertex.deploy("2", model="n", traffic={}))
    undeploy = {"deployedModelId": "1"}
    rest = "/endpoints/e:undeployModel"
    assert vertex.refused("POST", rest, undeploy)["status"] == "FAILED_PRECONDITION"

    bad = {"trafficSplit": {"1": 50, "2": 49}}
    sums = vertex.refused("PATCH", "/endpoints/e?updateMask=trafficSplit", bad)
    split = {"traffic_split": {"2": 100}}
    vertex.call("PATCH", "/endpoints/e?update_mask=traffic_split", split)
    vertex.succeed(vertex.call("POST", rest, undeploy))

    assert "adds up to 99" in sums["message"]
    assert vertex.ask().json()["choices"][0]["text"] == "new"


def test_a_stream_arrives_as_it_is_made(vertex: Running) -> None:
    """StreamRawPredict passes chunks on when they come, not at the end."""
    vertex.ready()
    url = vertex.path("/endpoints/e:streamRawPredict")
    times: list[float] = []
    text = b""

    with vertex.client.stream("POST", url, json={"stream": 4}) as answer:
        header = answer.headers["x-vertex-ai-deployed-model-id"]
        for chunk in answer.iter_raw():
            times.append(time.monotonic())
            text += chunk

    assert header == "1"
    assert text == b"data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\n"
    assert times[-1] - times[0] > 0.4


def test_predict_adds_which_model_answered(vertex: Running) -> None:
    """Predict gives predictions with the deployed model's and the model's ids."""
    vertex.ready()

    got = vertex.call("POST", "/endpoints/e:predict", {"instances": [{"prompt": "a"}]})

    assert got["predictions"] == [{"said": "hello", "got": {"prompt": "a"}}]
    assert got["deployedModelId"] == "1"
    assert got["model"].endswith("/locations/us-central1/models/m")
    assert (got["modelDisplayName"], got["modelVersionId"]) == ("Model m", "1")


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_chat_reaches_the_predict_route_marked(vertex: Running, version: str) -> None:
    """chat/completions posts the body with @requestFormat to the predict route."""
    vertex.ready()
    url = vertex.path("/endpoints/e/chat/completions", version)

    got = vertex.client.post(url, json={"model": "m", "messages": []}).json()

    assert got["body"] == {
        "model": "m",
        "messages": [],
        "@requestFormat": "chatCompletions",
    }


def test_errors_of_the_container_pass(vertex: Running) -> None:
    """RawPredict passes a container's error on; predict wraps it in Google's form."""
    vertex.ready()
    body = {"instances": [], "fail": 400}
    raw = vertex.client.post(vertex.path("/endpoints/e:rawPredict"), json=body)
    error = vertex.refused("POST", "/endpoints/e:predict", body)

    assert (raw.status_code, raw.json()) == (400, {"error": "as asked"})
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_state_survives_an_end_of_any_kind(
    vertex: Running, how: signal.Signals
) -> None:
    """After a restart the old server is gone, a new one serves, operations are kept."""
    vertex.upload()
    vertex.endpoint()
    operation = vertex.deploy()
    vertex.succeed(operation)
    pid = vertex.ask().json()["pid"]

    vertex.end(how)
    until(lambda: not _alive(pid))
    vertex.start()

    until(lambda: vertex.ask().status_code == 200)
    assert vertex.ask().json()["pid"] != pid
    assert vertex.operation(operation["name"])["done"] is True


def test_a_deployment_goes_on_after_a_kill(vertex: Running) -> None:
    """A deployment under way when the stand-in is killed ends well after a restart."""
    vertex.upload("m", "--never-healthy", deploymentTimeout="7200s")
    vertex.upload("n")
    vertex.endpoint("e")
    vertex.endpoint("f")
    stuck = vertex.deploy("1")
    vertex.end(signal.SIGKILL)
    vertex.start()

    stage = vertex.operation(stuck["name"])["metadata"]["deploymentStage"]
    moving = vertex.deploy("2", model="n", endpoint="f")
    vertex.succeed(moving)
    vertex.call("POST", f"/{stuck['name'].split('/', 4)[4]}:cancel")
    done = vertex.finish(stuck)

    assert stage == "STARTING_MODEL_SERVER"
    assert done["error"]["code"] == 1
    assert "deployedModels" not in vertex.call("GET", "/endpoints/e")


def test_a_killed_deployment_ends_well(vertex: Running) -> None:
    """A deployment whose server starts slowly survives kill -9 of the stand-in."""
    vertex.upload()
    vertex.endpoint()
    operation = vertex.deploy()
    vertex.end(signal.SIGKILL)

    vertex.start()

    vertex.succeed(operation)
    assert vertex.ask().status_code == 200


def test_ending_is_quick_and_leaves_nothing(vertex: Running) -> None:
    """SIGTERM ends the stand-in and its servers within six seconds."""
    vertex.ready()
    pid = vertex.ask().json()["pid"]
    began = time.monotonic()

    vertex.end()

    assert time.monotonic() - began < 6
    assert vertex.process.returncode == 0
    assert not _alive(pid)


def test_listing_filters_by_label(vertex: Running) -> None:
    """Lists keep what the filter names, and page."""
    vertex.endpoint("a", labels={"weightdrop": "true", "team": "x"})
    vertex.endpoint("b", labels={"weightdrop": "true"})
    vertex.endpoint("c")

    def listed(query: str) -> list[str]:
        found = vertex.call("GET", f"/endpoints?{query}").get("endpoints", [])
        return sorted(item["name"].rpartition("/")[2] for item in found)

    assert listed("filter=labels.weightdrop=true") == ["a", "b"]
    assert listed('filter=labels.weightdrop="true" AND labels.team=x') == ["a"]
    assert listed("filter=labels.team:*") == ["a"]
    assert listed('filter=display_name="Endpoint c"') == ["c"]
    assert len(listed("pageSize=2")) == 2


@pytest.mark.parametrize(
    ("options", "env"),
    [(("--gpus", "1"), {}), ((), {"WEIGHTDROP_LOCAL_GPUS": "1"})],
    ids=["option", "setting"],
)
def test_the_budget_of_accelerators_is_a_quota(
    make: Callable[..., Running], options: tuple[str, ...], env: dict[str, str]
) -> None:
    """A deployment beyond it is RESOURCE_EXHAUSTED and names the quota."""
    vertex = make(*options, **env)
    vertex.ready()
    with pytest.raises(AssertionError) as refused:
        vertex.deploy("2", traffic={})

    assert "RESOURCE_EXHAUSTED" in str(refused.value)
    assert "CustomModelServingL4GPUsPerProjectPerRegion" in str(refused.value)


def test_only_loopback_is_bound(vertex: Running) -> None:
    """Neither the stand-in nor its server listens anywhere but on 127.0.0.1."""
    vertex.ready()
    pids = {vertex.process.pid, vertex.ask().json()["pid"]}
    inodes = {
        str(link.readlink())[8:-1]
        for pid in pids
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if str(link.readlink()).startswith("socket:")
    }
    listening = [
        line.split()[1].partition(":")[0]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[9] in inodes
    ]

    assert listening
    assert set(listening) == {"0100007F"}
