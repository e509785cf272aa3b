"""Scores of the planner and of the others on measured start-ups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planbench.fit import leave_one_family_out, mean_absolute
from planbench.measured import Run
from planbench.rivals import RIVALS
from weightdrop.core.catalogue.engine import EngineConstants
from weightdrop.core.planning.cache import cache_model
from weightdrop.core.planning.memory import Overhead, overhead
from weightdrop.core.planning.weights import GIB, weight_table

# What the planner promises; `make bench-plan` fails when one is broken.
MOST_NON_KV_GIB = 0.30
MOST_CACHE_SHARE = 0.015
MOST_UNDER_GIB = 0.5


@dataclass(frozen=True, slots=True)
class Guess:
    """A prediction of the planner for one run, its family left out.

    Attributes:
        run: What was measured.
        parts: What was predicted, by component.
        cache_tokens: Tokens predicted for the cache.
    """

    run: Run
    parts: Overhead
    cache_tokens: int

    @property
    def error_gib(self) -> float:
        """Predicted minus measured total without the cache."""
        return self.parts.non_kv_gib - self.run.non_kv_gib

    @property
    def cache_gib(self) -> float:
        """The cache predicted."""
        return self.run.budget_gib - self.parts.non_kv_gib

    @property
    def cache_share(self) -> float:
        """Error of the cache as a share of the measured one."""
        return self.cache_gib / self.run.cache_gib - 1


@dataclass(frozen=True, slots=True)
class Score:
    """How far a formula is off.

    Attributes:
        name: Whose it is.
        formula: In words.
        non_kv_gib: Mean absolute error of the total without the cache.
        cache_share: Mean absolute error of the cache, as a share.
        worst_under_gib: Largest under-estimate of the total.
        worst_over_gib: Largest over-estimate of the total.
    """

    name: str
    formula: str
    non_kv_gib: float
    cache_share: float
    worst_under_gib: float
    worst_over_gib: float


def guesses(runs: Sequence[Run], engine: EngineConstants) -> list[Guess]:
    """Every run predicted by constants fitted without its family."""
    constants = leave_one_family_out(runs, engine)
    return [_guess(run, constants[run.family]) for run in runs]


def fixed_guesses(runs: Sequence[Run], engine: EngineConstants) -> list[Guess]:
    """Every run predicted by the packaged constants, nothing fitted."""
    return [_guess(run, engine) for run in runs]


def _guess(run: Run, engine: EngineConstants) -> Guess:
    table = weight_table(run.facts, engine)
    parts = overhead(run.facts, table, run.setup, engine)
    cache = cache_model(run.facts, run.setup, block_tokens=engine.block_tokens)
    pool = (run.budget_gib - parts.non_kv_gib) * GIB
    return Guess(
        run=run, parts=parts, cache_tokens=cache.tokens(pool, run.max_model_len)
    )


def planner_score(found: Sequence[Guess], name: str) -> Score:
    """The planner's score."""
    return _score(
        name,
        "docs/planning.md",
        [(guess.run, guess.parts.non_kv_gib) for guess in found],
    )


def rival_scores(runs: Sequence[Run]) -> list[Score]:
    """The others' scores."""
    return [
        _score(rival.name, rival.formula, [(run, rival.predict(run)) for run in runs])
        for rival in RIVALS
    ]


def _score(name: str, formula: str, pairs: Iterable[tuple[Run, float]]) -> Score:
    errors, shares = [], []
    for run, total in pairs:
        errors.append(total - run.non_kv_gib)
        shares.append((run.budget_gib - total) / run.cache_gib - 1)
    return Score(
        name=name,
        formula=formula,
        non_kv_gib=mean_absolute(errors),
        cache_share=mean_absolute(shares),
        worst_under_gib=max(0.0, -min(errors)),
        worst_over_gib=max(0.0, *errors),
    )


def broken_promises(found: Sequence[Guess]) -> list[str]:
    """What the planner promises and does not keep, in sentences."""
    score = planner_score(found, "planner")
    dense = [guess for guess in found if guess.run.kind == "dense text"]
    under = max((-guess.error_gib for guess in dense), default=0.0)
    checks = (
        ("mean error of the total, GiB", score.non_kv_gib, MOST_NON_KV_GIB),
        ("mean error of the cache, share", score.cache_share, MOST_CACHE_SHARE),
        ("under-estimate on dense text models, GiB", under, MOST_UNDER_GIB),
    )
    return [
        f"{name}: {value:.3f} is above {most}"
        for name, value, most in checks
        if value > most
    ]
