"""The adapter under trouble: lost answers, faults, and Google's ways to say no."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.builders import make_deploy_spec
from local.vertex.running import Running, free_port, tiny_image, until
from weightdrop.adapters.vertex import VertexPlatform, messages
from weightdrop.adapters.vertex.faults import reason_of
from weightdrop.adapters.vertex.names import ours, region_of
from weightdrop.core.deployment.phases import Reason
from weightdrop.errors import (
    PermanentError,
    QuotaError,
    TransientError,
)
from weightdrop.ports import DeploySpec, Endpoint, EndpointSpec, ModelSpec, ServerSpec

REGION = "us-central1"
DEPLOY = "DeployModelOperationMetadata"


@pytest.fixture(scope="module")
def vertex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stand-in whose image is the tiny container."""
    home = tmp_path_factory.mktemp("adapter")
    running = Running(home / "vertex", env=tiny_image(home))
    yield running
    running.close()


@pytest.fixture
def platform(vertex: Running) -> VertexPlatform:
    """The adapter on it."""
    return VertexPlatform(project="local", endpoint=vertex.url)


def _inject(vertex: Running, **rule: Any) -> None:
    body = {"rules": [rule]}
    vertex.client.put("/weightdrop/faults", json=body).raise_for_status()


def _endpoint(name: str) -> EndpointSpec:
    return EndpointSpec(
        region=REGION, endpoint_id=name, display_name=name, labels=(("a", "b"),)
    )


def _model(name: str) -> ModelSpec:
    server = ServerSpec(image="i", args=(), env=())
    return ModelSpec(
        region=REGION,
        model_id=name,
        display_name=name,
        artifact_uri="",
        server=server,
        labels=(),
    )


def _deploy(platform: VertexPlatform, name: str, **changes: Any) -> DeploySpec:
    endpoint = platform.endpoint_name(REGION, name)
    values = {"display_name": name, **changes}
    return make_deploy_spec(endpoint, platform.model_name(REGION, name), **values)


def _made(platform: VertexPlatform, name: str) -> None:
    for operation in (
        platform.upload_model(_model(name)),
        platform.create_endpoint(_endpoint(name)),
    ):
        _finish(platform, operation.name)


def _finish(platform: VertexPlatform, name: str) -> None:
    def done() -> bool:
        found = platform.operation(name)
        return found is None or found.done

    if name:
        until(done)


@pytest.mark.parametrize(
    "call", ["models:upload$", "endpoints$", "deployModel$", "undeployModel$"]
)
def test_an_answer_that_is_lost_is_found_again(
    vertex: Running, platform: VertexPlatform, call: str
) -> None:
    """A call that was done and reported as unavailable is repeated without harm."""
    name = "lost-" + call.strip("$").replace(":", "-").lower()
    _inject(vertex, match=f"POST .*{call}", where="answer", status="UNAVAILABLE")

    _made(platform, name)
    spec = _deploy(platform, name)
    _finish(platform, platform.deploy(spec).name)
    found = platform.endpoint(spec.endpoint)
    assert found is not None
    gone = platform.undeploy(spec.endpoint, spec.deployed_model_id)
    until(lambda: (platform.endpoint(spec.endpoint) or found).deployed == ())

    assert found.deployed == (spec.deployed_model_id,)
    assert gone.done or gone.name
    assert vertex.client.get("/weightdrop/faults").json() == {"rules": []}


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (
            "RESOURCE_EXHAUSTED",
            "Quota exceeded for requests per minute",
            TransientError,
        ),
        ("RESOURCE_EXHAUSTED", "The following quotas are exceeded: X", QuotaError),
        (
            "PERMISSION_DENIED",
            "Permission 'aiplatform.endpoints.deploy' denied.",
            PermanentError,
        ),
        ("INVALID_ARGUMENT", "bad", PermanentError),
        ("FAILED_PRECONDITION", "busy", TransientError),
        ("ABORTED", "again", TransientError),
        ("INTERNAL", "oops", TransientError),
        ("DEADLINE_EXCEEDED", "slow", TransientError),
    ],
)
def test_errors_are_translated(
    vertex: Running,
    platform: VertexPlatform,
    status: str,
    message: str,
    error: type[Exception],
) -> None:
    """Each of Google's refusals is the error that handlers act on."""
    _inject(vertex, match="deployModel", status=status, message=message, times=9)

    with pytest.raises(error) as caught:
        platform.deploy(_deploy(platform, "none"))

    _inject(vertex, match="^$")
    assert message in str(caught.value)
    if status == "PERMISSION_DENIED":
        assert "Grant the permission aiplatform.endpoints.deploy" in str(caught.value)


def test_a_stand_in_that_is_away_is_transient() -> None:
    """Nobody listening is an outage, not the end of a deployment."""
    away = VertexPlatform(project="p", endpoint=f"http://127.0.0.1:{free_port()}")
    name = away.endpoint_name(REGION, "e")
    endpoint = Endpoint(name=name, dns="", deployed=(), traffic=())

    with pytest.raises(TransientError):
        away.ask(endpoint, "hello", model="m")


@pytest.mark.parametrize(
    ("status", "error"), [(429, TransientError), (500, PermanentError)]
)
def test_what_the_server_answers_is_told_apart(
    vertex: Running, platform: VertexPlatform, status: int, error: type[Exception]
) -> None:
    """Too busy is for later; an error of the server's own is an answer."""
    endpoint = Endpoint(
        name=platform.endpoint_name(REGION, "e"), dns="", deployed=(), traffic=()
    )
    names = {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}
    _inject(vertex, match="rawPredict", status=names[status], message="words")

    with pytest.raises(error, match="words"):
        platform.ask(endpoint, "hello", model="m")


def test_a_model_that_sleeps_is_deployed_through_v1beta1(
    vertex: Running, platform: VertexPlatform
) -> None:
    """min_replica_count 0 is deployed, read as an operation, and answers."""
    _made(platform, "sleepy")
    spec = _deploy(platform, "sleepy", min_replica_count=0)

    operation = platform.deploy(spec)
    _finish(platform, operation.name)
    done = platform.operation(operation.name)

    assert done is not None
    assert (done.fault, done.stage) == (None, "SUCCESSFULLY_DEPLOYED")
    shown = vertex.call("GET", "/endpoints/sleepy")["deployedModels"][0]
    assert shown["dedicatedResources"]["minReplicaCount"] == 0


@pytest.mark.parametrize(
    ("code", "message", "kind", "reason"),
    [
        (9, "Model server exited unexpectedly. Logs …", DEPLOY, Reason.SERVER_FAILED),
        (9, "Model server terminated: …", DEPLOY, Reason.SERVER_FAILED),
        (9, "Model server never became ready. …", DEPLOY, Reason.TIMED_OUT),
        (4, "…", DEPLOY, Reason.TIMED_OUT),
        (8, "The following quotas are exceeded: X", DEPLOY, Reason.QUOTA),
        (
            8,
            "Machine type temporarily unavailable, please deploy with another one.",
            DEPLOY,
            Reason.NO_CAPACITY,
        ),
        (7, "Permission denied", DEPLOY, Reason.PERMISSION),
        (13, "Internal error", DEPLOY, Reason.PLATFORM),
        (9, "not found", "UploadModelOperationMetadata", Reason.UPLOAD_FAILED),
        (13, "x", "CreateEndpointOperationMetadata", Reason.ENDPOINT_FAILED),
        (7, "denied", "UploadModelOperationMetadata", Reason.PERMISSION),
    ],
)
def test_reasons_of_failed_operations(
    code: int, message: str, kind: str, reason: Reason
) -> None:
    """Code, words and kind of an operation say why it failed."""
    assert reason_of(code, message, kind=kind) is reason


@given(
    st.dictionaries(
        st.text("0123456789", min_size=1, max_size=3), st.integers(0, 100), max_size=6
    ),
    st.text("0123456789", min_size=1, max_size=3),
)
def test_what_is_left_of_a_split_is_whole(split: dict[str, int], gone: str) -> None:
    """Without one model the others have 100 percent, or there are none."""
    left = messages.without(split, gone)

    assert gone not in left
    others = {name for name, part in split.items() if part and name != gone}
    assert set(left) == others
    assert sum(left.values()) == (100 if others else 0)


def test_names_are_written_with_our_project() -> None:
    """A project's number becomes its id; what is no name is refused."""
    name = "projects/123/locations/us-east1/endpoints/e/operations/9"

    assert ours(name, "mine") == name.replace("123", "mine")
    assert region_of(name) == "us-east1"
    with pytest.raises(PermanentError, match="no Vertex AI resource name"):
        region_of("endpoints/e")
