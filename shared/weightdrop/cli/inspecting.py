"""`check`: what would be found in a model folder, before it is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from weightdrop.bootstrap import App
from weightdrop.cli.completing import folders
from weightdrop.cli.context import (
    GS,
    Target,
    Where,
    find_target,
    json_option,
    parse_gs,
    target_options,
)
from weightdrop.cli.render import finding_lines, magnitude
from weightdrop.cli.terminal import clean, emit, err, out
from weightdrop.core.artifacts.findings import Verdict
from weightdrop.core.artifacts.report import Report
from weightdrop.core.deployment.admission import relevant
from weightdrop.core.deployment.views import finding_view
from weightdrop.errors import UsageError
from weightdrop.local.folder import FolderArtifacts
from weightdrop.ports import Artifacts
from weightdrop.services.listing import list_drop
from weightdrop.services.policy import policy_of


@dataclass(frozen=True, slots=True)
class Inspected:
    """A source and what its inspection concludes.

    Attributes:
        source: As it was given.
        digest: Of the artifact set; empty for a folder, which has no checksums.
        report: The conclusion.
    """

    source: str
    digest: str
    report: Report

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        from weightdrop.services.inspection import report_json  # noqa: PLC0415  # heavy

        facts = {"source": self.source, "digest": self.digest}
        return {**facts, **report_json(self.report)}


def inspect_source(source: str, target: Target) -> Inspected:
    """Inspect a folder, or a gs:// address, as the functions would.

    Raises:
        UsageError: If it cannot be read.
    """
    if source.startswith(GS):
        bucket, prefix = parse_gs(source)
        store: Artifacts = App(target.settings).artifacts
    else:
        folder = Path(source)
        if not folder.is_dir():
            raise UsageError(f"{source} is no folder and no gs://bucket/prefix.")
        bucket, prefix = str(folder.absolute()), ""
        store = FolderArtifacts()
    artifacts = list_drop(store, bucket, prefix)
    if not artifacts.files:
        raise UsageError(f"{source} holds no files.")
    with err().status(f"inspecting {clean(source)}"):
        # A person sees that it works before all that it works with is loaded.
        from weightdrop.services.inspection import inspect_artifacts  # noqa: PLC0415

        policy = policy_of(target.settings)
        report = inspect_artifacts(store, artifacts, policy=policy)
    dropped = relevant(artifacts)
    known = all(file.crc32c for file in dropped.files)
    digest = dropped.digest if known else ""
    return Inspected(source=source, digest=digest, report=report)


@click.command(short_help="Say whether a model folder can be served.")
@click.argument("source", shell_complete=folders)
@json_option
@target_options
def check(*, source: str, as_json: bool, where: Where) -> int:
    """Inspect SOURCE, a folder or gs://bucket/prefix, without reading its weights.

    Exit status 0 if it can be served, 1 if files are missing or it is rejected.
    """
    inspected = inspect_source(source, find_target(where))
    if as_json:
        emit(inspected.document())
    else:
        show_report(inspected.report)
    return int(inspected.report.verdict is not Verdict.ACCEPTED)


def show_report(report: Report) -> None:
    """Show a conclusion to a person."""
    console = out()
    if report.model:
        model = report.model
        console.print(
            f"{clean(model.base_model or model.architecture)}, "
            f"{magnitude(model.parameters)} parameters, {clean(model.dtype)}, "
            f"{magnitude(model.weight_bytes, 'B')}"
        )
    for line in finding_lines(finding_view(finding) for finding in report.findings):
        console.print(line)
    console.print(
        f"{report.verdict.value} ({report.reads.requests} reads, "
        f"{magnitude(report.reads.bytes, 'B')})"
    )
