"""The plan in sentences: what was chosen, why, and what would change it."""

from __future__ import annotations

from collections.abc import Sequence

from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.planning.fit import Fit, Refusal, Subject, fit_on
from weightdrop.core.planning.plan import PlanRequest
from weightdrop.core.planning.tables import Tables
from weightdrop.core.planning.wants import Wants


def explanation(
    chosen: Fit,
    *,
    cheaper: Sequence[Refusal],
    fits: Sequence[Fit],
    request: PlanRequest,
    wants: Wants,
    subject: Subject,
    tables: Tables,
) -> tuple[str, ...]:
    """Sentences for a person, most important first."""
    return (
        _choice(chosen, cheaper, request),
        *_price(chosen, request),
        _arithmetic(chosen, subject, tables),
        _cache(chosen, wants),
        *_context(chosen, fits, subject=subject, wants=wants),
        *_ranks(chosen, subject),
        *_replicas(request),
    )


def _choice(chosen: Fit, cheaper: Sequence[Refusal], request: PlanRequest) -> str:
    machine = chosen.machine
    name = (
        f"{machine.machine_type} with {machine.accelerator_count} "
        f"{machine.accelerator_type}"
    )
    if request.machine_type:
        return f"{name} was asked for, and the model fits on it."
    if not cheaper:
        return f"{name} is the cheapest machine in {request.region}."
    nearest = cheaper[-1]
    return (
        f"{name} is the cheapest machine in {request.region} that holds the model; "
        f"the next cheaper one, {nearest.machine.machine_type}, {nearest.reason}."
    )


def _price(chosen: Fit, request: PlanRequest) -> tuple[str, ...]:
    price = chosen.price
    if price is None:
        return ("No price is known for this machine.",)
    line = f"${price.hourly_usd:.4f} an hour and replica, list price of {price.date}"
    if price.region != request.region:
        line += (
            f" in {price.region}; no price is known for {request.region}, so this "
            "one orders the machines and is held against max_hourly_usd"
        )
    lines = [line + "."]
    if request.spot:
        lines.append(
            "Spot capacity costs less, at a price that moves, and can be taken away "
            "at any time; the list price is shown."
        )
    return tuple(lines)


def _arithmetic(chosen: Fit, subject: Subject, tables: Tables) -> str:
    memory = chosen.memory
    gpu = tables.accelerators[chosen.machine.accelerator_type]
    graphs = f"{memory.cuda_graph_gib:.2f} CUDA graphs"
    if not tables.engine.counts_cuda_graphs:
        graphs += " (outside the budget)"
    return (
        f"Each GPU has {gpu.memory_gib:.2f} GiB, of which vLLM "
        f"{tables.engine.version} takes {chosen.utilization:.0%}, "
        f"{memory.budget_gib:.2f} GiB: {memory.weights_gib:.2f} weights in "
        f"{subject.model.quantization or subject.model.dtype}, "
        f"{memory.activation_gib:.2f} activations for {chosen.setup.max_num_seqs} "
        f"sequences and batches of {chosen.setup.max_num_batched_tokens} tokens, "
        f"{memory.non_torch_gib:.2f} outside torch, {graphs}, and "
        f"{memory.kv_cache_gib:.2f} are left for the cache."
    )


def _cache(chosen: Fit, wants: Wants) -> str:
    held = chosen.sequences
    line = (
        f"The cache holds {chosen.memory.kv_cache_tokens} tokens: {held} "
        f"sequence{'' if held == 1 else 's'} of {chosen.length}."
    )
    if held < wants.sequences:
        line += (
            f" That is fewer than the {wants.sequences} wanted; more than {held} at "
            "full length will wait for each other."
        )
    return line


def _context(
    chosen: Fit, fits: Sequence[Fit], *, subject: Subject, wants: Wants
) -> tuple[str, ...]:
    """Why the context is what it is, when the config claims another."""
    claimed = subject.model.max_position
    if not wants.chosen:
        return (f"max_model_len {chosen.length} was asked for.",)
    if chosen.length == claimed:
        return (f"max_model_len is the config's own {claimed}.",)
    count = min(wants.sequences, max(1, chosen.sequences))
    held = "one sequence" if count == 1 else f"{count} sequences"
    lines = [
        (
            f"config.json claims {claimed} tokens of context; the cache holds "
            f"{held} of {chosen.length}, so max_model_len is {chosen.length}."
        )
    ]
    full = next((fit for fit in fits if fit.length == claimed), None)
    if full is None:
        each = chosen.cache.sequence_bytes(claimed) / 2**30
        lines.append(
            f"One sequence of {claimed} tokens takes {each:.1f} GiB on each GPU."
        )
    elif full.price is not None:
        lines.append(
            f"The cheapest machine that serves all {claimed} is "
            f"{full.machine.machine_type} at ${full.price.hourly_usd:.2f} an hour."
        )
    return tuple(lines)


def _ranks(chosen: Fit, subject: Subject) -> tuple[str, ...]:
    ranks, gpus = chosen.setup.tensor_parallel, chosen.machine.accelerator_count
    attention = subject.model.attention
    lines = []
    if ranks < gpus:
        lines.append(
            f"The model can be split over {ranks} GPUs at most; {gpus - ranks} of "
            f"{gpus} stay idle."
        )
    if ranks > 1 and attention.mla_width:
        lines.append("The latent cache is kept whole on every GPU.")
    elif ranks > attention.kv_heads:
        lines.append(
            f"Each key and value head is kept on {ranks // attention.kv_heads} GPUs, "
            f"for there are only {attention.kv_heads}."
        )
    return tuple(lines)


def _replicas(request: PlanRequest) -> tuple[str, ...]:
    if not request.scale_to_zero:
        return ()
    sentence = (
        "Scaling to zero is a preview of v1beta1, with one model on the endpoint: "
        "a new revision cannot come up beside the old one. Requests that arrive at "
        "zero replicas are answered 429 and lost, and after 30 days at zero the "
        "model is undeployed."
    )
    return (sentence,)


def no_fit_finding(
    subject: Subject,
    refusals: Sequence[Refusal],
    *,
    wants: Wants,
    request: PlanRequest,
    tables: Tables,
) -> Finding:
    """No machine fits: by how much, and what would."""
    short = [entry for entry in refusals if entry.short_gib]
    nearest = min(short, key=lambda entry: entry.short_gib, default=refusals[0])
    what = f"{wants.length} tokens of context"
    if wants.strict:
        what = f"{wants.sequences} sequences of {wants.length} tokens"
    where = request.machine_type or f"any machine in {request.region}"
    return Finding(
        code="plan-no-fit",
        severity=Severity.ERROR,
        detail=f"The model with {what} does not fit on {where}. Nearest: "
        f"{nearest.machine.machine_type} {nearest.reason}.",
        fix=" ".join(
            _remedies(subject, short, wants=wants, request=request, tables=tables)
        ),
    )


def _remedies(
    subject: Subject,
    short: Sequence[Refusal],
    *,
    wants: Wants,
    request: PlanRequest,
    tables: Tables,
) -> list[str]:
    """What would fit: a shorter context, or another machine somewhere."""
    remedies = []
    longest = max(short, key=lambda entry: entry.longest, default=None)
    if longest is not None and longest.longest:
        remedies.append(
            f"One sequence of {longest.longest} tokens fits on "
            f"{longest.machine.machine_type}: lower max_model_len or max_num_seqs."
        )
    offered = tables.regions[request.region]
    others = [
        outcome
        for machine in tables.machines.values()
        if (outcome := _elsewhere(subject, machine.machine_type, wants, tables))
    ]
    others.sort(key=lambda fit: fit.price.hourly_usd if fit.price else float("inf"))
    for fit in others[:1]:
        name = fit.machine.accelerator_type
        places = sorted(r for r, names in tables.regions.items() if name in names)
        here = request.region if name in offered else ", ".join(places)
        remedies.append(
            f"It fits on {fit.machine.machine_type} with "
            f"{fit.machine.accelerator_count} {name}, in {here}."
        )
    if not remedies:
        remedies.append("No machine in the tables holds it; use a smaller model.")
    return remedies


def _elsewhere(
    subject: Subject, machine_type: str, wants: Wants, tables: Tables
) -> Fit | None:
    machine = tables.machines[machine_type]
    outcome = fit_on(subject, machine, wants=wants, tables=tables, region="")
    return outcome if isinstance(outcome, Fit) else None


def too_dear_finding(cheapest: Fit, request: PlanRequest) -> Finding:
    """The cheapest machine costs more than is allowed."""
    price, replicas = cheapest.price, request.max_replica_count
    if price is None:
        detail = (
            f"{cheapest.machine.machine_type} fits, but its price is not known, so "
            f"max_hourly_usd {request.max_hourly_usd:g} cannot be held."
        )
    else:
        total = price.hourly_usd * replicas
        detail = (
            f"The cheapest machine that fits, {cheapest.machine.machine_type}, costs "
            f"${total:.2f} an hour for {replicas} replica{'s' * (replicas > 1)}, "
            f"${total - request.max_hourly_usd:.2f} above max_hourly_usd "
            f"{request.max_hourly_usd:g}."
        )
    return Finding(
        code="plan-too-expensive",
        severity=Severity.ERROR,
        detail=detail,
        fix="Raise max_hourly_usd, allow fewer replicas, or ask for less context.",
    )
