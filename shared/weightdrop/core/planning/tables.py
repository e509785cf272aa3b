"""Everything the planner looks up, as one value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from weightdrop.core.catalogue.defaults import PlannerDefaults, defaults_of
from weightdrop.core.catalogue.engine import EngineConstants, engine_of
from weightdrop.core.catalogue.machines import (
    Accelerator,
    Machine,
    PriceList,
    accelerator_of,
    machine_of,
    price_list_of,
)

TABLE_NAMES = (
    "machines",
    "accelerators",
    "regions",
    "prices",
    "engine",
    "defaults",
)

Documents = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Tables:
    """The planner's tables.

    Attributes:
        machines: By machine type.
        accelerators: By Vertex AI's enum name.
        regions: Accelerators offered for serving, by region.
        prices: What machines cost.
        engines: Constants by engine version.
        engine: The version that serves.
        defaults: What is assumed when the user leaves it open.
    """

    machines: Mapping[str, Machine]
    accelerators: Mapping[str, Accelerator]
    regions: Mapping[str, tuple[str, ...]]
    prices: PriceList
    engines: Mapping[str, EngineConstants]
    engine: EngineConstants
    defaults: PlannerDefaults


def tables_of(documents: Documents) -> Tables:
    """Typed tables from the documents named in `TABLE_NAMES`.

    Raises:
        KeyError, TypeError, ValueError: A document lacks a field or holds a
            value of the wrong type.
    """
    machines = [machine_of(row) for row in documents["machines"]["machines"]]
    gpus = [accelerator_of(row) for row in documents["accelerators"]["accelerators"]]
    engines = [engine_of(row) for row in documents["engine"]["engines"]]
    by_version = {engine.version: engine for engine in engines}
    return Tables(
        machines={machine.machine_type: machine for machine in machines},
        accelerators={gpu.type: gpu for gpu in gpus},
        regions={
            str(region): tuple(str(name) for name in names)
            for region, names in documents["regions"]["regions"].items()
        },
        prices=price_list_of(documents["prices"]),
        engines=by_version,
        engine=by_version[documents["engine"]["default"]],
        defaults=defaults_of(documents["defaults"]),
    )


@cache
def packaged_documents() -> Documents:
    """The documents shipped with the package."""
    folder = files("weightdrop.core.catalogue")
    return {
        name: json.loads(folder.joinpath(f"{name}.json").read_text("utf-8"))
        for name in TABLE_NAMES
    }


@cache
def packaged_tables() -> Tables:
    """The tables shipped with the package."""
    return tables_of(packaged_documents())


def merged_documents(
    documents: Documents, name: str, override: Mapping[str, Any]
) -> Documents:
    """`documents` with one of them overlaid.

    Rows of a list replace the row of the same name and are added otherwise;
    mappings are merged key by key; everything else is replaced.

    Args:
        documents: The documents to start from.
        name: Which of `TABLE_NAMES` is overlaid.
        override: What is laid over it.

    Raises:
        KeyError, TypeError, AttributeError: A row of `override` has no name or
            is no mapping.
    """
    return {**documents, name: _merged(documents[name], override)}


_ROW_NAMES = ("machine_type", "type", "version")


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        known = result.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            result[key] = _merged(known, value)
        elif isinstance(known, list) and known and isinstance(known[0], Mapping):
            result[key] = _merged_rows(known, value)
        else:
            result[key] = value
    return result


def _merged_rows(
    base: list[Mapping[str, Any]], over: list[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    field = next(name for name in _ROW_NAMES if name in base[0])
    rows = {row[field]: row for row in base}
    for row in over:
        rows[row[field]] = {**rows.get(row[field], {}), **row}
    return list(rows.values())
