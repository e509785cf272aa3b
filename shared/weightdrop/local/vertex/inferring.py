"""Find out what a folder holds and on what it runs: a process of its own.

The stand-in starts `python -m weightdrop.local.vertex.inferring` for `:deploy`
and `:recommendSpec`, so that Google's storage client, the inspection's threads
and its memory never enter the stand-in itself.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from weightdrop.bootstrap import App
from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.artifacts.policy import Policy
from weightdrop.core.planning.choose import plan
from weightdrop.core.planning.plan import NoPlan, PlanRequest
from weightdrop.core.planning.tables import packaged_tables
from weightdrop.errors import WeightdropError
from weightdrop.local.vertex.managed import Folder
from weightdrop.services.inspection import inspect_artifacts
from weightdrop.services.listing import list_drop
from weightdrop.services.planning import request_for
from weightdrop.settings import Settings

JSON = dict[str, Any]


def infer(folder: Folder, *, settings: Settings, wishes: PlanRequest) -> JSON:
    """What a folder holds, and the machine and arguments that serve it.

    Args:
        folder: Where the weights are.
        settings: Where buckets are.
        wishes: Region, and the machine if one was chosen.

    Returns:
        `baseModel`, `problems` (sentences; none if it can be deployed),
        `machineSpec` and `args`.
    """
    artifacts = App(settings).artifacts
    report = inspect_artifacts(
        artifacts, list_drop(artifacts, folder.bucket, folder.prefix), policy=Policy()
    )
    serious = [f for f in report.findings if f.severity in _SERIOUS]
    if serious or report.model is None:
        return {"baseModel": "", "problems": [_words(finding) for finding in serious]}
    request = replace(
        request_for(report.options, region=wishes.region), region=wishes.region
    )
    if wishes.machine_type:
        request = replace(
            request,
            machine_type=wishes.machine_type,
            accelerator_type=wishes.accelerator_type,
            accelerator_count=wishes.accelerator_count,
        )
    found = plan(report.model, request, packaged_tables())
    answer: JSON = {"baseModel": report.model.base_model, "problems": []}
    if isinstance(found, NoPlan):
        return {**answer, "problems": [_words(item) for item in found.findings]}
    return {
        **answer,
        "machineSpec": {
            "machineType": found.machine_type,
            "acceleratorType": found.accelerator_type,
            "acceleratorCount": found.accelerator_count,
        },
        "args": list(found.vllm_args),
    }


_SERIOUS = (Severity.ERROR, Severity.MISSING)


def _words(finding: Finding) -> str:
    where = f"{finding.file}: " if finding.file else ""
    return f"{where}{finding.detail} {finding.fix}"


@click.command()
@click.option("--bucket", required=True)
@click.option("--prefix", default="")
@click.option("--region", required=True)
@click.option("--project", required=True)
@click.option("--storage-endpoint", default="")
@click.option("--machine", default="{}", help="JSON of a MachineSpec.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(
    *,
    bucket: str,
    prefix: str,
    region: str,
    project: str,
    storage_endpoint: str,
    machine: str,
    output: Path,
) -> None:
    """Write what a folder holds to a file, as JSON."""
    spec = json.loads(machine)
    wishes = PlanRequest(
        region=region,
        machine_type=spec.get("machineType", ""),
        accelerator_type=spec.get("acceleratorType", ""),
        accelerator_count=int(spec.get("acceleratorCount", 0)),
    )
    settings = Settings(project=project, storage_endpoint=storage_endpoint)
    try:
        found = infer(Folder(bucket, prefix), settings=settings, wishes=wishes)
    except WeightdropError as error:
        found = {"baseModel": "", "problems": [str(error)]}
    output.write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
