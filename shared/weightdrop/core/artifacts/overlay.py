"""What an inspection says once an order's options lie over the folder's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from weightdrop.core.artifacts import model_codes
from weightdrop.core.artifacts.inspect import with_findings
from weightdrop.core.artifacts.options_file import conflicts
from weightdrop.core.artifacts.overrides import Overrides
from weightdrop.core.artifacts.report import Report


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
    found = [
        model_codes.OPTIONS_CONFLICT.found(
            f"With what was ordered over weightdrop.json, {text}.",
            fix="Order what fits together, or correct weightdrop.json.",
        )
        for text in conflicts(together)
    ]
    return with_findings(replace(report, options=options), found)
