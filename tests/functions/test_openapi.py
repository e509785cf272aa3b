"""The OpenAPI document and the status function say the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import functions_framework
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)
from werkzeug.serving import make_server

from fakes.builders import NOON, make_deployment, make_message, make_revision
from fakes.bus import MemoryBus
from fakes.clock import FakeClock
from fakes.records import MemoryRecords
from functions.conftest import Store
from weightdrop import codec
from weightdrop.bootstrap import App
from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import ModelSummary
from weightdrop.core.planning.plan import Memory, Plan
from weightdrop.services.query import Query
from weightdrop.settings import Backend, Settings
from weightdrop_functions import handlers, http

MAIN = Path(__file__).resolve().parents[2] / "functions" / "main.py"
DOCUMENT = json.loads(http.openapi())
FINDING = Finding("X1", Severity.WARNING, "seen", "do", file="config.json", offset=7)
PLAN = Plan(
    region="us-central1",
    machine_type="g2-standard-12",
    accelerator_type="NVIDIA_L4",
    accelerator_count=1,
    tensor_parallel_size=1,
    max_model_len=8192,
    max_num_seqs=16,
    gpu_memory_utilization=0.9,
    hourly_usd=None,
    vllm_args=("--max-model-len", "8192"),
    memory=Memory(1.0, 1.0, 1.0, 1.0, 1.0, 1000, 20.0),
    alternatives=(),
    explanation=("It fits.",),
    findings=(FINDING,),
)
MODEL = ModelSummary("llama", "LlamaForCausalLM", 8, "bfloat16", "", 16)


def fill(app: App) -> None:
    """Put a deployment of every phase into the records, all it can hold in it."""
    for number, phase in enumerate(Phase):
        revision = make_revision(
            phase=phase,
            reason=Reason.QUOTA if phase in {Phase.FAILED, Phase.RETIRED} else "",
            findings=(FINDING,),
            missing=("a.safetensors",),
            log_tail=("line",),
            model=MODEL,
            plan=PLAN,
            model_name="projects/p/locations/l/models/m",
        )
        older = make_revision(2, phase=Phase.SUPERSEDED, model_name="m", plan=PLAN)
        name = f"{phase.value.replace('_', '-')}-{number:08d}"
        app.records.create(
            make_deployment(
                name,
                revisions=(older, replace(revision, number=3)),
                endpoint_id=f"wd-{name}",
                endpoint_name="projects/p/locations/l/endpoints/e",
                endpoint_url="https://e.example",
                updated=NOON + timedelta(seconds=number),
                due=NOON,
                setbacks=number % 3,
                setback="429: slower",
            ),
            events=(make_message(),),
        )


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    """The application over ports in memory, or over SQLite."""
    home = tmp_path_factory.mktemp("home")
    wired = App(Settings(backend=Backend.LOCAL, buckets=("models",), home=home))
    clock, store = FakeClock(), Store()
    store.names = ("llama/config.json",)
    wired.clock, wired.artifacts = clock, store
    if request.param == "memory":
        wired.records, wired.bus = MemoryRecords(strict=True), MemoryBus()
    wired.query = Query(
        wired.records, pause=clock.advance, seconds=lambda: clock.now().timestamp()
    )
    fill(wired)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handlers, "app", lambda: wired)
        yield wired
    for port in (wired.records, wired.bus):
        getattr(port, "close", lambda: None)()


@pytest.fixture(scope="module")
def site(app: App) -> Flask:
    """The status function as functions-framework serves it."""
    served: Flask = functions_framework.create_app("status", str(MAIN))
    return served


@pytest.fixture(scope="module")
def url(site: Flask) -> Iterator[str]:
    """Where the function answers HTTP."""
    server = make_server("127.0.0.1", 0, site, threaded=True)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


PROMISED = schemathesis.openapi.from_dict(DOCUMENT)
IDS = [f"{phase.replace('_', '-')}-{number:08d}" for number, phase in enumerate(Phase)]


@PROMISED.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Most questions are about a deployment that there is."""
    del context
    name = str((path_parameters or {}).get("id", ""))
    if len(name) % 4 == 0:
        return path_parameters
    return path_parameters | {"id": IDS[len(name) % len(IDS)]}


@PROMISED.hook
def map_query(context: Any, query: Any) -> Any:
    """A page token is one that was given out: no schema can say which are."""
    del context
    if not query or not query.get("pageToken"):
        return query
    phase = query.get("phase")
    known = Phase(phase) if phase in set(Phase) else None
    token = codec.page_token(make_deployment(IDS[7]), phase=known)
    return query | {"pageToken": token}


@PROMISED.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_the_function_keeps_what_the_document_promises(case: Any, url: str) -> None:
    """Good and bad questions of every kind get the answers it names."""
    # The hooks above mend what was made bad on purpose; and which folders can
    # be deployed is more than a schema can say.
    mended = "{id}" in case.path or case.path == "/deployments"
    excluded = [negative_data_rejection] if mended else []
    if case.path == "/deployments:deploy":
        excluded.append(positive_data_acceptance)

    case.call_and_validate(base_url=url, excluded_checks=excluded)


def test_every_route_is_described_and_nothing_else() -> None:
    """Whoever adds a route describes it."""
    described = {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
        if method in {"get", "post"}
    }
    answered = {
        (
            route.method,
            route.path.pattern.replace(http._ID, "{id}").replace("\\", ""),
        )
        for route in http.ROUTES
    }

    assert described == answered


@pytest.mark.parametrize(
    ("name", "values"), [("Phase", list(Phase)), ("Reason", list(Reason))]
)
def test_enumerations_are_those_of_the_code(name: str, values: list[str]) -> None:
    """A new phase or reason is described where programs look for it."""
    assert DOCUMENT["components"]["schemas"][name]["enum"] == [str(it) for it in values]


@pytest.mark.parametrize(
    ("name", "cls", "hidden"),
    [
        ("Plan", Plan, {"alternatives"}),
        ("Memory", Memory, set()),
        ("Model", ModelSummary, set()),
    ],
)
def test_values_have_the_fields_of_the_code(
    name: str, cls: type, hidden: set[str]
) -> None:
    """A field that is added to a plan is described too."""
    described = set(DOCUMENT["components"]["schemas"][name]["properties"])

    def camel(text: str) -> str:
        head, *tail = text.split("_")
        return head + "".join(word.capitalize() for word in tail)

    assert described == {camel(it.name) for it in fields(cls)} - hidden


def test_the_document_is_served_as_it_is(app: App, site: Flask) -> None:
    """One request tells a program all there is."""
    answer = site.test_client().get("/openapi.json")

    assert (answer.status_code, answer.get_json()) == (200, DOCUMENT)


@pytest.mark.parametrize("path", ["/deployments", "/deployments/ready-00000007"])
def test_head_answers_without_a_body(app: App, site: Flask, path: str) -> None:
    """A monitor may ask for the headers alone."""
    answer = site.test_client().head(path)

    assert (answer.status_code, answer.data) == (200, b"")


@pytest.mark.parametrize(
    "planted",
    [{"id": 7}, {"phase": "odd"}, {"extra": 1}, {"updated": "yesterday"}],
)
def test_a_promise_that_is_broken_is_found(
    monkeypatch: pytest.MonkeyPatch, url: str, planted: dict[str, object]
) -> None:
    """The check above sees the fault it is there for."""
    view = http.deployment_view
    monkeypatch.setattr(http, "deployment_view", lambda it: view(it) | planted)
    asked = PROMISED["/deployments/{id}"]["GET"].Case(path_parameters={"id": IDS[0]})

    with pytest.raises(BaseExceptionGroup, match="violates"):
        asked.call_and_validate(base_url=url)
