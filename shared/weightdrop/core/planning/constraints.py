"""What a request must satisfy before any arithmetic."""

from __future__ import annotations

from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.artifacts.model import ModelFacts
from weightdrop.core.planning.arguments import user_arguments
from weightdrop.core.planning.plan import PlanRequest
from weightdrop.core.planning.tables import Tables


def _error(code: str, *, detail: str, fix: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, detail=detail, fix=fix)


def request_findings(
    model: ModelFacts, request: PlanRequest, tables: Tables
) -> tuple[Finding, ...]:
    """All that is wrong with the request, whatever the arithmetic says."""
    return (
        *_region(request, tables),
        *_machine(request, tables),
        *_replicas(request),
        *_numbers(model, request),
    )


def _region(request: PlanRequest, tables: Tables) -> tuple[Finding, ...]:
    if request.region in tables.regions:
        return ()
    known = ", ".join(sorted(tables.regions))
    return (
        _error(
            "plan-region",
            detail=f"Nothing is known to serve models in region {request.region!r}.",
            fix=f"Choose one of {known}, or add the region to the tables.",
        ),
    )


def _machine(request: PlanRequest, tables: Tables) -> tuple[Finding, ...]:
    given = (
        bool(request.machine_type),
        bool(request.accelerator_type),
        bool(request.accelerator_count),
    )
    if not any(given):
        return ()
    if not all(given):
        return (
            _error(
                "plan-machine-incomplete",
                detail="Machine type, accelerator type and accelerator count belong "
                "together; only some of them are given.",
                fix="Give all three, or none and let the planner choose.",
            ),
        )
    machine = tables.machines.get(request.machine_type)
    if machine is None:
        known = ", ".join(sorted(tables.machines))
        return (
            _error(
                "plan-machine-unknown",
                detail=f"No machine type {request.machine_type!r} with a GPU is known.",
                fix=f"Choose one of {known}, or add the machine to the tables.",
            ),
        )
    pairing = (machine.accelerator_type, machine.accelerator_count)
    if pairing != (request.accelerator_type, request.accelerator_count):
        return (
            _error(
                "plan-machine-pairing",
                detail=f"{machine.machine_type} comes with {pairing[1]} {pairing[0]}, "
                f"not with {request.accelerator_count} {request.accelerator_type}.",
                fix=f"Ask for accelerator_type {pairing[0]} and accelerator_count "
                f"{pairing[1]}, or another machine.",
            ),
        )
    offered = tables.regions.get(request.region)
    if offered is not None and machine.accelerator_type not in offered:
        places = sorted(
            region
            for region, names in tables.regions.items()
            if machine.accelerator_type in names
        )
        return (
            _error(
                "plan-machine-region",
                detail=f"{machine.accelerator_type} does not serve in "
                f"{request.region}.",
                fix=f"It serves in {', '.join(places) or 'no known region'}.",
            ),
        )
    return ()


def _replicas(request: PlanRequest) -> tuple[Finding, ...]:
    findings: list[Finding] = []
    if request.min_replica_count < 0 or request.max_replica_count < 1:
        findings.append(
            _error(
                "plan-replicas",
                detail=f"{request.min_replica_count} to {request.max_replica_count} "
                "replicas cannot be kept.",
                fix="Keep 0 or more, and allow at least 1.",
            )
        )
    elif request.min_replica_count > request.max_replica_count:
        findings.append(
            _error(
                "plan-replicas",
                detail=f"min_replica_count {request.min_replica_count} is above "
                f"max_replica_count {request.max_replica_count}.",
                fix="Raise max_replica_count or lower min_replica_count.",
            )
        )
    if request.min_replica_count == 0 and not request.scale_to_zero:
        findings.append(
            _error(
                "plan-scale-to-zero",
                detail="min_replica_count 0 means scaling to zero, which is not asked "
                "for.",
                fix='Set "scale_to_zero": true, or keep at least one replica.',
            )
        )
    if request.scale_to_zero and request.min_replica_count > 1:
        findings.append(
            _error(
                "plan-scale-to-zero",
                detail=f"scale_to_zero contradicts min_replica_count "
                f"{request.min_replica_count}.",
                fix="Leave min_replica_count out or set it to 0.",
            )
        )
    return tuple(findings)


def _numbers(model: ModelFacts, request: PlanRequest) -> tuple[Finding, ...]:
    findings: list[Finding] = []
    arguments = user_arguments(request.vllm_args)
    length = request.max_model_len or arguments.max_model_len
    if length < 0 or request.max_num_seqs < 0:
        findings.append(
            _error(
                "plan-numbers",
                detail="A context length or a number of sequences is negative.",
                fix="Give positive numbers, or leave them out.",
            )
        )
    if length > model.max_position > 0:
        findings.append(
            _error(
                "plan-context-too-long",
                detail=f"max_model_len {length} is beyond the {model.max_position} "
                "positions of config.json, and the engine refuses it.",
                fix=f"Ask for at most {model.max_position}.",
            )
        )
    if not 0 <= request.gpu_memory_utilization <= 1:
        findings.append(
            _error(
                "plan-numbers",
                detail=f"gpu_memory_utilization {request.gpu_memory_utilization} is "
                "no share of a GPU.",
                fix="Give a number above 0 and at most 1.",
            )
        )
    findings.extend(
        _error(
            "plan-argument",
            detail=f"The engine argument {words!r} has no value that can be read.",
            fix="Correct it in vllm_args.",
        )
        for words in arguments.wrong
    )
    return tuple(findings)
