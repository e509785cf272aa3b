"""What is published is what the schemas in the repository say."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jsonschema
import pytest
from sim.scheduler import Faults
from sim.world import run_schedule

from fakes.builders import NOON, make_deployment, make_revision
from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.deployment.events import EVENT_TYPES, event
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import Message, ModelSummary


def schema(kind: str) -> dict[str, Any]:
    """The schema of one type."""
    text = resources.files("weightdrop").joinpath("schemas", f"{kind}.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


def check(message: Message) -> None:
    """Hold one message against the schema of its type."""
    jsonschema.validate(json.loads(message.data), schema(message.type))


def test_every_type_has_its_schema_and_no_schema_is_left_over() -> None:
    """A subscriber finds each type that can arrive, and nothing else."""
    folder = resources.files("weightdrop").joinpath("schemas")
    names = {
        entry.name for entry in folder.iterdir() if entry.name.startswith("weightdrop.")
    }

    assert names == {f"{kind}.json" for kind in EVENT_TYPES}


@pytest.mark.parametrize("phase", [one for one in Phase if one is not Phase.RETIRING])
def test_the_event_of_each_phase_is_valid(phase: Phase) -> None:
    """With everything a revision can carry."""
    revision = make_revision(
        phase=phase,
        reason=Reason.QUOTA,
        message="no quota",
        stage="STARTING_MODEL_SERVER",
        log_tail=("boom",),
        missing=("tokenizer.json",),
        findings=(Finding("code", Severity.WARNING, "detail", "fix", "file", 7),),
        model=ModelSummary("Llama", "LlamaForCausalLM", 1, "bfloat16", "", 2),
    )

    told = event(make_deployment(revisions=(revision,)), revision, NOON)

    assert told is not None
    check(told)


def test_a_schema_refuses_what_it_does_not_know() -> None:
    """A field that slips into an event is found here, not by a subscriber."""
    revision = make_revision(phase=Phase.SUPERSEDED)
    told = event(make_deployment(revisions=(revision,)), revision, NOON)

    assert told is not None
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(told.data) | {"surprise": 1}, schema(told.type))


def test_whatever_a_storm_publishes_is_valid() -> None:
    """Every event of many simulated schedules."""
    kinds = set()
    for seed in range(60):
        world = run_schedule(seed, Faults())
        for message in world.bus.inner.on("weightdrop-events"):
            check(message)
            kinds.add(message.type)

    assert len(kinds) >= len(EVENT_TYPES) - 1
