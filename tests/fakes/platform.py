"""The Platform port in memory: operations move only when they are told to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from weightdrop.core.deployment.naming import LABEL
from weightdrop.core.deployment.phases import Reason
from weightdrop.errors import (
    NotFoundError,
    PermanentError,
    QuotaError,
    TransientError,
)
from weightdrop.ports import (
    Answer,
    DeploySpec,
    Endpoint,
    EndpointSpec,
    Fault,
    ModelSpec,
    Operation,
    Resource,
    ServerLog,
)

STAGES = ("STARTING_DEPLOYMENT", "STARTING_MODEL_SERVER", "SUCCESSFULLY_DEPLOYED")
_DONE = Operation(name="", done=True)
_WHOLE = 100


@dataclass(slots=True)
class _Place:
    """One endpoint: labels, model per deployed id, traffic per deployed id."""

    labels: dict[str, str]
    deployed: dict[str, str] = field(default_factory=dict)
    coming: dict[str, str] = field(default_factory=dict)
    traffic: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Work:
    """One operation under way: stages still to show, and what ends it."""

    operation: Operation
    stages: list[str]
    end: Callable[[Fault | None], None]


class MemoryPlatform:
    """Vertex AI in dictionaries; passes the contract suite of the port.

    `step` moves every operation one stage on, `settle` to its end. Who is asked
    follows the traffic split in a fixed order, so every run is the same.

    Attributes:
        gpus: Accelerators there are; a deployment beyond them is refused.
        faults: Deployed model id to how its next deployment fails.
        mute: Deployed model ids whose server answers with an error.
        logs: What the servers of deployed model ids wrote last.
        calls: Every call that changes something, in order.
    """

    def __init__(self, *, project: str = "local", gpus: int = 64) -> None:
        self.gpus = gpus
        self.faults: dict[str, Fault] = {}
        self.mute: set[str] = set()
        self.logs: dict[str, ServerLog] = {}
        self.calls: list[tuple[str, str]] = []
        self._project = project
        self._models: dict[str, dict[str, str]] = {}
        self._places: dict[str, _Place] = {}
        self._gpus_of: dict[str, int] = {}
        self._operations: dict[str, Operation] = {}
        self._works: dict[str, _Work] = {}
        self._asked = 0

    # ------------------------------------------------------------ the strings

    def step(self) -> bool:
        """Move every operation one stage on; says whether any is under way."""
        for key, work in list(self._works.items()):
            if work.stages:
                stage = work.stages.pop(0)
                work.operation = replace(work.operation, stage=stage)
            else:
                del self._works[key]
                fault = self.faults.pop(key.rpartition("/")[2], None)
                work.end(fault)
                work.operation = replace(work.operation, done=True, fault=fault)
            self._operations[work.operation.name] = work.operation
        return bool(self._works)

    def settle(self) -> None:
        """Move every operation to its end."""
        while self.step():
            continue

    def forget(self, name: str) -> None:
        """Forget an operation that is done, as the platform does after a while."""
        del self._operations[name]

    # -------------------------------------------------------------- the port

    def model_name(self, region: str, model_id: str) -> str:
        """See weightdrop.ports.Platform."""
        return f"projects/{self._project}/locations/{region}/models/{model_id}"

    def endpoint_name(self, region: str, endpoint_id: str) -> str:
        """See weightdrop.ports.Platform."""
        return f"projects/{self._project}/locations/{region}/endpoints/{endpoint_id}"

    def model_exists(self, name: str) -> bool:
        """See weightdrop.ports.Platform."""
        return name in self._models

    def upload_model(self, spec: ModelSpec) -> Operation:
        """See weightdrop.ports.Platform."""
        name = self.model_name(spec.region, spec.model_id)

        def end(fault: Fault | None) -> None:
            if fault is None:
                self._models[name] = dict(spec.labels)

        if name in self._models:
            return _DONE
        return self._begin("upload", name, name, [], end)

    def delete_model(self, name: str) -> None:
        """See weightdrop.ports.Platform."""
        for place in self._places.values():
            if name in {*place.deployed.values(), *place.coming.values()}:
                raise TransientError(f"{name} is deployed.")
        self.calls.append(("delete", name))
        self._models.pop(name, None)

    def create_endpoint(self, spec: EndpointSpec) -> Operation:
        """See weightdrop.ports.Platform."""
        name = self.endpoint_name(spec.region, spec.endpoint_id)

        def end(fault: Fault | None) -> None:
            if fault is None:
                self._places[name] = _Place(labels=dict(spec.labels))

        if name in self._places:
            return _DONE
        return self._begin("create", name, name, [], end)

    def endpoint(self, name: str) -> Endpoint | None:
        """See weightdrop.ports.Platform."""
        place = self._places.get(name)
        if place is None:
            return None
        return Endpoint(
            name=name,
            dns="endpoint.example",
            deployed=tuple(place.deployed),
            traffic=tuple(sorted(place.traffic.items())),
        )

    def delete_endpoint(self, name: str) -> None:
        """See weightdrop.ports.Platform."""
        place = self._places.get(name)
        if place and (place.deployed or place.coming):
            raise TransientError(f"{name} has deployed models.")
        self.calls.append(("delete", name))
        self._places.pop(name, None)

    def deploy(self, spec: DeploySpec) -> Operation:
        """See weightdrop.ports.Platform."""
        place = self._places.get(spec.endpoint)
        if place is None or spec.model not in self._models:
            raise PermanentError(f"{spec.endpoint} or {spec.model} does not exist.")
        own, key = spec.deployed_model_id, f"{spec.endpoint}/{spec.deployed_model_id}"
        if own in place.deployed:
            return _DONE
        wanted = spec.accelerator_count * max(spec.min_replica_count, 1)
        if own not in place.coming:
            if sum(self._gpus_of.values()) + wanted > self.gpus:
                raise QuotaError(f"The quota of {spec.accelerator_type} is exceeded.")
            self._gpus_of[key] = wanted
            place.coming[own] = spec.model

        def end(fault: Fault | None) -> None:
            place.coming.pop(own, None)
            if fault:
                self._gpus_of.pop(key, None)
                return
            place.deployed[own] = spec.model
            if spec.traffic:
                place.traffic = {name: part for name, part in spec.traffic if part}

        return self._begin("deploy", key, spec.endpoint, list(STAGES), end)

    def set_traffic(self, endpoint: str, traffic: tuple[tuple[str, int], ...]) -> None:
        """See weightdrop.ports.Platform."""
        place = self._places.get(endpoint)
        if place is None:
            raise NotFoundError(f"{endpoint} does not exist.")
        if sum(part for _, part in traffic) != _WHOLE:
            raise PermanentError("The traffic split does not add up to 100.")
        if any(name not in place.deployed for name, _ in traffic):
            raise PermanentError("The traffic split names what is not deployed.")
        self.calls.append(("traffic", endpoint))
        place.traffic = {name: part for name, part in traffic if part}

    def undeploy(self, endpoint: str, deployed_model_id: str) -> Operation:
        """See weightdrop.ports.Platform."""
        place, key = self._places.get(endpoint), f"{endpoint}/{deployed_model_id}"
        if place and deployed_model_id in place.coming:
            raise TransientError(f"{key} is still being deployed.")
        if place is None or deployed_model_id not in place.deployed:
            return _DONE
        place.traffic.pop(deployed_model_id, None)
        left = [name for name in place.deployed if name != deployed_model_id]
        missing = _WHOLE - sum(place.traffic.values())
        if left and missing:
            heir = max(left, key=lambda name: (place.traffic.get(name, 0), name))
            place.traffic[heir] = place.traffic.get(heir, 0) + missing

        def end(_: Fault | None) -> None:
            place.deployed.pop(deployed_model_id, None)
            self._gpus_of.pop(key, None)

        return self._begin("undeploy", key, endpoint, [], end)

    def operation(self, name: str) -> Operation | None:
        """See weightdrop.ports.Platform."""
        return self._operations.get(name)

    def server_log(
        self, endpoint: str, deployed_model_id: str, *, since: datetime
    ) -> ServerLog:
        """See weightdrop.ports.Platform."""
        return self.logs.get(deployed_model_id, ServerLog(()))

    def ask(self, endpoint: Endpoint, prompt: str, *, model: str) -> Answer:
        """See weightdrop.ports.Platform."""
        place = self._places.get(endpoint.name)
        if place is None or not place.traffic:
            raise TransientError(f"{endpoint.name} serves nothing now.")
        turn, self._asked = self._asked % _WHOLE, self._asked + 1
        parts = sorted(place.traffic.items())
        order = [name for name, part in parts for _ in range(part)]
        name = order[turn]
        if name in self.mute:
            raise PermanentError(f"{endpoint.name} does not answer: HTTP 500: {model}")
        return Answer(deployed_model_id=name, text=f"{prompt}!")

    def labelled(self, region: str) -> tuple[Resource, ...]:
        """See weightdrop.ports.Platform."""
        places = [
            (name, it.labels, tuple(it.deployed)) for name, it in self._places.items()
        ]
        return listed(region, self._models.items(), places)

    def _begin(
        self,
        kind: str,
        key: str,
        parent: str,
        stages: list[str],
        end: Callable[[Fault | None], None],
    ) -> Operation:
        """Start an operation; a second call finds the one that is under way."""
        if key in self._works:
            return self._works[key].operation
        self.calls.append((kind, key))
        name = f"{parent}/operations/{len(self._operations) + 1}"
        operation = Operation(name=name, done=False)
        self._operations[name] = operation
        self._works[key] = _Work(operation, stages, end)
        return operation


def listed(
    region: str,
    models: Iterable[tuple[str, dict[str, str]]],
    endpoints: Iterable[tuple[str, dict[str, str], tuple[str, ...]]],
) -> tuple[Resource, ...]:
    """What carries our label, of models and endpoints by name, labels, and contents."""
    found = [("model", name, labels, ()) for name, labels in models]
    return tuple(
        Resource(
            kind=kind,
            name=name,
            deployment_id=labels.get(f"{LABEL}-deployment", ""),
            digest=labels.get(f"{LABEL}-digest", ""),
            deployed=deployed,
        )
        for kind, name, labels, deployed in (
            *found,
            *(("endpoint", *endpoint) for endpoint in endpoints),
        )
        if labels.get(LABEL) == "true" and f"/locations/{region}/" in name
    )


def server_failed(*tail: str) -> Fault:
    """How a deployment ends whose server does not come up."""
    return Fault(
        reason=Reason.SERVER_FAILED,
        message="Model server exited unexpectedly.",
        log_tail=tail,
    )
