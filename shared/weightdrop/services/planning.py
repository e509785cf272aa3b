"""Planning for callers: options in, tables from files, plans as JSON and text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.planning.plan import Memory, Plan, PlanRequest
from weightdrop.core.planning.tables import (
    TABLE_NAMES,
    Tables,
    merged_documents,
    packaged_documents,
    packaged_tables,
    tables_of,
)
from weightdrop.errors import UsageError

_GIB_DIGITS = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of the memory bar.

    Attributes:
        name: "weights", "activation", "non_torch", "cuda_graph" or "kv_cache".
        gib: Its size on one GPU.
        cells: Characters it takes in the bar.
        symbol: The character it is drawn with where there is no colour.
    """

    name: str
    gib: float
    cells: int
    symbol: str


def request_for(options: FolderOptions, *, region: str) -> PlanRequest:
    """The plan a folder's options ask for; `region` where they name none."""
    return PlanRequest(
        region=options.region or region,
        machine_type=options.machine_type,
        accelerator_type=options.accelerator_type,
        accelerator_count=options.accelerator_count,
        max_model_len=options.max_model_len,
        max_hourly_usd=options.max_hourly_usd,
        min_replica_count=options.min_replica_count,
        max_replica_count=options.max_replica_count,
        scale_to_zero=options.scale_to_zero,
        spot=options.spot,
        vllm_args=options.vllm_args,
    )


def load_tables(overrides: Path | None = None) -> Tables:
    """The planner's tables, with the user's files laid over the packaged ones.

    Args:
        overrides: A folder that holds any of machines.json, accelerators.json,
            regions.json, prices.json, engine.json and defaults.json in the
            form of the packaged ones. A row replaces the packaged row of the
            same name; everything else stays.

    Raises:
        UsageError: The folder or one of its files cannot be used.
    """
    if overrides is None:
        return packaged_tables()
    if not overrides.is_dir():
        raise UsageError(f"The folder of planning tables {overrides} does not exist.")
    documents = packaged_documents()
    for name in TABLE_NAMES:
        path = overrides / f"{name}.json"
        if not path.exists():
            continue
        try:
            document = json.loads(path.read_text("utf-8"))
            documents = merged_documents(documents, name, document)
            tables_of(documents)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"The planning table {path} cannot be used: {error!r}. Its form is "
                f"that of the packaged {name}.json."
            ) from error
    return tables_of(documents)


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as the documented JSON, GiB rounded to hundredths."""
    return {
        "machine_type": plan.machine_type,
        "accelerator_type": plan.accelerator_type,
        "accelerator_count": plan.accelerator_count,
        "tensor_parallel_size": plan.tensor_parallel_size,
        "max_model_len": plan.max_model_len,
        "hourly_usd": plan.hourly_usd,
        "vllm_args": list(plan.vllm_args),
        "memory": {
            name: round(value, _GIB_DIGITS) if isinstance(value, float) else value
            for name, value in asdict(plan.memory).items()
        },
        "alternatives": [asdict(alternative) for alternative in plan.alternatives],
        "explanation": list(plan.explanation),
    }


def memory_bar(memory: Memory, width: int) -> list[Segment]:
    """The budget of one GPU as `width` cells, every part at least one cell.

    Args:
        memory: The arithmetic of a plan.
        width: Characters of the whole bar, at least one for each part.
    """
    parts = [
        ("weights", memory.weights_gib, "█"),
        ("activation", memory.activation_gib, "▓"),
        ("non_torch", memory.non_torch_gib, "▒"),
        ("cuda_graph", memory.cuda_graph_gib, "░"),
        ("kv_cache", max(0.0, memory.kv_cache_gib), "·"),
    ]
    shown = [part for part in parts if part[1] > 0]
    total = sum(gib for _, gib, _ in shown)
    spare = max(0, width - len(shown))
    ends, covered = [0], 0.0
    for _, gib, _ in shown:
        covered += gib
        ends.append(round(spare * covered / total))
    return [
        Segment(name=name, gib=gib, cells=1 + ends[i + 1] - ends[i], symbol=symbol)
        for i, (name, gib, symbol) in enumerate(shown)
    ]


def memory_bar_text(memory: Memory, width: int) -> str:
    """The bar drawn with symbols, and a legend below it."""
    segments = memory_bar(memory, width)
    bar = "".join(segment.symbol * segment.cells for segment in segments)
    legend = "  ".join(
        f"{segment.symbol} {segment.name} {segment.gib:.2f}" for segment in segments
    )
    return f"[{bar}] {memory.budget_gib:.2f} GiB\n {legend}"
