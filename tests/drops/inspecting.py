"""Inspect a table of files the way the services do."""

from __future__ import annotations

from collections.abc import Mapping

from drops.stores import File, MemoryArtifacts, pinned
from weightdrop.core.artifacts.findings import Severity
from weightdrop.core.artifacts.policy import Policy
from weightdrop.core.artifacts.report import Report
from weightdrop.services.inspection import inspect_artifacts


def inspected(files: Mapping[str, File], *, strict: bool = False) -> Report:
    """The report on a drop of these files."""
    store = MemoryArtifacts(files)
    return inspect_artifacts(store, pinned(store), policy=Policy(strict=strict))


def codes_of(report: Report, *severities: Severity) -> list[str]:
    """The codes of a report's findings, of some severities or of all, each once."""
    wanted = severities or tuple(Severity)
    return list(dict.fromkeys(f.code for f in report.findings if f.severity in wanted))


def errors_of(report: Report) -> list[str]:
    """The codes that reject."""
    return codes_of(report, Severity.ERROR)
