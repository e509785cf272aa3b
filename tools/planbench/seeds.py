"""A plan for every listed model, beside Model Garden's machine for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planbench.measured import facts_from, load_config
from weightdrop.core.artifacts.model import ModelFacts
from weightdrop.core.planning.choose import plan
from weightdrop.core.planning.plan import NoPlan, Plan, PlanRequest
from weightdrop.core.planning.tables import Tables

REGION = "us-central1"
_SAME_USD = 0.005


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """One row of the table.

    Attributes:
        name: The model, as it is listed.
        facts: The model as the planner sees it.
        outcome: What the planner says.
        garden: Machine type Model Garden uses; empty where none is known.
        garden_usd: Its hourly price.
        difference: Why the two differ.
    """

    name: str
    facts: ModelFacts
    outcome: Plan | NoPlan
    garden: str
    garden_usd: float | None
    difference: str


def seed_plans(listing: Path, configs: Path, tables: Tables) -> list[SeedPlan]:
    """The table's rows, in the order of the list."""
    rows = json.loads(listing.read_text("utf-8"))["models"]
    return [_row(row, configs, tables) for row in rows]


def _row(row: dict[str, Any], configs: Path, tables: Tables) -> SeedPlan:
    config = load_config(configs, row["model"])
    facts = facts_from(config, form=row["form"])
    outcome = plan(facts, PlanRequest(region=REGION), tables)
    garden = row.get("model_garden", {})
    name = garden.get("machine_type", "")
    price = tables.prices.find(region=REGION, machine_type=name) if name else None
    return SeedPlan(
        name=row["name"],
        facts=facts,
        outcome=outcome,
        garden=name,
        garden_usd=price.hourly_usd if price else None,
        difference=_difference(facts, outcome, garden, tables),
    )


def _difference(
    facts: ModelFacts, outcome: Plan | NoPlan, garden: dict[str, Any], tables: Tables
) -> str:
    if isinstance(outcome, NoPlan):
        return outcome.findings[0].detail
    if not garden:
        return "Model Garden publishes no machine for it."
    if garden["machine_type"] == outcome.machine_type:
        return _same(outcome, garden)
    machine = tables.machines[garden["machine_type"]]
    theirs = plan(
        facts,
        PlanRequest(
            region=REGION,
            machine_type=machine.machine_type,
            accelerator_type=machine.accelerator_type,
            accelerator_count=machine.accelerator_count,
            max_model_len=min(garden["max_model_len"], facts.max_position),
            gpu_memory_utilization=garden["gpu_memory_utilization"],
        ),
        tables,
    )
    if isinstance(theirs, NoPlan):
        reason = theirs.alternatives[0].reason if theirs.alternatives else ""
        return f"Theirs {reason or theirs.findings[0].detail}."
    defaults = tables.defaults
    length = min(defaults.max_model_len, facts.max_position)
    return _compared(
        outcome,
        theirs,
        machine_gpus=machine.accelerator_count,
        wanted=defaults.full_length_sequences * length,
    )


def _same(outcome: Plan, garden: dict[str, Any]) -> str:
    asked = garden["max_model_len"]
    if asked and asked != outcome.max_model_len:
        return f"The same machine; theirs serves {asked} tokens of context."
    return "The same machine."


def _compared(ours: Plan, theirs: Plan, *, machine_gpus: int, wanted: int) -> str:
    holds = (
        f"theirs holds {theirs.memory.kv_cache_tokens:,} tokens in the cache, "
        f"ours {ours.memory.kv_cache_tokens:,}"
    )
    if theirs.memory.kv_cache_tokens < wanted:
        holds += f", and {wanted:,} are wanted"
    same_gpu = ours.accelerator_type == theirs.accelerator_type
    if same_gpu and ours.accelerator_count == machine_gpus:
        lead = "The same GPU in a machine with fewer processors"
    elif same_gpu:
        lead = f"{_gpus(ours)} instead of {machine_gpus}, {_weights(ours)} GiB each"
    else:
        lead = f"{_gpus(ours)} instead of {_gpus(theirs)}, {_weights(ours)} GiB each"
    idle = machine_gpus - theirs.tensor_parallel_size
    tail = f"; {idle} of their GPUs would idle" if idle else ""
    return f"{lead}; {holds}{tail}."


def _weights(found: Plan) -> str:
    """Weights on one GPU."""
    return f"{found.memory.weights_gib:.1f}"


def _gpus(found: Plan) -> str:
    return f"{found.accelerator_count} {_short(found.accelerator_type)}"


def _short(name: str) -> str:
    return name.removeprefix("NVIDIA_").removeprefix("TESLA_").replace("_", " ")


def saving(row: SeedPlan) -> str:
    """The difference in price, signed; empty where one is not known."""
    if isinstance(row.outcome, NoPlan):
        return ""
    ours, theirs = row.outcome.hourly_usd, row.garden_usd
    if ours is None or theirs is None:
        return ""
    change = ours - theirs
    return "0" if abs(change) < _SAME_USD else f"{change:+.2f}"
