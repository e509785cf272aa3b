"""Findings as data, and the verdict decided from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """The artifact set cannot be served; the verdict is `rejected`."""
    MISSING = "missing"
    """Something may still arrive; the verdict is `incomplete`."""
    WARNING = "warning"
    """It will be served, but the user should know."""
    NOTICE = "notice"
    """A choice that was made, or a file that is ignored."""


class Verdict(StrEnum):
    """What the findings amount to."""

    ACCEPTED = "accepted"
    INCOMPLETE = "incomplete"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about an artifact set.

    Attributes:
        code: Stable identifier in lower-case words joined by hyphens.
        severity: How much it matters.
        detail: What was found, in plain words.
        fix: What to do about it.
        file: Path inside the drop, or empty when the whole set is meant.
        offset: Byte offset inside `file`, where there is one.
    """

    code: str
    severity: Severity
    detail: str
    fix: str
    file: str = ""
    offset: int | None = None


def verdict_of(findings: tuple[Finding, ...]) -> Verdict:
    """The verdict: an error rejects, a missing file waits, else accepted."""
    severities = {finding.severity for finding in findings}
    if Severity.ERROR in severities:
        return Verdict.REJECTED
    if Severity.MISSING in severities:
        return Verdict.INCOMPLETE
    return Verdict.ACCEPTED
