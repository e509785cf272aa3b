"""A world with users in it: drops, orders, functions, a platform, and an end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from sim.invariants import InvariantError, Invariants, served_by
from sim.ports import (
    MUTE,
    PARENT,
    Place,
    SimArtifacts,
    SimBus,
    SimClock,
    SimPlatform,
    SimRecords,
)
from sim.scheduler import NO_FAULTS, Faults, Scheduler
from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.artifacts.model import Attention, ModelFacts, Tensor
from weightdrop.core.artifacts.objects import ArtifactSet, StoredObject
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.artifacts.overrides import Overrides
from weightdrop.core.artifacts.policy import Policy
from weightdrop.core.artifacts.report import Reads, Report
from weightdrop.core.deployment import naming
from weightdrop.core.deployment.events import REQUESTS_TOPIC
from weightdrop.core.deployment.phases import RESTING
from weightdrop.core.deployment.record import Deployment, Message
from weightdrop.core.deployment.triggers import may_belong
from weightdrop.core.planning.choose import plan
from weightdrop.core.planning.plan import NoPlan, Plan, PlanRequest
from weightdrop.core.planning.tables import packaged_tables
from weightdrop.errors import PermanentError, StaleError, TransientError
from weightdrop.ports import Artifacts
from weightdrop.services.admit import Admission
from weightdrop.services.commands import Commands
from weightdrop.services.reconcile import Reconciler
from weightdrop.services.sweep import Sweep
from weightdrop.services.tick import Tick
from weightdrop.settings import Settings

BUCKET = "models"
FILES = ("config.json", "tokenizer.json")
SHARDS = ("model.safetensors",)
SETTINGS = Settings(
    project="p",
    buckets=(BUCKET,),
    settle_seconds=5,
    waiting_seconds=300,
    deploy_seconds=600,
    verify_seconds=120,
    operation_seconds=300,
    poll_seconds=5,
    lease_seconds=60,
    fallback_regions=("us-east4", "europe-west4"),
)
VARIANTS = ["v1", "v1", "v2", "v3", "broken", "mute", "canary", "canary"]
VARIANTS += ["shy", "sleepy", "brief"]
"""What is dropped: the more often named, the more often."""

ORDERS = ["retry", "rollback", "undeploy", "promote", "choose", "take"]
DEEDS = [*ORDERS, "rollback", "drop", "drop", "drop", "half", "delete"]
"""What people do after their first drop."""

BUSY = 0.3
"""Share of the schedules with up to two folders and five deeds; the others are one
folder on its way through, and a deed in between now and then."""

STORM_SECONDS = 600.0
"""How long things go wrong; what is left must then come to rest."""

MAX_STEPS = 20_000
PULSES = frozenset({"clock", "on_tick", "sweep"})
"""Jobs that go on for as long as anything else does."""

TINY = ModelFacts(
    architecture="LlamaForCausalLM",
    model_type="llama",
    base_model="",
    parameters=1_000_000,
    dtype="bfloat16",
    quantization="",
    hidden_size=64,
    intermediate_size=128,
    layers=2,
    vocab_size=512,
    max_position=2048,
    experts=0,
    multimodal=False,
    tied_embeddings=False,
    attention=Attention(heads=4, kv_heads=2, head_dim=16, full_layers=2),
    tensors=(Tensor("w", "BF16", (1000, 1000), 2_000_000, SHARDS[0]),),
)


def inspect(store: Artifacts, artifacts: ArtifactSet, policy: Policy) -> Report:
    """What a folder of checksums amounts to; reads as a real inspection does."""
    del policy
    findings: list[Finding] = []
    for file in artifacts.files:
        store.read(
            artifacts.bucket,
            artifacts.object_name(file.path),
            generation=file.generation,
            start=0,
            length=8,
        )
        if "broken" in file.crc32c:
            findings.append(Finding("cut", Severity.ERROR, "cut", "again", file.path))
    missing = tuple(n for n in FILES + SHARDS if artifacts.get(n) is None)
    findings += [
        Finding("missing", Severity.MISSING, "to come", "copy it", name)
        for name in missing
    ]
    return Report(
        tuple(findings), TINY, _options(artifacts), FILES + SHARDS, missing, Reads()
    )


OPTIONS = {
    "canary": FolderOptions(traffic=25),
    "shy": FolderOptions(traffic=0),
    "sleepy": FolderOptions(scale_to_zero=True),
    "brief": FolderOptions(ttl=60),
    "mute": FolderOptions(model_display_name=MUTE),
}
"""What the variants of a drop wish for, by name."""

OVERRIDES: list[Overrides] = [
    (),
    (("max_replica_count", 3),),
    (("scale_to_zero", True),),
    (("max_replica_count", 1), ("min_replica_count", 2)),
]
"""What orders lay over that; the last contradicts itself."""


def _options(artifacts: ArtifactSet) -> FolderOptions:
    config = artifacts.get(FILES[0])
    variant = config.crc32c.partition("-")[0] if config else ""
    return OPTIONS.get(variant, FolderOptions())


@lru_cache(maxsize=64)
def choose(model: ModelFacts, request: PlanRequest) -> Plan | NoPlan:
    """The real planner, asked once for each question."""
    return plan(model, request, packaged_tables())


@dataclass(slots=True)
class Users:
    """What people do during one schedule, drawn from the seed."""

    world: World

    def act(self) -> None:
        """Draw what happens at one or two places."""
        scheduler = self.world.scheduler
        busy = scheduler.chance(BUSY)
        for name in ("llama", "qwen") if busy and scheduler.chance(0.5) else ("llama",):
            at = scheduler.between(0, 5)
            deeds = ["drop", *self._deeds(4 if busy else 1)]
            for deed in deeds if scheduler.chance(0.9) else deeds[1:]:
                at += self._visit(deed, name, at)

    def _deeds(self, most: int) -> list[str]:
        """What follows the first drop: orders mostly."""
        scheduler = self.world.scheduler
        count = sum(scheduler.chance(0.35) for _ in range(most))
        return [scheduler.choose(DEEDS) for _ in range(count)]

    def _visit(self, deed: str, name: str, at: float) -> float:
        scheduler = self.world.scheduler
        if deed in ORDERS:
            act = {"choose": self._choose, "take": self._take}.get(deed, self._order)
            scheduler.after(at, f"{deed} {name}", act(deed, name), once=True)
            return scheduler.between(5, 90)
        variant = scheduler.choose(VARIANTS)
        files = list(FILES + SHARDS)
        order = scheduler.choose(["last", "first", "any"])
        rest = files[1:]
        rest.sort(key=lambda _: scheduler.between(0, 1))
        files = {
            "last": [*rest, files[0]],
            "first": [files[0], *rest],
            "any": sorted(files, key=lambda _: scheduler.between(0, 1)),
        }[order]
        if deed == "half":
            files = files[: 1 + scheduler.chance(0.5)]
        for path in files:
            at += scheduler.between(0, 2)
            object_name = f"{name}/{path}"
            act = self._remove if deed == "delete" else self._copy
            scheduler.after(
                at,
                f"{deed} {object_name} {variant}",
                act(object_name, variant),
                once=True,
            )
        # Soon after, while it is on its way, or once it should serve.
        return scheduler.between(5, 50) if scheduler.chance(0.5) else 150

    def _copy(self, name: str, variant: str) -> Callable[[], None]:
        return lambda: self.world.put(name, f"{variant}-{name.rpartition('/')[2]}")

    def _remove(self, name: str, _: str) -> Callable[[], None]:
        return lambda: self.world.remove(name)

    def _order(self, order: str, name: str) -> Callable[[], None]:
        def run() -> None:
            identity = naming.deployment_id(BUCKET, name)
            try:
                getattr(self.world.commands, order)(identity)
            except (PermanentError, StaleError) as error:
                self.world.scheduler.note(f"refused: {error}")

        return run

    def _take(self, order: str, name: str) -> Callable[[], None]:
        """Somebody takes away what serves, and tells nobody."""
        del order

        def run() -> None:
            held = self.world.records.fresh(naming.deployment_id(BUCKET, name))
            if held is not None:
                self.world.platform.take_away(held.deployment.endpoint_name)

        return run

    def _choose(self, order: str, name: str) -> Callable[[], None]:
        """Deploy what is there with other choices, or with none."""
        del order
        overrides = self.world.scheduler.choose(OVERRIDES)

        def run() -> None:
            try:
                self.world.admission.folder(BUCKET, name, overrides=overrides)
            except (PermanentError, StaleError, TransientError) as error:
                self.world.scheduler.note(f"refused: {error}")

        return run


class World:
    """The real services over simulated ports, and everything around them."""

    def __init__(self, seed: int, faults: Faults, *, tracing: bool = False) -> None:
        self.scheduler = Scheduler(seed, faults, tracing=tracing)
        self.invariants = Invariants()
        self.artifacts = SimArtifacts(self.scheduler)
        self.artifacts.objects[BUCKET] = {}
        self.records = SimRecords(self.scheduler, self.invariants.written)
        self.bus = SimBus(self.scheduler, self._deliver)
        self.platform = SimPlatform(self.scheduler, self.invariants)
        clock = SimClock(self.scheduler)
        self.admission = Admission(
            self.artifacts,
            self.records,
            self.bus,
            clock,
            SETTINGS,
            inspect=inspect,
            choose=choose,
        )
        self.reconciler = Reconciler(
            self.records,
            self.bus,
            self.platform,
            clock,
            SETTINGS,
            pause=self.scheduler.pause,
        )
        self.commands = Commands(self.records, self.bus, clock, SETTINGS)
        self.tick = Tick(
            self.records, self.admission, self.reconciler, each=self._side_by_side
        )
        self.sweeper = Sweep(
            _Fresh(self.records), self.bus, self.platform, clock, SETTINGS
        )
        self._generation = 0
        self._plant_strangers()

    def _plant_strangers(self) -> None:
        """One endpoint that is nobody's business, one of ours that nobody claims."""
        parent = PARENT.format(SETTINGS.region)
        self.foreign = f"{parent}/endpoints/theirs"
        self.orphan = f"{parent}/endpoints/wd-gone-00000000"
        self.platform.places[self.foreign] = Place(self.foreign, {"team": "theirs"})
        labels = naming.labels("gone-00000000", "f" * 64)
        self.platform.places[self.orphan] = Place(
            self.orphan, labels, {"1234567890": "m"}, {"1234567890": 100}
        )

    def _side_by_side(self, act: Callable[[str], None], things: Sequence[str]) -> None:
        for one in things:
            self.scheduler.after(0, "on_tick", lambda it=one: act(it), once=True)

    def _sweep(self) -> None:
        self.sweeper.everywhere(SETTINGS.regions)

    # ------------------------------------------------------------- the bucket

    def put(self, name: str, crc32c: str) -> None:
        """A user writes an object."""
        self._generation += 1
        stored = StoredObject(
            name, self._generation, len(crc32c), crc32c, self.scheduler.now
        )
        self.artifacts.objects[BUCKET][name] = stored
        self._event(
            name,
            lambda: self.admission.object_changed(
                BUCKET, name, size=stored.size, crc32c=crc32c
            ),
        )

    def remove(self, name: str) -> None:
        """A user deletes an object."""
        if self.artifacts.objects[BUCKET].pop(name, None):
            self._event(name, lambda: self.admission.object_deleted(BUCKET, name))

    def _event(self, name: str, act: Callable[[], object]) -> None:
        def run() -> None:
            if may_belong(name):
                self._acknowledged(act)

        self.scheduler.after(self.scheduler.between(0, 3), f"on_artifact {name}", run)

    # -------------------------------------------------------------- functions

    def _deliver(self, message: Message) -> None:
        self.invariants.published(message)
        if message.topic == REQUESTS_TOPIC:
            identity = json.loads(message.data)["deployment"]
            self.scheduler.after(
                self.scheduler.between(0, 3),
                f"on_request {identity}",
                lambda: self._acknowledged(
                    lambda: self.reconciler.deployment(identity)
                ),
            )

    def _acknowledged(self, act: Callable[[], object]) -> None:
        """The mapping of errors that every handler has."""
        try:
            act()
        except StaleError as error:
            self.scheduler.note(f"stale: {error}")
        except PermanentError as error:
            self.scheduler.note(f"refused: {error}")

    def _pulse(self, every: float, name: str, act: Callable[[], object]) -> None:
        def run() -> None:
            self._acknowledged(act)

        def again() -> None:
            if not self._over():
                self.scheduler.after(0, name, run, once=True)
                self.scheduler.after(every, "clock", again, once=True)

        self.scheduler.after(every, "clock", again, once=True)

    def _tick(self) -> None:
        # One that finds nothing does nothing: most of these need not be run.
        now = self.scheduler.now
        if self.records.inner.due(now, limit=1) or self.scheduler.chance(0.1):
            self.tick.run()

    # -------------------------------------------------------------- the run

    def run(self) -> None:
        """Users act, things go wrong for a while, then all must come to rest.

        Raises:
            InvariantError: If something happened that must not.
        """
        Users(self).act()
        self._pulse(10, "on_tick", self._tick)
        self._pulse(60, "sweep", self._sweep)
        self.platform.full = {
            region
            for region in SETTINGS.regions
            if self.scheduler.chance(self.scheduler.faults.full)
        }
        end = self.scheduler.now + timedelta(seconds=STORM_SECONDS)
        for _ in range(MAX_STEPS):
            if self.scheduler.now > end:
                self.scheduler.faults = NO_FAULTS
            if not self.scheduler.step():
                break
        else:
            self.scheduler.cancel_all()
            raise InvariantError("3: the run did not end")
        self._check_the_end()

    def _over(self) -> bool:
        return (
            self._quiet()
            and self.orphan not in self.platform.places
            and all(
                self._deployed(held) == served_by(held) for held in self.deployments()
            )
        )

    def _agrees(self, deployment: Deployment) -> bool:
        return self._deployed(deployment) == served_by(deployment)

    def _deployed(self, deployment: Deployment) -> set[str]:
        """What the platform has on the deployment's endpoint."""
        name = self.platform.endpoint_name(deployment.region, deployment.endpoint_id)
        place = self.platform.places.get(name)
        return set(place.deployed) if place else set()

    def _quiet(self) -> bool:
        """Whether nothing is left to go wrong: the storm need not last on."""
        quiet = (
            not self.platform.pending
            and not self.scheduler.busy(besides=PULSES)
            and all(
                held.due is None and all(r.phase in RESTING for r in held.revisions)
                for held in self.deployments()
            )
        )
        if quiet:
            self.scheduler.faults = NO_FAULTS
        return quiet

    def deployments(self) -> Iterator[Deployment]:
        """Every record."""
        for held in list(self.records.inner._records.values()):
            yield held.deployment

    def _check_the_end(self) -> None:
        self._sweep()
        for deployment in self.deployments():
            self.invariants.ended(deployment)
            self._check_platform(deployment)
        if self.foreign not in self.platform.places:
            raise InvariantError("5: somebody else's endpoint was removed")
        if self.orphan in self.platform.places:
            raise InvariantError("5: an orphan was never removed")

    def _check_platform(self, deployment: Deployment) -> None:
        name = self.platform.endpoint_name(deployment.region, deployment.endpoint_id)
        place = self.platform.places.get(name)
        elsewhere = [
            one
            for one in (*self.platform.places, *self.platform.models)
            if one.endswith(f"/{deployment.endpoint_id}") and one != name
        ]
        if elsewhere or deployment.leftovers:
            raise InvariantError(f"5: left behind: {elsewhere} {deployment.leftovers}")
        self._check_models(deployment)
        deployed = self._deployed(deployment)
        claimed = served_by(deployment)
        if deployed != claimed:
            raise InvariantError(
                f"5: deployed {sorted(deployed)}, claimed {sorted(claimed)}"
            )
        wanted = {
            naming.deployed_model_id(one.digest): percent
            for one, percent in deployment.split
            if percent
        }
        traffic = place.traffic if place else {}
        if traffic != wanted:
            raise InvariantError(f"2: the traffic is {traffic}, not {wanted}")
        attempts: dict[str, int] = {}
        for revision in self.records.inner.revisions(deployment.id):
            identity = naming.deployed_model_id(revision.digest)
            attempts[identity] = revision.attempt
        for identity, allowed in attempts.items():
            started = self.platform.starts[f"{name}/{identity}"]
            if started > allowed:
                raise InvariantError(
                    f"2: {identity} was started {started} times in {allowed} attempts"
                )

    def _check_models(self, deployment: Deployment) -> None:
        """Every model with the deployment's label is claimed by a revision."""
        claimed = {revision.model_name for revision in deployment.revisions}
        for name, labels in self.platform.models.items():
            ours = labels[f"{naming.LABEL}-deployment"] == deployment.id
            if ours and name not in claimed:
                raise InvariantError(f"5: nobody claims {name}")


class _Fresh:
    """Records whose single reads are never stale, as Firestore promises."""

    def __init__(self, records: SimRecords) -> None:
        self._records = records

    def __getattr__(self, name: str) -> object:
        return getattr(self._records, name)

    def get(self, deployment_id: str) -> object:
        """See weightdrop.ports.Records."""
        return self._records._scheduler.call(
            "get record", lambda: self._records.fresh(deployment_id)
        )


def run_schedule(seed: int, faults: Faults, *, tracing: bool = False) -> World:
    """Run one schedule; the same seed runs the same one.

    Raises:
        InvariantError: If something happened that must not.
    """
    world = World(seed, faults, tracing=tracing)
    world.run()
    return world
