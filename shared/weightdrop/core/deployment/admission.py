"""What looking at a folder means for its record: pure decisions of admission."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from weightdrop.core.artifacts.objects import ArtifactFile, ArtifactSet
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.artifacts.report import Report
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import Deployment, ModelSummary, Revision
from weightdrop.core.deployment.transitions import (
    add,
    forget_recalls,
    move,
    reactivate,
    supersede,
    with_revision,
    withdraw_all,
)
from weightdrop.core.deployment.triggers import may_belong
from weightdrop.core.planning.plan import Plan

_WEIGHTS = (".safetensors", ".bin")


def relevant(artifacts: ArtifactSet) -> ArtifactSet:
    """The files of a drop that can matter to a server: what its digest is of."""
    files = tuple(file for file in artifacts.files if may_belong(file.path))
    return replace(artifacts, files=files)


def summary(report: Report) -> ModelSummary | None:
    """What the record keeps of the model."""
    model = report.model
    if model is None:
        return None
    return ModelSummary(
        base_model=model.base_model,
        architecture=model.architecture,
        parameters=model.parameters,
        dtype=model.dtype,
        quantization=model.quantization,
        weight_bytes=model.weight_bytes,
    )


def named(options: FolderOptions, deployment: Deployment) -> FolderOptions:
    """`options` with a model id: the deployment's own name where none was chosen."""
    if options.model_id:
        return options
    return replace(options, model_id=deployment.id.rpartition("-")[0])


def unchanged(deployment: Deployment, name: str, size: int, crc32c: str) -> bool:
    """Whether an object is exactly what the newest revision already holds."""
    latest = deployment.latest
    if latest is None or latest.phase is Phase.WAITING:
        return False
    path = name[len(deployment.prefix) + 1 :] if deployment.prefix else name
    return any(
        (file.path, file.size, file.crc32c) == (path, size, crc32c)
        for file in latest.files
    )


def waiting_revision(deployment: Deployment) -> Revision | None:
    """The newest revision, if it waits."""
    latest = deployment.latest
    return latest if latest and latest.phase is Phase.WAITING else None


def gaps(waiting: Revision | None, relevant: ArtifactSet) -> tuple[str, ...]:
    """Weight files named before that are still to come.

    Empty when the folder must be inspected anew: nothing is known to be
    missing but weights' shards, or a file that names them has changed.
    """
    if waiting is None or not waiting.missing:
        return ()
    if not all(path.endswith(_WEIGHTS) for path in waiting.missing):
        return ()
    if _small(waiting.files) != _small(relevant.files):
        return ()
    present = {file.path for file in relevant.files}
    return tuple(path for path in waiting.missing if path not in present)


def _small(files: tuple[ArtifactFile, ...]) -> set[tuple[str, int, str]]:
    return {
        (file.path, file.size, file.crc32c)
        for file in files
        if not file.path.endswith(_WEIGHTS)
    }


def known_again(
    deployment: Deployment, known: Revision, now: datetime, *, ordered: bool = False
) -> Deployment | None:
    """The bytes are those of an earlier revision: nothing new is started.

    Bytes of a superseded revision that were copied back bring it back; what
    was waiting in between is given up. An order also brings one back that
    failed or was retired before another took its place.
    """
    changed = deployment
    waiting = waiting_revision(deployment)
    if waiting:
        changed = supersede(changed, waiting, now)
    ended = {Phase.SUPERSEDED, Phase.FAILED, Phase.RETIRED}
    back = known.phase in (ended if ordered else {Phase.SUPERSEDED})
    free = not known.deployed and not known.operation
    if back and known.plan and free and known is not deployment.latest:
        changed = reactivate(changed, known, now)
    return changed if changed is not deployment else None


def placed(deployment: Deployment, revision: Revision) -> Deployment:
    """`deployment` with the revision in its place; nothing is told yet."""
    if any(old.number == revision.number for old in deployment.revisions):
        return with_revision(deployment, revision)
    return add(deployment, revision)


def reject(
    deployment: Deployment,
    revision: Revision,
    reason: Reason,
    now: datetime,
    **changes: Any,
) -> Deployment:
    """End a waiting revision; nothing was spent on it."""
    messages = {
        Reason.INVALID: "The folder cannot be served; see the findings.",
        Reason.INCOMPLETE: "Files that the folder names did not arrive in time.",
        Reason.NO_PLAN: "No machine serves this model as wanted; see the findings.",
    }
    return move(
        deployment,
        revision,
        Phase.REJECTED,
        now=now,
        reason=reason,
        message=messages[reason],
        recheck=None,
        **changes,
    )


def accept(
    deployment: Deployment, revision: Revision, plan: Plan, now: datetime
) -> Deployment:
    """Send a validated and planned revision on its way.

    It is newer than every order before it: one to bring something else back is
    forgotten, one to undeploy takes what was there by then and not this.
    """
    changed = withdraw_all(forget_recalls(deployment), now)
    for other in changed.revisions:
        if other.phase is Phase.ACCEPTED:
            changed = supersede(changed, other, now)
    return move(
        replace(changed, region=plan.region),
        revision,
        Phase.ACCEPTED,
        now=now,
        plan=plan,
        share=revision.options.traffic,
        recheck=None,
    )
