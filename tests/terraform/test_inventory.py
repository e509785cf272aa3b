"""The plan on an empty project is the one that was reviewed.

An inventory holds every resource with what the configuration says of it, one a
line. After a wanted change, write them anew and read the difference:

    WEIGHTDROP_WRITE_INVENTORIES=1 make test
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from terraform.harness import resources

FOLDER = Path(__file__).parent / "inventories"


def known(value: Any) -> Any:
    """A value without what is null or empty in it."""
    if isinstance(value, dict):
        kept = {key: known(it) for key, it in value.items()}
        return {key: it for key, it in kept.items() if it not in (None, [], {})}
    if isinstance(value, list):
        return [known(it) for it in value]
    return value


def inventory(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Counts by kind, values by address, and outputs of a plan."""
    planned = plan["planned_values"]
    found = {at: dict(it) for at, it in resources(planned["root_module"])}
    for values in found.values():
        # Named by the digest of the functions' source: it changes with the code.
        if str(values.get("name", "")).startswith("functions/"):
            values["name"] = "functions/DIGEST.zip"
        for build in values.get("build_config", ()):
            build["source"][0]["storage_source"][0]["object"] = "functions/DIGEST.zip"
    kinds = Counter(
        next(part for part in address.split(".") if part.startswith("google_"))
        for address in found
    )
    return {
        "counts": dict(sorted(kinds.items())),
        "outputs": {
            name: one["value"]
            for name, one in sorted(planned["outputs"].items())
            if "value" in one
        },
        "values": {address: known(found[address]) for address in sorted(found)},
    }


def written(found: Mapping[str, Any]) -> str:
    """An inventory as text, one fact a line."""
    parts = []
    for part, facts in found.items():
        lines = [
            f"    {json.dumps(key)}: {json.dumps(value, sort_keys=True)}"
            for key, value in facts.items()
        ]
        parts.append(f"  {json.dumps(part)}: {{\n" + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


@pytest.mark.parametrize("name", ["minimal", "full"])
def test_the_plan_is_the_reviewed_one(
    plans: Mapping[str, dict[str, Any]], name: str
) -> None:
    """Nothing is made, left out or set differently without somebody seeing it."""
    found = inventory(json.loads(json.dumps(plans[name])))
    place = FOLDER / f"{name}.json"
    if os.environ.get("WEIGHTDROP_WRITE_INVENTORIES") == "1":
        place.write_text(written(found))
        pytest.fail(f"{place.name} was written: read the difference, then run again")
    wanted = json.loads(place.read_text())

    assert wanted["counts"] == found["counts"]
    assert sorted(wanted["values"]) == sorted(found["values"])
    for address, values in wanted["values"].items():
        assert values == found["values"][address], address
    assert wanted["outputs"] == found["outputs"]


def test_only_creation_is_planned_on_an_empty_project(
    plans: Mapping[str, dict[str, Any]],
) -> None:
    """One apply makes everything."""
    for plan in plans.values():
        actions = {
            tuple(one["change"]["actions"])
            for one in plan["resource_changes"]
            if one["mode"] == "managed"
        }
        assert actions == {("create",)}
