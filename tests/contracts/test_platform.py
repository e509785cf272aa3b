"""The contract of the Platform port, over every implementation of it."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fakes.builders import make_deploy_spec
from fakes.platform import MemoryPlatform, server_failed
from local.vertex.buckets import BUCKET, Buckets
from local.vertex.running import Running, tiny_image, until
from weightdrop.adapters.vertex import VertexPlatform
from weightdrop.core.deployment import naming
from weightdrop.core.deployment.phases import Reason
from weightdrop.errors import (
    NotFoundError,
    PermanentError,
    QuotaError,
    TransientError,
)
from weightdrop.ports import (
    DeploySpec,
    Endpoint,
    EndpointSpec,
    ModelSpec,
    Operation,
    Platform,
    ServerSpec,
)

REGION = "us-central1"


@dataclass
class Subject:
    """An implementation, and how its world is moved.

    Attributes:
        platform: What is held to the contract.
        finish: Lets an operation come to its end.
        break_server: Makes the next server of a deployed model fail, and gives
            the arguments that make it so.
        folder: Makes a folder of artifacts; gives its URI.
    """

    platform: Platform
    finish: Callable[[Operation], Operation]
    break_server: Callable[[str], tuple[str, ...]]
    folder: Callable[[], str]


def _memory() -> Subject:
    platform = MemoryPlatform()

    def finish(operation: Operation) -> Operation:
        platform.settle()
        found = platform.operation(operation.name)
        assert found is not None
        return found

    def break_server(deployed_model_id: str) -> tuple[str, ...]:
        platform.faults[deployed_model_id] = server_failed("the weights are broken")
        return ()

    return Subject(platform, finish, break_server, lambda: f"gs://{BUCKET}/drop")


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """The adapter on a running stand-in, whose image is a tiny container."""
    home = tmp_path_factory.mktemp("platform")
    buckets = Buckets(home)
    options = ("--storage-endpoint", buckets.url)
    running = Running(home / "vertex", *options, env=tiny_image(home))
    platform = VertexPlatform(project="local", endpoint=running.url)

    def finish(operation: Operation) -> Operation:
        def done() -> bool:
            found = platform.operation(operation.name)
            return found is not None and found.done

        until(done)
        found = platform.operation(operation.name)
        assert found is not None
        return found

    def folder() -> str:
        name = uuid.uuid4().hex
        buckets.put(f"{name}/config.json")
        buckets.put(f"{name}/sub/model.safetensors")
        return f"gs://{BUCKET}/{name}"

    yield Subject(platform, finish, lambda _: ("--exit=3",), folder)
    running.close()
    buckets.close()


@pytest.fixture(params=["memory", "vertex"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each implementation in turn."""
    if request.param == "memory":
        return _memory()
    found: Subject = request.getfixturevalue("stand_in")
    return found


class Drop:
    """Names and specs of one deployment that no other test has."""

    def __init__(self, subject: Subject, *args: str) -> None:
        self.subject = subject
        self.digest = uuid.uuid4().hex * 2
        self.id = naming.deployment_id(BUCKET, self.digest)
        self.own = naming.deployed_model_id(self.digest)
        self.args = args
        platform = subject.platform
        self.model = platform.model_name(REGION, self.model_id)
        self.endpoint = platform.endpoint_name(REGION, naming.endpoint_id(self.id))

    @property
    def model_id(self) -> str:
        """The id of its model."""
        return naming.model_id(self.id, self.digest)

    def model_spec(self) -> ModelSpec:
        """What to upload."""
        return ModelSpec(
            region=REGION,
            model_id=self.model_id,
            display_name=self.id,
            artifact_uri=self.subject.folder(),
            server=ServerSpec(
                image="example/serving:1",
                args=(*self.args, "--served-model-name", "tiny"),
                env=(("NAME", "value"),),
            ),
            labels=tuple(naming.labels(self.id, self.digest).items()),
        )

    def endpoint_spec(self) -> EndpointSpec:
        """Where to deploy."""
        return EndpointSpec(
            region=REGION,
            endpoint_id=naming.endpoint_id(self.id),
            display_name=self.id,
            labels=tuple(naming.labels(self.id, "").items()),
        )

    def deploy_spec(self, **changes: Any) -> DeploySpec:
        """What to deploy: all traffic to it unless told otherwise."""
        spec = make_deploy_spec(
            self.endpoint,
            self.model,
            deployed_model_id=self.own,
            display_name=self.id,
        )
        return replace(spec, **changes)

    def make(self) -> None:
        """Upload the model and create the endpoint."""
        platform = self.subject.platform
        for operation in (
            platform.upload_model(self.model_spec()),
            platform.create_endpoint(self.endpoint_spec()),
        ):
            assert self.subject.finish(operation).fault is None

    def up(self) -> Endpoint:
        """Deploy; gives the endpoint."""
        done = self.subject.finish(self.subject.platform.deploy(self.deploy_spec()))
        assert done.fault is None
        return self.found()

    def found(self) -> Endpoint:
        """The endpoint as it is now."""
        endpoint = self.subject.platform.endpoint(self.endpoint)
        assert endpoint is not None
        return endpoint

    def down(self) -> None:
        """Undeploy what is there."""
        platform = self.subject.platform
        for one in self.found().deployed:
            operation = platform.undeploy(self.endpoint, one)
            if not operation.done:
                self.subject.finish(operation)


def test_a_model_is_uploaded_once(subject: Subject) -> None:
    """An upload is an operation; the second upload of one id is done at once."""
    drop, platform = Drop(subject), subject.platform
    assert not platform.model_exists(drop.model)

    done = subject.finish(platform.upload_model(drop.model_spec()))
    again = platform.upload_model(drop.model_spec())

    assert (done.done, done.fault) == (True, None)
    assert platform.model_exists(drop.model)
    assert (again.name, again.done) == ("", True)


def test_an_endpoint_is_created_once(subject: Subject) -> None:
    """A created endpoint has a name, a DNS name, and nothing on it."""
    drop, platform = Drop(subject), subject.platform
    assert platform.endpoint(drop.endpoint) is None

    done = subject.finish(platform.create_endpoint(drop.endpoint_spec()))
    again = platform.create_endpoint(drop.endpoint_spec())

    assert done.fault is None
    assert (again.name, again.done) == ("", True)
    found = drop.found()
    assert (found.name, found.deployed, found.traffic) == (drop.endpoint, (), ())
    assert found.dns


def test_a_call_whose_answer_was_lost_finds_its_operation(subject: Subject) -> None:
    """A second deploy while the first is under way gives the same operation."""
    drop, platform = Drop(subject), subject.platform
    drop.make()

    first = platform.deploy(drop.deploy_spec())
    second = platform.deploy(drop.deploy_spec())
    done = subject.finish(first)
    third = platform.deploy(drop.deploy_spec())

    assert second.name in (first.name, "")
    assert (done.stage, done.fault) == ("SUCCESSFULLY_DEPLOYED", None)
    assert (third.name, third.done) == ("", True)
    drop.down()


def test_a_deployed_model_answers(subject: Subject) -> None:
    """What is deployed is on the endpoint, has the traffic, and answers as itself."""
    drop = Drop(subject)
    drop.make()

    found = drop.up()
    answer = subject.platform.ask(found, "hello", model="tiny")

    assert found.deployed == (drop.own,)
    assert found.traffic == ((drop.own, 100),)
    assert answer.deployed_model_id == drop.own
    assert answer.text
    drop.down()


def test_traffic_moves_from_one_model_to_the_next(subject: Subject) -> None:
    """A second model comes up without traffic, takes a share, then everything."""
    old, new, platform = Drop(subject), Drop(subject), subject.platform
    old.make()
    old.up()
    subject.finish(platform.upload_model(new.model_spec()))
    quiet = ((new.own, 0), (old.own, 100))
    spec = new.deploy_spec(endpoint=old.endpoint, traffic=quiet)
    assert subject.finish(platform.deploy(spec)).fault is None
    before = old.found()

    platform.set_traffic(old.endpoint, ((new.own, 25), (old.own, 75)))
    shared = old.found()
    asked = Counter(
        platform.ask(shared, "hello", model="tiny").deployed_model_id
        for _ in range(100)
    )
    subject.finish(platform.undeploy(old.endpoint, old.own))
    after = old.found()

    assert set(before.deployed) == {old.own, new.own}
    assert before.traffic == ((old.own, 100),)
    assert asked == {new.own: 25, old.own: 75}
    assert (after.deployed, after.traffic) == ((new.own,), ((new.own, 100),))
    old.down()


def test_traffic_that_is_no_whole_is_refused(subject: Subject) -> None:
    """A split that does not add up to 100 is a PermanentError."""
    drop = Drop(subject)
    drop.make()
    drop.up()

    with pytest.raises(PermanentError):
        subject.platform.set_traffic(drop.endpoint, ((drop.own, 99),))

    drop.down()


def test_traffic_of_an_endpoint_that_is_gone_is_not_found(subject: Subject) -> None:
    """Somebody may delete it between a look and the order."""
    drop = Drop(subject)

    with pytest.raises(NotFoundError):
        subject.platform.set_traffic(drop.endpoint, ((drop.own, 100),))


def test_what_is_in_use_is_not_deleted(subject: Subject) -> None:
    """Deleting a deployed model or its endpoint is for later; empty, it works."""
    drop, platform = Drop(subject), subject.platform
    drop.make()
    drop.up()

    with pytest.raises(TransientError):
        platform.delete_model(drop.model)
    with pytest.raises(TransientError):
        platform.delete_endpoint(drop.endpoint)
    drop.down()
    platform.delete_model(drop.model)
    platform.delete_endpoint(drop.endpoint)

    until(lambda: not platform.model_exists(drop.model))
    until(lambda: platform.endpoint(drop.endpoint) is None)


def test_what_is_not_there_is_gone_already(subject: Subject) -> None:
    """Deleting and undeploying what does not exist is no error."""
    drop, platform = Drop(subject), subject.platform

    platform.delete_model(drop.model)
    platform.delete_endpoint(drop.endpoint)
    without_endpoint = platform.undeploy(drop.endpoint, drop.own)
    drop.make()
    without_model = platform.undeploy(drop.endpoint, drop.own)

    assert (without_endpoint.done, without_model.done) == (True, True)


def test_a_broken_server_is_a_fault_with_its_log(subject: Subject) -> None:
    """A deployment whose server ends carries reason, words and log; nothing stays."""
    drop = Drop(subject)
    drop.args = subject.break_server(drop.own)
    drop.make()

    done = subject.finish(subject.platform.deploy(drop.deploy_spec()))

    assert done.done
    assert done.fault is not None
    assert done.fault.reason is Reason.SERVER_FAILED
    assert "Model server exited unexpectedly" in done.fault.message
    assert done.fault.log_tail[0] == "the weights are broken"
    assert drop.found().deployed == ()


def test_too_many_accelerators_are_a_quota(subject: Subject) -> None:
    """A deployment beyond the quota is refused at once, with a QuotaError."""
    drop = Drop(subject)
    drop.make()
    spec = drop.deploy_spec(min_replica_count=1000, max_replica_count=1000)

    with pytest.raises(QuotaError):
        subject.platform.deploy(spec)


def test_an_operation_that_nobody_knows_is_none(subject: Subject) -> None:
    """The platform forgets operations; the port says so."""
    drop = Drop(subject)

    assert subject.platform.operation(f"{drop.endpoint}/operations/1") is None


def test_what_is_ours_is_found_by_its_label(subject: Subject) -> None:
    """They come back under the names they were made with, and with what they hold."""
    drop, platform = Drop(subject), subject.platform
    drop.make()
    drop.up()
    other = replace(drop.endpoint_spec(), endpoint_id="foreign", labels=())
    operation = platform.create_endpoint(other)
    if not operation.done:
        subject.finish(operation)

    found = platform.labelled(REGION)

    own = {item.kind: item for item in found if item.deployment_id == drop.id}
    assert own["model"].name == drop.model
    assert drop.digest.startswith(own["model"].digest)
    assert own["model"].digest
    assert own["endpoint"].name == drop.endpoint
    assert (own["model"].deployed, own["endpoint"].deployed) == ((), (drop.own,))
    assert platform.endpoint_name(REGION, "foreign") not in {it.name for it in found}
    assert platform.labelled("europe-west4") == ()
    drop.down()
