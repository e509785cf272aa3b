"""The ports in memory, every call of which goes through the scheduler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fakes.bus import MemoryBus
from fakes.platform import listed
from fakes.records import MemoryRecords
from sim.invariants import Invariants
from sim.scheduler import Scheduler
from weightdrop.adapters.vertex.messages import without
from weightdrop.core.artifacts.objects import StoredObject
from weightdrop.core.deployment.naming import LABEL
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import Deployment, Message, Revision
from weightdrop.errors import (
    NotFoundError,
    PermanentError,
    QuotaError,
    StaleError,
    TransientError,
)
from weightdrop.ports import (
    Answer,
    DeploySpec,
    Endpoint,
    EndpointSpec,
    Fault,
    Listing,
    ModelSpec,
    Operation,
    Page,
    Resource,
    ServerLog,
    Versioned,
)

MUTE = "mute"
"""Display name of a model whose server never answers a prompt."""

PARENT = "projects/p/locations/{}"


class SimClock:
    """The Clock port over the scheduler's time."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def now(self) -> datetime:
        """See weightdrop.ports.Clock."""
        return self._scheduler.now


class SimArtifacts:
    """The Artifacts port: objects are a name, a size and a checksum."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.objects: dict[str, dict[str, StoredObject]] = {}

    def list(self, bucket: str, prefix: str, *, limit: int) -> Listing:
        """See weightdrop.ports.Artifacts."""

        def act() -> Listing:
            begin = f"{prefix}/" if prefix else ""
            found = sorted(
                (o for o in self.objects[bucket].values() if o.name.startswith(begin)),
                key=lambda o: o.name,
            )
            return Listing(tuple(found[:limit]), len(found) > limit)

        return self._scheduler.call("list", act)

    def stat(self, bucket: str, name: str) -> StoredObject:
        """See weightdrop.ports.Artifacts."""
        found = self.objects[bucket].get(name)
        if found is None:
            raise NotFoundError(name)
        return found

    def keeping(self, bucket: str) -> None:
        """See weightdrop.ports.Artifacts: nobody keeps rules here."""

    def read(
        self, bucket: str, name: str, *, generation: int, start: int, length: int
    ) -> bytes:
        """See weightdrop.ports.Artifacts."""

        def act() -> bytes:
            found = self.objects[bucket].get(name)
            if found is None or generation not in {0, found.generation}:
                raise StaleError(f"{name} has another generation now")
            return found.crc32c.encode()[start : start + length]

        return self._scheduler.call("read", act)


class SimRecords:
    """The Records port; reads of a single record may be stale where allowed."""

    def __init__(
        self,
        scheduler: Scheduler,
        watch: Callable[[Deployment | None, Deployment], None],
    ) -> None:
        self._scheduler = scheduler
        self._watch = watch
        self.inner = MemoryRecords()
        self._before: dict[str, Versioned] = {}

    def get(self, deployment_id: str) -> Versioned | None:
        """See weightdrop.ports.Records."""

        def act() -> Versioned | None:
            stale = self._scheduler.chance(self._scheduler.faults.stale)
            if stale and deployment_id in self._before:
                self._scheduler.happened["a record was read as it had been"] += 1
                return self._before[deployment_id]
            return self.inner.get(deployment_id)

        return self._scheduler.call("get record", act)

    def fresh(self, deployment_id: str) -> Versioned | None:
        """The record as it is; for checks."""
        return self.inner.get(deployment_id)

    def create(
        self, deployment: Deployment, *, events: tuple[Message, ...] = ()
    ) -> Versioned:
        """See weightdrop.ports.Records."""

        def act() -> Versioned:
            written = self.inner.create(deployment, events=events)
            self._watch(None, deployment)
            return written

        return self._scheduler.call(f"create {deployment.id}", act)

    def put(
        self, deployment: Deployment, *, version: str, events: tuple[Message, ...] = ()
    ) -> Versioned:
        """See weightdrop.ports.Records."""

        def act() -> Versioned:
            before = self.inner.get(deployment.id)
            written = self.inner.put(deployment, version=version, events=events)
            if before is not None:
                self._before[deployment.id] = before
                self._watch(before.deployment, deployment)
            return written

        return self._scheduler.call(f"put {_phases(deployment)}", act)

    def turn(
        self, line: str, *, now: datetime, every: float, patience: float
    ) -> datetime | None:
        """See weightdrop.ports.Records."""
        return self._scheduler.call(
            "turn",
            lambda: self.inner.turn(line, now=now, every=every, patience=patience),
        )

    def due(self, now: datetime, *, limit: int) -> tuple[str, ...]:
        """See weightdrop.ports.Records."""
        return self._scheduler.call("due", lambda: self.inner.due(now, limit=limit))

    def page(self, *, phase: Phase | None, size: int, token: str) -> Page:
        """See weightdrop.ports.Records."""
        return self.inner.page(phase=phase, size=size, token=token)

    def serving(self, *, after: str, limit: int) -> tuple[Deployment, ...]:
        """See weightdrop.ports.Records."""
        return self._scheduler.call(
            "serving", lambda: self.inner.serving(after=after, limit=limit)
        )

    def revisions(self, deployment_id: str) -> tuple[Revision, ...]:
        """See weightdrop.ports.Records."""
        return self.inner.revisions(deployment_id)

    def events(self, deployment_id: str, *, limit: int) -> tuple[Message, ...]:
        """See weightdrop.ports.Records."""
        return self.inner.events(deployment_id, limit=limit)


def _phases(deployment: Deployment) -> str:
    return " ".join(f"{r.number}:{r.phase.value}" for r in deployment.revisions)


class SimBus:
    """The Bus port: hands every published message to the world."""

    def __init__(
        self, scheduler: Scheduler, deliver: Callable[[Message], None]
    ) -> None:
        self._scheduler = scheduler
        self._deliver = deliver
        self.inner = MemoryBus()

    def publish(self, message: Message) -> None:
        """See weightdrop.ports.Bus."""

        def act() -> None:
            self.inner.publish(message)
            self._deliver(message)

        self._scheduler.call(f"publish {message.type or message.topic}", act)


@dataclass(slots=True)
class Work:
    """An operation of the simulated platform."""

    name: str
    ends: datetime
    finish: Callable[[], Fault | None]
    fault: Fault | None = None
    done: bool = False


@dataclass(slots=True)
class Place:
    """An endpoint of the simulated platform."""

    name: str
    labels: dict[str, str]
    deployed: dict[str, str] = field(default_factory=dict)
    traffic: dict[str, int] = field(default_factory=dict)


class SimPlatform:
    """The Platform port: operations take their time, and fail as they do.

    Attributes:
        models: Labels by full name.
        places: Endpoints by full name.
        starts: How often each deployed model of an endpoint was started.
        mute: Deployed models whose server never answers a prompt.
        alone: Deployed models that scale to zero.
        full: Regions that have no machine.
    """

    def __init__(self, scheduler: Scheduler, invariants: Invariants) -> None:
        self._scheduler = scheduler
        self._invariants = invariants
        self.models: dict[str, dict[str, str]] = {}
        self.places: dict[str, Place] = {}
        self.works: dict[str, Work] = {}
        self.pending: dict[str, str] = {}
        self.starts: Counter[str] = Counter()
        self.mute: set[str] = set()
        self.alone: set[str] = set()
        self.full: set[str] = set()
        self._sent = scheduler.now

    def _begin(
        self, key: str, longest: float, finish: Callable[[], Fault | None]
    ) -> Operation:
        name = f"operations/{len(self.works) + 1}"
        ends = self._scheduler.now + timedelta(
            seconds=self._scheduler.between(0.5, longest)
        )
        self.works[name] = Work(name, ends, finish)
        self.pending[key] = name
        return Operation(name, done=False)

    def _settle(self) -> None:
        for key, name in list(self.pending.items()):
            work = self.works[name]
            if not work.done and work.ends <= self._scheduler.now:
                work.done = True
                work.fault = work.finish()
                del self.pending[key]

    def _busy(self, key: str) -> Operation | None:
        """What a second call finds while the first is under way."""
        if key not in self.pending:
            return None
        if self._scheduler.chance(0.5):
            raise TransientError(f"{key} is being worked on")
        return Operation(self.pending[key], done=False)

    def take_away(self, endpoint: str) -> None:
        """Somebody removes what is deployed, or all there is, in Google's console."""
        self._settle()
        place = self.places.get(endpoint)
        if place is None or any(key.startswith(endpoint) for key in self.pending):
            return
        whole = self._scheduler.chance(0.3)
        one = self._scheduler.choose([*place.deployed, ""])
        for taken in list(place.deployed) if whole else [one] if one else []:
            del place.deployed[taken]
            place.traffic = without(place.traffic, taken)
            self._invariants.taken.add(f"{endpoint}/{taken}")
            # Whoever did not know yet that it was there may start it again.
            self.starts[f"{endpoint}/{taken}"] -= 1
        if whole:
            self._take_all(self.places.pop(endpoint))

    def _take_all(self, place: Place) -> None:
        """With the endpoint go its models, so that nothing is left to be seen."""
        whose = place.labels[f"{LABEL}-deployment"]
        for name, labels in list(self.models.items()):
            ours = labels[f"{LABEL}-deployment"] == whose
            if ours and name not in self.pending:
                del self.models[name]

    def _refuse(self, spec: DeploySpec) -> None:
        """What is known at once: no quota, or no room in the region."""
        if self._scheduler.chance(self._scheduler.faults.before / 2):
            raise QuotaError("no quota for NVIDIA_L4")
        if self._full(spec.endpoint) and self._scheduler.chance(0.5):
            raise QuotaError("no room in this region")

    def _full(self, endpoint: str) -> bool:
        return any(f"/{region}/" in endpoint for region in self.full)

    def _paced(self) -> None:
        """An upload or a deployment begins: it was not sent too soon after another."""
        self._invariants.paced(self._sent)

    def _call(self, name: str, act: Callable[[], Operation | None]) -> Operation:
        sent = self._scheduler.now

        def settled() -> Operation:
            self._settle()
            self._sent = sent
            return act() or Operation("", done=True)

        return self._scheduler.call(name, settled)

    def upload_model(self, spec: ModelSpec) -> Operation:
        """See weightdrop.ports.Platform."""
        name = self.model_name(spec.region, spec.model_id)
        labels = dict(spec.labels)

        def finish() -> Fault | None:
            if self._scheduler.chance(self._scheduler.faults.before):
                return Fault(Reason.UPLOAD_FAILED, "the copy failed")
            self.models[name] = labels
            return None

        def act() -> Operation | None:
            self._invariants.called("upload", labels[f"{LABEL}-digest"])
            if name in self.models:
                return None
            busy = self._busy(name)
            if busy:
                return busy
            self._paced()
            return self._begin(name, 15, finish)

        return self._call("upload model", act)

    def model_name(self, region: str, model_id: str) -> str:
        """See weightdrop.ports.Platform."""
        return f"{PARENT.format(region)}/models/{model_id}"

    def model_exists(self, name: str) -> bool:
        """See weightdrop.ports.Platform."""
        return name in self.models

    def delete_model(self, name: str) -> None:
        """See weightdrop.ports.Platform."""

        def act() -> None:
            self._settle()
            used = any(
                name in place.deployed.values() for place in self.places.values()
            )
            if used or name in self.pending:
                raise TransientError(f"{name} is in use")
            self.models.pop(name, None)

        self._scheduler.call("delete model", act)

    def create_endpoint(self, spec: EndpointSpec) -> Operation:
        """See weightdrop.ports.Platform."""
        name = self.endpoint_name(spec.region, spec.endpoint_id)

        def finish() -> Fault | None:
            if self._scheduler.chance(self._scheduler.faults.before):
                return Fault(Reason.ENDPOINT_FAILED, "no endpoint could be made")
            self.places[name] = Place(name, dict(spec.labels))
            return None

        def act() -> Operation | None:
            if name in self.places:
                return None
            return self._busy(name) or self._begin(name, 10, finish)

        return self._call("create endpoint", act)

    def endpoint_name(self, region: str, endpoint_id: str) -> str:
        """See weightdrop.ports.Platform."""
        return f"{PARENT.format(region)}/endpoints/{endpoint_id}"

    def endpoint(self, name: str) -> Endpoint | None:
        """See weightdrop.ports.Platform."""

        def act() -> Endpoint | None:
            self._settle()
            place = self.places.get(name)
            if place is None:
                return None
            deployed = tuple(
                one for one in place.deployed if f"{name}/{one}" not in self.pending
            )
            return Endpoint(name, "dns.example", deployed, tuple(place.traffic.items()))

        return self._scheduler.call("get endpoint", act)

    def delete_endpoint(self, name: str) -> None:
        """See weightdrop.ports.Platform."""

        def act() -> None:
            self._settle()
            place = self.places.get(name)
            if place and place.deployed:
                raise TransientError(f"{name} is in use")
            self.places.pop(name, None)

        self._scheduler.call("delete endpoint", act)

    def deploy(self, spec: DeploySpec) -> Operation:
        """See weightdrop.ports.Platform."""
        key = f"{spec.endpoint}/{spec.deployed_model_id}"

        def finish() -> Fault | None:
            place = self.places[spec.endpoint]
            if self._scheduler.chance(self._scheduler.faults.before):
                place.deployed.pop(spec.deployed_model_id, None)
                place.traffic = without(place.traffic, spec.deployed_model_id)
                # A failed start that nobody heard of may be made again.
                self.starts[key] -= 1
                return Fault(Reason.SERVER_FAILED, "exited", ("Traceback", "boom"))
            if self._full(spec.endpoint):
                place.deployed.pop(spec.deployed_model_id, None)
                place.traffic = without(place.traffic, spec.deployed_model_id)
                self.starts[key] -= 1
                return Fault(Reason.NO_CAPACITY, "out of stock")
            place.traffic = {k: v for k, v in spec.traffic if k in place.deployed}
            return None

        def act() -> Operation | None:
            place = self.places.get(spec.endpoint)
            if place is None or spec.model not in self.models:
                raise PermanentError("the endpoint or the model is not there")
            busy = self._busy(key)
            if busy or spec.deployed_model_id in place.deployed:
                return busy
            self._invariants.called(
                "deploy", self.models[spec.model][f"{LABEL}-digest"]
            )
            self._refuse(spec)
            self._paced()
            self.starts[key] += 1
            place.deployed[spec.deployed_model_id] = spec.model
            if spec.display_name == MUTE:
                self.mute.add(spec.deployed_model_id)
            if spec.min_replica_count == 0:
                self.alone.add(spec.deployed_model_id)
            self._invariants.placed(place.deployed, self.alone)
            return self._begin(key, 45, finish)

        return self._call(f"deploy {spec.deployed_model_id}", act)

    def set_traffic(self, endpoint: str, traffic: tuple[tuple[str, int], ...]) -> None:
        """See weightdrop.ports.Platform."""

        def act() -> None:
            self._settle()
            place = self.places.get(endpoint)
            if place is None:
                raise NotFoundError(f"{endpoint} does not exist")
            if sum(share for _, share in traffic) != 100:
                raise PermanentError("traffic must add up to 100")
            if any(one not in place.deployed for one, share in traffic if share):
                raise PermanentError("traffic to what is not deployed")
            place.traffic = {one: share for one, share in traffic if share}

        self._scheduler.call(f"traffic {traffic}", act)

    def undeploy(self, endpoint: str, deployed_model_id: str) -> Operation:
        """See weightdrop.ports.Platform."""
        key = f"{endpoint}/{deployed_model_id}"

        def finish() -> Fault | None:
            place = self.places[endpoint]
            place.deployed.pop(deployed_model_id, None)
            place.traffic = without(place.traffic, deployed_model_id)
            return None

        def act() -> Operation | None:
            place = self.places.get(endpoint)
            if place is None or deployed_model_id not in place.deployed:
                return None
            if key in self.pending:
                raise TransientError(f"{key} is being worked on")
            return self._begin(key, 20, finish)

        return self._call(f"undeploy {deployed_model_id}", act)

    def operation(self, name: str) -> Operation | None:
        """See weightdrop.ports.Platform."""

        def act() -> Operation | None:
            self._settle()
            work = self.works.get(name)
            if work is None:
                return None
            forgotten = work.done and work.fault is None
            if forgotten and self._scheduler.chance(self._scheduler.faults.stale):
                return None
            return Operation(name, done=work.done, stage="WORKING", fault=work.fault)

        return self._scheduler.call("get operation", act)

    def server_log(
        self, endpoint: str, deployed_model_id: str, *, since: datetime
    ) -> ServerLog:
        """See weightdrop.ports.Platform: it never fails."""
        return ServerLog(("the last line",))

    def ask(self, endpoint: Endpoint, prompt: str, *, model: str) -> Answer:
        """See weightdrop.ports.Platform."""
        del prompt, model

        def act() -> Answer:
            self._settle()
            place = self.places.get(endpoint.name)
            if place is None or not place.traffic:
                raise TransientError("nobody there")
            one = self._scheduler.weighted(place.traffic)
            if one in self.mute:
                raise PermanentError("500 from the server")
            return Answer(one, "hello")

        return self._scheduler.call("ask", act)

    def labelled(self, region: str) -> tuple[Resource, ...]:
        """See weightdrop.ports.Platform."""

        def act() -> tuple[Resource, ...]:
            self._settle()
            places = [
                (it.name, it.labels, tuple(it.deployed)) for it in self.places.values()
            ]
            return listed(region, self.models.items(), places)

        return self._scheduler.call("labelled", act)
