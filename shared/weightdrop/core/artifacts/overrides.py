"""Options that an order lays over those in the folder's `weightdrop.json`.

They are kept in the record, so that whatever is dropped there later is planned
with them too, and they are part of what identifies a revision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from weightdrop.core.artifacts import model_codes
from weightdrop.core.artifacts.objects import ArtifactSet
from weightdrop.core.artifacts.options_file import conflicts
from weightdrop.core.artifacts.report import Report

Override = bool | int | str | tuple[tuple[str, str], ...]
Overrides = tuple[tuple[str, Override], ...]
"""Names of options with their values, in order of the names."""


def overrides_of(given: Mapping[str, Any]) -> Overrides:
    """Options that were read (see `options_file.read_value`), as a value."""
    return tuple(sorted(given.items()))


def identity(artifacts: ArtifactSet, overrides: Overrides) -> str:
    """The digest of a revision: of its files, and of what was laid over them.

    Without overrides it is the digest of the files alone.
    """
    if not overrides:
        return artifacts.digest
    laid = json.dumps(overrides, separators=(",", ":"))
    return hashlib.sha256(f"{artifacts.digest}\0{laid}".encode()).hexdigest()


def laid_over(report: Report, overrides: Overrides) -> Report:
    """The report with `overrides` in place of the folder's own options.

    What contradicts itself only together is a finding. A minimum of replicas
    that is more than the folder's maximum raises that, as it does in the file.
    """
    if not overrides:
        return report
    given: dict[str, Any] = dict(overrides)
    options = replace(report.options, **given)
    if "max_replica_count" not in given:
        highest = max(options.max_replica_count, options.min_replica_count)
        options = replace(options, max_replica_count=highest)
    together = {
        "min_replica_count": options.min_replica_count,
        "max_replica_count": options.max_replica_count,
        "scale_to_zero": options.scale_to_zero,
    }
    found = tuple(
        model_codes.OPTIONS_CONFLICT.found(
            f"With what was ordered over weightdrop.json, {text}.",
            fix="Order what fits together, or correct weightdrop.json.",
        )
        for text in conflicts(together)
    )
    return replace(report, options=options, findings=(*found, *report.findings))
