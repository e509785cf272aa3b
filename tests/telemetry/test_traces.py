"""From drop to ready across the functions: one trace, whoever took the steps."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import functions_framework
import pytest
from sim.scheduler import NO_FAULTS, Faults
from sim.world import run_schedule

from drops.models import TINY_LLAMA, model_files
from drops.stores import MemoryArtifacts
from fakes.bus import MemoryBus
from fakes.clock import FakeClock
from fakes.platform import MemoryPlatform
from fakes.records import MemoryRecords
from telemetry.traces import PHASES, MemorySink, collected, problems, seen
from weightdrop import codec
from weightdrop.bootstrap import App
from weightdrop.core.deployment import tracing
from weightdrop.core.deployment.events import EVENTS_TOPIC, REQUESTS_TOPIC
from weightdrop.core.deployment.naming import deployment_id
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment
from weightdrop.services import spans
from weightdrop.settings import Backend, Settings
from weightdrop_functions import handlers

MAIN = Path(__file__).resolve().parents[2] / "functions" / "main.py"
TOPIC = f"//pubsub.googleapis.com/projects/p/topics/{REQUESTS_TOPIC}"
ID = deployment_id("models", "tiny")


class Functions:
    """The functions as functions-framework serves them, over ports in memory."""

    def __init__(self) -> None:
        settings = Settings(backend=Backend.LOCAL, buckets=("models",))
        self.app = App(settings)
        self.platform, self.bus, self.clock = MemoryPlatform(), MemoryBus(), FakeClock()
        self.app.records, self.app.bus = MemoryRecords(strict=True), self.bus
        self.app.platform, self.app.clock = self.platform, self.clock
        self.app.artifacts = MemoryArtifacts(
            {f"tiny/{name}": data for name, data in model_files(TINY_LLAMA).items()}
        )

    def post(self, target: str, attributes: dict[str, str], data: object) -> None:
        """Call one function as Eventarc or the scheduler does."""
        made = functions_framework.create_app(target, str(MAIN)).test_client()
        headers = {f"ce-{key}": value for key, value in attributes.items()}
        answer = made.post(
            "/",
            data=json.dumps(data),
            headers=headers | {"content-type": "application/json"},
        )
        assert answer.status_code in {200, 204}

    def drop(self) -> None:
        """config.json is there: the folder is looked at."""
        name = "tiny/config.json"
        stored = self.app.artifacts.stat("models", name)
        self.post(
            "on_artifact",
            {
                "specversion": "1.0",
                "id": "1",
                "type": "google.cloud.storage.object.v1.finalized",
                "source": "//storage.googleapis.com/projects/_/buckets/models",
            },
            {"bucket": "models", "name": name, "size": str(stored.size)},
        )

    def deliver(self) -> dict[str, str]:
        """The newest deploy request, as Pub/Sub brings it; returns its attributes."""
        message = self.bus.on(REQUESTS_TOPIC)[-1]
        attributes = codec.attributes(message)
        self.post(
            "on_request",
            {
                "specversion": "1.0",
                "id": "2",
                "type": "google.cloud.pubsub.topic.v1.messagePublished",
                "source": TOPIC,
            },
            {
                "message": {
                    "data": base64.b64encode(message.data.encode()).decode(),
                    "attributes": attributes,
                    "messageId": "2",
                }
            },
        )
        return attributes

    def tick_until(self, phase: Phase) -> Deployment:
        """Let the platform finish and the ticks see it."""
        for _ in range(20):
            self.platform.settle()
            self.clock.advance(60)
            self.post("on_tick", {}, {})
            held = self.app.records.get(ID)
            assert held is not None
            if held.deployment.phase is phase:
                return held.deployment
        raise AssertionError(f"it is {held.deployment.phase}")


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Functions:
    """The functions, called one after another."""
    made = Functions()
    monkeypatch.setattr(handlers, "app", lambda: made.app)
    return made


@pytest.fixture
def sink() -> Iterator[MemorySink]:
    """What the functions tell."""
    with collected() as kept:
        yield kept


def to_ready(functions: Functions) -> Deployment:
    """A drop, its request and as many ticks as it takes."""
    functions.drop()
    functions.deliver()
    return functions.tick_until(Phase.READY)


def test_from_drop_to_ready_is_one_trace(
    functions: Functions, sink: MemorySink
) -> None:
    """Phases in their order without a gap, inside the drop; calls inside it, too."""
    deployment = to_ready(functions)
    told = seen(sink.spans)

    assert problems(told) == []
    assert {"on_artifact", "on_request", "on_tick"} <= {span.name for span in told}
    assert {"Inspect", "Plan", "Upload", "Deploy", "Verify"} <= {it.name for it in told}
    assert deployment.latest is not None
    assert told[0].trace == tracing.trace_id(deployment, deployment.latest)


def test_a_context_that_is_dropped_is_found(
    functions: Functions, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trace that is begun anew at each look is many traces, and the check says so."""
    monkeypatch.setattr(tracing, "trace_id", lambda *_: secrets.token_hex(16))
    to_ready(functions)

    assert "traces" in problems(seen(sink.spans))[0]


@pytest.mark.parametrize("lost", [*PHASES, "drop"])
def test_a_span_that_is_missing_is_found(
    functions: Functions, sink: MemorySink, lost: str
) -> None:
    """The check sees each phase, and the drop itself."""
    to_ready(functions)

    assert problems([it for it in seen(sink.spans) if it.name != lost])


def test_the_context_goes_with_requests_and_events(
    functions: Functions, sink: MemorySink
) -> None:
    """As CloudEvents' extension names it, and the same in all of them."""
    functions.drop()
    request = functions.deliver()
    functions.tick_until(Phase.READY)
    events = [codec.attributes(it) for it in functions.bus.on(EVENTS_TOPIC)]
    (root,) = (it for it in sink.spans if it.name == "drop")

    assert {it["ce-traceparent"] for it in events} == {f"00-{root.trace}-{root.id}-01"}
    assert request["traceparent"] == events[0]["ce-traceparent"]


def test_nobody_is_told_of_a_trace_that_nobody_keeps(functions: Functions) -> None:
    """Without a sink no message names a trace that does not exist."""
    to_ready(functions)

    published = functions.bus.published
    assert len(published) > 5
    assert not any("traceparent" in str(codec.attributes(it)) for it in published)


def test_a_retry_is_a_trace_of_its_own_linked_to_the_first(
    functions: Functions, sink: MemorySink
) -> None:
    """Days may lie between them."""
    to_ready(functions)
    functions.app.commands.undeploy(ID)
    functions.tick_until(Phase.RETIRED)
    first = len(sink.spans)
    functions.app.commands.retry(ID)
    functions.deliver()
    functions.tick_until(Phase.READY)
    (root,) = (it for it in sink.spans[first:] if it.name == "drop")
    (old,) = (it for it in sink.spans[:first] if it.name == "drop")

    assert root.trace != old.trace
    assert root.links == (f"00-{old.trace}-{old.id}-01",)
    again = [it for it in seen(sink.spans[first:]) if it.trace == root.trace]
    assert [it.name for it in again if it.name in PHASES] == list(PHASES[1:])
    accepted = next(it for it in again if it.name == "accepted")
    assert accepted.start == root.start


def test_durations_are_told_by_phase(functions: Functions, sink: MemorySink) -> None:
    """One value for each phase that was left, one for the whole."""
    to_ready(functions)
    phases = [it[2]["phase"] for it in sink.durations if it[0] == spans.PHASE_DURATION]
    ((_, whole, labels),) = (
        it for it in sink.durations if it[0] == spans.DROP_DURATION
    )
    parts = sum(it[1] for it in sink.durations if it[0] == spans.PHASE_DURATION)

    assert phases == list(PHASES)
    assert labels == {"phase": "ready", "reason": ""}
    assert whole == pytest.approx(parts)


def test_each_call_sends_what_it_told(functions: Functions, sink: MemorySink) -> None:
    """A function may stand still once it has answered."""
    functions.drop()

    assert sink.flushes == 1


@pytest.mark.parametrize("caller", ["", "junk", "00-x-y-01", None])
def test_what_calls_itself_a_trace_is_not_trusted(
    functions: Functions, sink: MemorySink, caller: Any
) -> None:
    """A header that is none changes nothing, and harms nothing."""
    message = {"deployment": ID, "digest": "d"}
    data = base64.b64encode(json.dumps(message).encode()).decode()
    body = {"message": {"data": data, "attributes": {"traceparent": caller}}}
    functions.post(
        "on_request",
        {
            "specversion": "1.0",
            "id": "3",
            "type": "google.cloud.pubsub.topic.v1.messagePublished",
            "source": TOPIC,
        },
        body,
    )

    assert sink.spans == []


def test_under_faults_no_phase_is_told_twice() -> None:
    """Whatever is killed, repeated or reordered: at most one span each, none stray."""
    for seed in range(60):
        with collected() as kept:
            world = run_schedule(seed, Faults())
        ids = [it.id for it in kept.spans if it.name in PHASES or it.name == "drop"]
        traces = {
            f"{trace}-{deployment.id}"
            for deployment in world.deployments()
            for revision in world.records.inner.revisions(deployment.id)
            for trace in _attempts(deployment, revision)
        }

        assert len(set(ids)) == len(ids), seed
        told = {f"{it.trace}-{it.facts['weightdrop.deployment']}" for it in kept.spans}
        assert told <= traces, seed


def test_in_a_calm_world_every_drop_that_is_ready_has_its_trace() -> None:
    """Nothing is lost where nothing goes wrong."""
    found = 0
    for seed in range(30):
        with collected() as kept:
            world = run_schedule(seed, NO_FAULTS)
        for deployment in world.deployments():
            serving = deployment.serving
            if serving is None or serving.attempt > 1:
                continue
            trace = tracing.trace_id(deployment, serving)
            mine = [it for it in kept.spans if it.trace == trace]
            named = [it.name for it in mine if it.name in PHASES]
            assert named == list(PHASES), seed
            found += 1

    assert found > 10


def _attempts(deployment: Deployment, revision: Any) -> Iterator[str]:
    for attempt in range(1, revision.attempt + 1):
        yield tracing.trace_id(deployment, replace(revision, attempt=attempt))


def test_a_drop_begins_before_it_is_looked_at(
    functions: Functions, sink: MemorySink
) -> None:
    """What checking and planning took is what it waited, and no span runs backwards."""
    inspect = functions.app.admission.inspect

    def slow(*given: Any) -> Any:
        functions.clock.advance(7)
        return inspect(*given)

    object.__setattr__(functions.app.admission, "inspect", slow)
    to_ready(functions)
    waiting = next(it for it in sink.spans if it.name == "waiting")

    assert (waiting.end - waiting.start).total_seconds() == 7
    assert all(it.start <= it.end for it in sink.spans)
