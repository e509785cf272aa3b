"""The cheapest machine of a region on which a model serves."""

from __future__ import annotations

from dataclasses import replace

from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.artifacts.model import ModelFacts
from weightdrop.core.catalogue.machines import Machine, Price
from weightdrop.core.planning.arguments import engine_arguments, with_parsers
from weightdrop.core.planning.constraints import request_findings
from weightdrop.core.planning.explain import (
    explanation,
    no_fit_finding,
    too_dear_finding,
)
from weightdrop.core.planning.fit import Fit, Refusal, Subject, fit_on
from weightdrop.core.planning.plan import Alternative, NoPlan, Plan, PlanRequest
from weightdrop.core.planning.tables import Tables
from weightdrop.core.planning.wants import Wants, wants_of
from weightdrop.core.planning.weights import weight_table


def plan(model: ModelFacts, request: PlanRequest, tables: Tables) -> Plan | NoPlan:
    """Choose the cheapest machine that serves `model` as wanted.

    Args:
        model: What validation learned of the model.
        request: What is wanted.
        tables: Machines, prices and the engine's constants.

    Returns:
        The plan, or why there is none.
    """
    findings = request_findings(model, request, tables)
    if findings:
        return NoPlan(findings=findings)
    wants = wants_of(model, request, tables)
    machines = _machines(request, tables)
    if not machines:
        return NoPlan(findings=(_nothing_offered(request, tables),))
    served = _served(model, wants)
    subject = Subject(model=served, table=weight_table(served, tables.engine))
    fits, refusals = _outcomes(subject, machines, wants, request.region, tables)
    if not fits:
        finding = no_fit_finding(
            subject, refusals, wants=wants, request=request, tables=tables
        )
        for shorter in _shorter(wants, tables):
            fits, refusals = _outcomes(
                subject, machines, shorter, request.region, tables
            )
            if fits:
                wants = shorter
                break
        else:
            return NoPlan(findings=(finding,), alternatives=_refused(refusals))
    affordable = [fit for fit in fits if _within(fit.price, request)]
    if not affordable:
        return NoPlan(
            findings=(too_dear_finding(fits[0], request),),
            alternatives=_others(fits, refusals, None),
        )
    return _plan(
        affordable[0],
        fits=fits,
        refusals=refusals,
        request=request,
        wants=wants,
        subject=subject,
        tables=tables,
    )


def _outcomes(
    subject: Subject,
    machines: list[Machine],
    wants: Wants,
    region: str,
    tables: Tables,
) -> tuple[list[Fit], list[Refusal]]:
    """Where the model fits and where not, cheapest first."""
    outcomes = [
        fit_on(subject, machine, wants=wants, tables=tables, region=region)
        for machine in machines
    ]
    fits = [outcome for outcome in outcomes if isinstance(outcome, Fit)]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    return sorted(fits, key=_order), sorted(refusals, key=_order)


def _shorter(wants: Wants, tables: Tables) -> list[Wants]:
    """The same wants with less context, where the planner may choose it."""
    if not wants.chosen:
        return []
    lengths = sorted(tables.defaults.lengths, reverse=True)
    return [
        replace(wants, length=length) for length in lengths if length < wants.length
    ]


def _served(model: ModelFacts, wants: Wants) -> ModelFacts:
    """The model as the engine's arguments make of it."""
    tower = model.multimodal and not wants.arguments.language_only
    return replace(model, dtype=wants.dtype, multimodal=tower)


def _machines(request: PlanRequest, tables: Tables) -> list[Machine]:
    """The machine asked for, or all that the region offers."""
    if request.machine_type:
        return [tables.machines[request.machine_type]]
    offered = tables.regions[request.region]
    replicas = max(1, request.min_replica_count)
    return [
        machine
        for machine in tables.machines.values()
        if machine.accelerator_type in offered and machine.min_replicas <= replicas
    ]


def _order(outcome: Fit | Refusal) -> tuple[bool, float, int, int, str]:
    """Cheapest first; what has no price last; then the smaller machine."""
    price = outcome.price
    machine = outcome.machine
    return (
        price is None,
        price.hourly_usd if price else 0.0,
        machine.accelerator_count,
        machine.vcpus,
        machine.machine_type,
    )


def _within(price: Price | None, request: PlanRequest) -> bool:
    """Whether all replicas together cost no more than is allowed."""
    if not request.max_hourly_usd:
        return True
    if price is None:
        return False
    return price.hourly_usd * request.max_replica_count <= request.max_hourly_usd


def _nothing_offered(request: PlanRequest, tables: Tables) -> Finding:
    """The region has no machine the engine runs on."""
    offered = ", ".join(tables.regions[request.region])
    usable = {machine.accelerator_type for machine in tables.machines.values()}
    places = sorted(
        region for region, names in tables.regions.items() if usable.intersection(names)
    )
    return Finding(
        code="plan-region-without-machine",
        severity=Severity.ERROR,
        detail=f"{request.region} serves with {offered} only, and the engine runs on "
        "none of them in bfloat16.",
        fix=f"Choose another region: {', '.join(places)}.",
    )


def _plan(
    chosen: Fit,
    *,
    fits: list[Fit],
    refusals: list[Refusal],
    request: PlanRequest,
    wants: Wants,
    subject: Subject,
    tables: Tables,
) -> Plan:
    """The plan for the chosen machine."""
    machine, setup, price = chosen.machine, chosen.setup, chosen.price
    return Plan(
        region=request.region,
        machine_type=machine.machine_type,
        accelerator_type=machine.accelerator_type,
        accelerator_count=machine.accelerator_count,
        tensor_parallel_size=setup.tensor_parallel,
        max_model_len=chosen.length,
        max_num_seqs=setup.max_num_seqs,
        gpu_memory_utilization=chosen.utilization,
        hourly_usd=price.hourly_usd if price else None,
        vllm_args=engine_arguments(
            dtype=wants.dtype,
            max_model_len=chosen.length,
            tensor_parallel_size=setup.tensor_parallel,
            gpu_memory_utilization=chosen.utilization,
            max_num_seqs=setup.max_num_seqs,
            max_num_batched_tokens=setup.max_num_batched_tokens,
            rest=with_parsers(
                wants.arguments.rest,
                tool=subject.model.tool_parser,
                reasoning=subject.model.reasoning_parser,
            ),
        ),
        memory=chosen.memory,
        alternatives=_others(fits, refusals, chosen),
        explanation=explanation(
            chosen,
            cheaper=[
                refusal for refusal in refusals if _order(refusal) < _order(chosen)
            ],
            fits=fits,
            request=request,
            wants=wants,
            subject=subject,
            tables=tables,
        ),
    )


def _others(
    fits: list[Fit], refusals: list[Refusal], chosen: Fit | None
) -> tuple[Alternative, ...]:
    """Every machine that was not chosen, cheapest first, and why."""
    rows = [
        (_order(fit), _alternative(fit, _why_not(fit, chosen)))
        for fit in fits
        if fit is not chosen
    ]
    rows += [(_order(entry), _alternative(entry, entry.reason)) for entry in refusals]
    return tuple(row for _, row in sorted(rows, key=lambda pair: pair[0]))


def _refused(refusals: list[Refusal]) -> tuple[Alternative, ...]:
    return tuple(_alternative(entry, entry.reason) for entry in refusals)


def _alternative(outcome: Fit | Refusal, reason: str) -> Alternative:
    machine, price = outcome.machine, outcome.price
    return Alternative(
        machine_type=machine.machine_type,
        accelerator_type=machine.accelerator_type,
        accelerator_count=machine.accelerator_count,
        hourly_usd=price.hourly_usd if price else None,
        reason=reason,
    )


def _why_not(fit: Fit, chosen: Fit | None) -> str:
    """Why a machine that fits was not taken."""
    if chosen is None:
        return "fits, but costs more than max_hourly_usd allows"
    if fit.price is None:
        return f"fits with {fit.length} tokens of context, but has no known price"
    if chosen.price is None:
        return f"fits with {fit.length} tokens of context"
    more = fit.price.hourly_usd - chosen.price.hourly_usd
    if more < 0:
        return "fits and is cheaper, but not within max_hourly_usd"
    return (
        f"fits with {fit.length} tokens of context, but costs ${more:.2f} an hour more"
    )
