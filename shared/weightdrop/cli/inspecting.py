"""`check` and `plan`: what would become of a model folder, before it is dropped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
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
from weightdrop.cli.render import finding_lines, magnitude, plan_line
from weightdrop.cli.terminal import clean, emit, err, out
from weightdrop.core.artifacts.findings import Verdict
from weightdrop.core.artifacts.report import Report
from weightdrop.core.deployment.admission import relevant
from weightdrop.core.deployment.views import finding_view, plan_view
from weightdrop.core.planning.choose import plan as choose
from weightdrop.core.planning.plan import NoPlan, Plan
from weightdrop.errors import UsageError
from weightdrop.local.folder import FolderArtifacts
from weightdrop.ports import Artifacts
from weightdrop.services.inspection import inspect_artifacts, report_json
from weightdrop.services.listing import list_drop
from weightdrop.services.planning import (
    load_tables,
    memory_bar_text,
    plan_json,
    request_for,
)
from weightdrop.services.policy import policy_of

_BAR_CELLS = 60
_SHOWN = 4
"""Machines not chosen that a person is told of."""


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
        _show_report(inspected.report)
    return int(inspected.report.verdict is not Verdict.ACCEPTED)


def _show_report(report: Report) -> None:
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


@click.command(short_help="Say which machine would serve it, and why.")
@click.argument("source", shell_complete=folders)
@click.option("--machine-type", help="With the next two: all three or none.")
@click.option("--accelerator-type", help="As Vertex AI writes it: NVIDIA_L4.")
@click.option("--accelerator-count", type=click.IntRange(1), help="GPUs a replica.")
@click.option("--max-model-len", type=click.IntRange(1), help="Context length wanted.")
@click.option("--max-num-seqs", type=click.IntRange(1), help="Sequences at a time.")
@click.option(
    "--gpu-memory-utilization",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of each GPU's memory.",
)
@click.option(
    "--tables",
    type=click.Path(path_type=Path),
    help="Folder of machines, prices and regions of your own.",
)
@json_option
@target_options
def plan(
    *,
    source: str,
    tables: Path | None,
    as_json: bool,
    where: Where,
    **wishes: Any,
) -> int:
    """Inspect SOURCE and plan the machine that it would be deployed on.

    What is wished for here goes before what the folder's weightdrop.json says.
    Exit status 1 if it is rejected, or no machine serves it as wanted.
    """
    target = find_target(where)
    inspected = inspect_source(source, target)
    report = inspected.report
    if report.verdict is not Verdict.ACCEPTED or report.model is None:
        if as_json:
            emit({**inspected.document(), "plan": None})
        else:
            _show_report(report)
        return 1
    wanted = request_for(report.options, region=target.settings.region)
    wishes["region"] = where.region or None
    wished = {name: value for name, value in wishes.items() if value is not None}
    planned = choose(report.model, replace(wanted, **wished), load_tables(tables))
    whole = replace(report, findings=(*report.findings, *planned.findings))
    if as_json:
        emit(_plan_document(planned, replace(inspected, report=whole)))
    else:
        _show_plan(planned)
    return int(isinstance(planned, NoPlan))


def _plan_document(planned: Plan | NoPlan, inspected: Inspected) -> dict[str, Any]:
    """The documented plan with its findings, or why there is none."""
    document = inspected.document()
    if isinstance(planned, Plan):
        chosen = {"region": planned.region, "findings": document["findings"]}
        return {**plan_json(planned), **chosen}
    alternatives = [asdict(other) for other in planned.alternatives]
    return {**document, "plan": None, "alternatives": alternatives}


def _show_plan(planned: Plan | NoPlan) -> None:
    console = out()
    for line in finding_lines(finding_view(finding) for finding in planned.findings):
        console.print(line)
    if isinstance(planned, Plan):
        console.print(plan_line(plan_view(planned)), style="bold")
        for sentence in planned.explanation:
            console.print(f"  {clean(sentence)}")
        console.print(memory_bar_text(planned.memory, _BAR_CELLS))
        console.print(f"  vllm {clean(' '.join(planned.vllm_args))}")
    for other in planned.alternatives[:_SHOWN]:
        console.print(
            f"  not {clean(other.machine_type)} with {other.accelerator_count} x "
            f"{clean(other.accelerator_type)}: {clean(other.reason)}",
            style="dim",
        )
    if more := len(planned.alternatives[_SHOWN:]):
        console.print(f"  and {more} more, see --json", style="dim")
