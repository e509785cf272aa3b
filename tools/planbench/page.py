"""The documentation's page on planning, written from the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from jinja2 import Environment, StrictUndefined

from planbench.fit import fitted, mean_absolute
from planbench.measured import Run
from planbench.scores import Guess, Score, planner_score, rival_scores
from planbench.seeds import SeedPlan, saving
from weightdrop.core.catalogue.engine import EngineConstants
from weightdrop.core.planning.plan import NoPlan
from weightdrop.core.planning.tables import Tables

TEMPLATE = Path(__file__).parent / "page.md.jinja"
FITTED = (
    ("activation_base_gib", "GiB of activations that depend on nothing"),
    ("forward_hidden", "hidden widths live per batched token"),
    ("pipeline_hidden", "more of them with pipeline stages"),
    ("non_torch_single_gib", "GiB outside torch on one GPU"),
    ("non_torch_pipeline_gib", "GiB outside torch with pipeline stages"),
    ("non_torch_tensor_gib", "GiB outside torch with tensor parallelism"),
    ("non_torch_tensor_log2_gib", "and for every doubling of the GPUs"),
    ("cuda_graph_base_gib", "GiB of CUDA graphs of a model without layers"),
    ("cuda_graph_hidden_bytes", "bytes of graphs per layer and hidden value"),
    ("cuda_graph_inner_bytes", "bytes of graphs per layer and feed-forward value"),
    ("cuda_graph_expert_layer_gib", "GiB of graphs per layer with experts"),
)
"""The constants of engine.json that are fitted."""


@dataclass(frozen=True, slots=True)
class Row:
    """A group of runs with its errors, in GiB and as a share."""

    name: str
    runs: int
    weights: float
    activation: float
    non_torch: float
    graphs: float
    total: float
    bias: float
    cache: float


def _row(name: str, found: Sequence[Guess]) -> Row:
    return Row(
        name=name,
        runs=len(found),
        weights=mean_absolute([g.parts.weights_gib - g.run.weights_gib for g in found]),
        activation=mean_absolute(
            [g.parts.activation_gib - g.run.activation_gib for g in found]
        ),
        non_torch=mean_absolute(
            [g.parts.non_torch_gib - g.run.non_torch_gib for g in found]
        ),
        graphs=mean_absolute(
            [g.parts.cuda_graph_gib - g.run.cuda_graph_gib for g in found]
        ),
        total=mean_absolute([g.error_gib for g in found]),
        bias=fmean(g.error_gib for g in found),
        cache=mean_absolute([g.cache_share for g in found]),
    )


def _groups(found: Sequence[Guess]) -> tuple[list[Row], list[Row]]:
    kinds = sorted({guess.run.kind for guess in found})
    families = sorted({guess.run.family for guess in found})
    by_kind = [_row(k, [g for g in found if g.run.kind == k]) for k in kinds]
    by_family = [_row(f, [g for g in found if g.run.family == f]) for f in families]
    return by_kind, by_family


def _scores(found: Sequence[Guess]) -> list[Score]:
    own = planner_score(found, "**Weightdrop**, one family left out at a time")
    others = sorted(
        rival_scores([guess.run for guess in found]), key=lambda s: s.non_kv_gib
    )
    return [own, *others]


def page(
    found: Sequence[Guess],
    seeds: Sequence[SeedPlan],
    *,
    tables: Tables,
    engine: EngineConstants,
    when: str,
) -> str:
    """The whole page, as written on the day `when`."""
    runs: list[Run] = [guess.run for guess in found]
    best = fitted(runs, engine)
    by_kind, by_family = _groups(found)
    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 (Markdown out of our own numbers)
        keep_trailing_newline=True,
    )
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(
        scores=_scores(found),
        kinds=by_kind,
        families=by_family,
        everything=_row("all", found),
        guesses=sorted(found, key=lambda guess: -abs(guess.error_gib)),
        fits=[(name, getattr(best, name), words) for name, words in FITTED],
        seeds=seeds,
        NoPlan=NoPlan,
        saving=saving,
        tables=tables,
        engine=tables.engine,
        measured=engine,
        when=when,
    )
