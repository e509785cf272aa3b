"""What a code of a finding is, and the table of all codes."""

from __future__ import annotations

from dataclasses import dataclass

from weightdrop.core.artifacts.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding.

    Attributes:
        name: Stable identifier.
        severity: How much every finding of this kind matters.
        meaning: What it is about, for the page of all codes.
        fix: What to do, unless the finding itself knows better.
    """

    name: str
    severity: Severity
    meaning: str
    fix: str

    def found(
        self, detail: str, *, file: str = "", offset: int | None = None, fix: str = ""
    ) -> Finding:
        """A finding of this kind."""
        return Finding(
            code=self.name,
            severity=self.severity,
            detail=detail,
            fix=fix or self.fix,
            file=file,
            offset=offset,
        )


ALL_CODES: dict[str, Code] = {}


def code(name: str, severity: Severity, meaning: str, fix: str) -> Code:
    """Make a code and enter it into the table."""
    made = Code(name=name, severity=severity, meaning=meaning, fix=fix)
    ALL_CODES[name] = made
    return made


def error(name: str, meaning: str, fix: str) -> Code:
    """A code that rejects."""
    return code(name, Severity.ERROR, meaning, fix)


def missing(name: str, meaning: str, fix: str) -> Code:
    """A code that waits."""
    return code(name, Severity.MISSING, meaning, fix)


def warning(name: str, meaning: str, fix: str) -> Code:
    """A code the user should know of."""
    return code(name, Severity.WARNING, meaning, fix)


def notice(name: str, meaning: str, fix: str) -> Code:
    """A code that says what was chosen or ignored."""
    return code(name, Severity.NOTICE, meaning, fix)
