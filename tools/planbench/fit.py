"""Fit the engine's constants to measured start-ups.

Few numbers are fitted; all else follows from the engine's code. Every fit
takes one run for each distinct start-up, so that a model measured often does
not count more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import log2
from statistics import fmean, median

from planbench.measured import Run
from weightdrop.core.catalogue.engine import EngineConstants
from weightdrop.core.planning.memory import (
    activation_gib,
    forward_gib,
    sampler_gib,
)
from weightdrop.core.planning.weights import DTYPE_BYTES, GIB


def distinct(runs: Iterable[Run]) -> list[Run]:
    """One run for each start-up that differs in what is fitted."""
    seen: dict[object, Run] = {}
    for run in runs:
        key = (run.model, run.setup, run.facts.dtype, run.facts.quantization)
        seen.setdefault(key, run)
    return list(seen.values())


def fitted(runs: Sequence[Run], engine: EngineConstants) -> EngineConstants:
    """`engine` with its fitted constants taken from `runs`.

    A constant no run speaks of keeps the value it has in `engine`.
    """
    chosen = distinct(runs)
    for step in (_fit_non_torch, _fit_base, _fit_forward, _fit_pipeline, _fit_graphs):
        engine = step(chosen, engine)
    return engine


def _median(values: Iterable[float], otherwise: float) -> float:
    found = list(values)
    return round(median(found), 4) if found else otherwise


def _fit_non_torch(runs: Sequence[Run], engine: EngineConstants) -> EngineConstants:
    single, stages, ranks = [], [], []
    for run in runs:
        if run.setup.tensor_parallel > 1:
            ranks.append(run)
        elif run.setup.pipeline_parallel > 1:
            stages.append(run.non_torch_gib)
        else:
            single.append(run.non_torch_gib)
    engine = replace(
        engine,
        non_torch_single_gib=_median(single, engine.non_torch_single_gib),
        non_torch_pipeline_gib=_median(stages, engine.non_torch_pipeline_gib),
    )
    sizes = {run.setup.tensor_parallel for run in ranks}
    if len(sizes) < 2:  # noqa: PLR2004 (a slope needs two sizes)
        return engine
    first, slope = least_squares(
        [[1.0, log2(run.setup.tensor_parallel)] for run in ranks],
        [run.non_torch_gib for run in ranks],
    )
    return replace(
        engine,
        non_torch_tensor_gib=round(first, 4),
        non_torch_tensor_log2_gib=round(slope, 4),
    )


def _plain(runs: Iterable[Run]) -> list[Run]:
    """Dense text models without stages: nothing but forward pass or sampler."""
    return [
        run
        for run in runs
        if run.kind == "dense text" and run.setup.pipeline_parallel == 1
    ]


def _sampler_bound(run: Run, engine: EngineConstants) -> bool:
    sampler = sampler_gib(run.facts, run.setup, copies=engine.sampler_copies)
    return sampler > forward_gib(run.facts, run.setup, engine)


def _fit_forward(runs: Sequence[Run], engine: EngineConstants) -> EngineConstants:
    bound = [run for run in _plain(runs) if not _sampler_bound(run, engine)]
    return replace(
        engine,
        forward_hidden=_median(
            (
                _hidden_widths(run, engine) - engine.forward_intermediate * _inner(run)
                for run in bound
            ),
            engine.forward_hidden,
        ),
    )


def _inner(run: Run) -> float:
    """Feed-forward width on one rank, in hidden widths."""
    width = run.facts.intermediate_size / run.setup.tensor_parallel
    return width / run.facts.hidden_size


def _hidden_widths(run: Run, engine: EngineConstants) -> float:
    """Measured activation memory in hidden widths per batched token."""
    one = (
        run.setup.max_num_batched_tokens
        * DTYPE_BYTES[run.facts.dtype]
        * run.facts.hidden_size
    )
    return (run.activation_gib - engine.activation_base_gib) * GIB / one


def _fit_base(runs: Sequence[Run], engine: EngineConstants) -> EngineConstants:
    bound = [run for run in _plain(runs) if _sampler_bound(run, engine)]
    return replace(
        engine,
        activation_base_gib=_median(
            (
                run.activation_gib
                - sampler_gib(run.facts, run.setup, copies=engine.sampler_copies)
                for run in bound
            ),
            engine.activation_base_gib,
        ),
    )


def _fit_pipeline(runs: Sequence[Run], engine: EngineConstants) -> EngineConstants:
    staged = [run for run in runs if run.setup.pipeline_parallel > 1]
    plain = replace(engine, pipeline_hidden=0.0)
    return replace(
        engine,
        pipeline_hidden=_median(
            (
                (run.activation_gib - activation_gib(run.facts, run.setup, plain))
                * GIB
                / run.facts.hidden_size
                / run.setup.max_num_batched_tokens
                / DTYPE_BYTES[run.facts.dtype]
                for run in staged
            ),
            engine.pipeline_hidden,
        ),
    )


def _fit_graphs(runs: Sequence[Run], engine: EngineConstants) -> EngineConstants:
    rows = [_graph_terms(run) for run in runs]
    with_experts = any(row[3] for row in rows)
    columns = 4 if with_experts else 3
    solved = least_squares(
        [row[:columns] for row in rows], [run.cuda_graph_gib for run in runs]
    )
    return replace(
        engine,
        cuda_graph_base_gib=round(solved[0], 4),
        cuda_graph_hidden_bytes=round(solved[1] * GIB, 1),
        cuda_graph_inner_bytes=round(solved[2] * GIB, 1),
        cuda_graph_expert_layer_gib=(
            round(solved[3], 4) if with_experts else engine.cuda_graph_expert_layer_gib
        ),
    )


def _graph_terms(run: Run) -> list[float]:
    layers = run.facts.layers / run.setup.pipeline_parallel
    inner = run.facts.intermediate_size / run.setup.tensor_parallel
    return [
        1.0,
        layers * run.facts.hidden_size,
        layers * inner,
        layers if run.facts.experts else 0.0,
    ]


def least_squares(
    rows: Sequence[Sequence[float]], wanted: Sequence[float]
) -> list[float]:
    """Coefficients that bring rows closest to what is wanted.

    Columns are scaled before the normal equations are solved by elimination.
    """
    count = len(rows[0])
    scales = [max(abs(row[i]) for row in rows) or 1.0 for i in range(count)]
    scaled = [[row[i] / scales[i] for i in range(count)] for row in rows]
    matrix = [
        [sum(row[i] * row[j] for row in scaled) for j in range(count)]
        + [sum(row[i] * y for row, y in zip(scaled, wanted, strict=True))]
        for i in range(count)
    ]
    for i in range(count):
        pivot = max(range(i, count), key=lambda r: abs(matrix[r][i]))
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        for r in range(count):
            if r != i and matrix[r][i]:
                factor = matrix[r][i] / matrix[i][i]
                matrix[r] = [
                    a - factor * b for a, b in zip(matrix[r], matrix[i], strict=True)
                ]
    return [matrix[i][count] / matrix[i][i] / scales[i] for i in range(count)]


def leave_one_family_out(
    runs: Sequence[Run], engine: EngineConstants
) -> dict[str, EngineConstants]:
    """For each family, the constants fitted without it."""
    return {
        family: fitted([run for run in runs if run.family != family], engine)
        for family in sorted({run.family for run in runs})
    }


def mean_absolute(errors: Sequence[float]) -> float:
    """Mean of the absolute values."""
    return fmean(abs(error) for error in errors)
