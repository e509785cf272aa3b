"""What an inspection of an artifact set concludes, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from weightdrop.core.artifacts.findings import Finding, Verdict, verdict_of
from weightdrop.core.artifacts.model import ModelFacts
from weightdrop.core.artifacts.options import FolderOptions


@dataclass(frozen=True, slots=True)
class Reads:
    """What the inspection cost."""

    requests: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of inspecting an artifact set.

    Attributes:
        findings: All of them, errors first.
        model: What is known of the model; None if too much is missing.
        options: The parsed `weightdrop.json`.
        served_files: Paths the server needs (weights, config, tokenizer).
        missing: Paths named by the set that have not arrived.
        reads: Requests and bytes spent.
        ignored: Paths that are there and nothing is done with.
    """

    findings: tuple[Finding, ...]
    model: ModelFacts | None
    options: FolderOptions
    served_files: tuple[str, ...]
    missing: tuple[str, ...]
    reads: Reads
    ignored: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Decided from the findings."""
        return verdict_of(self.findings)
