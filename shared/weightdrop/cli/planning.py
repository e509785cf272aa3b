"""`plan`: which machine a model folder would get, before it is dropped."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from weightdrop.cli.completing import folders
from weightdrop.cli.context import Where, find_target, json_option, target_options
from weightdrop.cli.inspecting import Inspected, inspect_source, show_report
from weightdrop.cli.render import finding_lines, plan_line
from weightdrop.cli.terminal import clean, emit, out
from weightdrop.core.artifacts.findings import Verdict
from weightdrop.core.deployment.views import finding_view, plan_view
from weightdrop.core.planning.plan import NoPlan, Plan

_BAR_CELLS = 60
_SHOWN = 4
"""Machines not chosen that a person is told of."""


@click.command(short_help="Say which machine would serve it, and why.")
@click.argument("source", shell_complete=folders)
@click.option(
    "--machine-type", metavar="NAME", help="With the next two: all three or none."
)
@click.option(
    "--accelerator-type", metavar="NAME", help="As Vertex AI writes it: NVIDIA_L4."
)
@click.option(
    "--accelerator-count", type=click.IntRange(1), metavar="N", help="GPUs a replica."
)
@click.option(
    "--max-model-len",
    type=click.IntRange(1),
    metavar="N",
    help="Context length wanted.",
)
@click.option(
    "--max-num-seqs", type=click.IntRange(1), metavar="N", help="Sequences at a time."
)
@click.option(
    "--gpu-memory-utilization",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="N",
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
            show_report(report)
        return 1
    # Loaded after the inspection has shown a person that it works.
    from weightdrop.core.planning.choose import plan as choose  # noqa: PLC0415
    from weightdrop.services.planning import load_tables, request_for  # noqa: PLC0415

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
        from weightdrop.services.planning import plan_json  # noqa: PLC0415  # heavy

        return {**plan_json(planned), **chosen}
    alternatives = [asdict(other) for other in planned.alternatives]
    return {**document, "plan": None, "alternatives": alternatives}


def _show_plan(planned: Plan | NoPlan) -> None:
    from weightdrop.services.planning import memory_bar_text  # noqa: PLC0415  # heavy

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
