"""The planner's measured error, and the data and page that tell of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bench_plan
import pytest
from planbench.fit import fitted, least_squares
from planbench.measured import Run, facts_from, load_config, load_runs
from planbench.page import FITTED
from planbench.scores import (
    MOST_CACHE_SHARE,
    MOST_NON_KV_GIB,
    broken_promises,
    fixed_guesses,
    guesses,
    planner_score,
    rival_scores,
)

from weightdrop.core.planning.tables import packaged_tables

DATA = bench_plan.DATA
CONFIGS = DATA / "configs"
TABLES = packaged_tables()
MEASURED = TABLES.engines[bench_plan.MEASURED_ENGINE]
SEEDS = json.loads((DATA / "seed_models.json").read_text("utf-8"))["models"]


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """The measured start-ups."""
    return load_runs(bench_plan.MEASURED, CONFIGS)


def test_promises_are_kept_for_families_left_out(runs: list[Run]) -> None:
    """Predicted without its family, every promise is kept, and by far."""
    found = guesses(runs, MEASURED)
    score = planner_score(found, "planner")

    assert len(found) == 45
    assert broken_promises(found) == []
    assert score.non_kv_gib < MOST_NON_KV_GIB / 4
    assert score.cache_share < MOST_CACHE_SHARE / 4


def test_no_other_formula_comes_closer(runs: list[Run]) -> None:
    """Each other tool's formula is further off, on the total and on the cache."""
    own = planner_score(guesses(runs, MEASURED), "planner")

    for rival in rival_scores(runs):
        assert own.non_kv_gib < rival.non_kv_gib
        assert own.cache_share < rival.cache_share


def test_a_wrong_constant_breaks_a_promise(runs: list[Run]) -> None:
    """The promises can be broken: half a GiB more outside torch does it."""
    worse = TABLES.engines["0.19.0"]
    worse = type(worse)(
        **{
            name: getattr(worse, name) + (0.5 if name.startswith("non_torch") else 0)
            if name.startswith("non_torch")
            else getattr(worse, name)
            for name in worse.__dataclass_fields__
        }
    )

    assert broken_promises(fixed_guesses(runs, worse))


def test_packaged_constants_are_the_fitted_ones(runs: list[Run]) -> None:
    """engine.json holds what the measured runs say, for both versions."""
    best = fitted(runs, MEASURED)

    for engine in TABLES.engines.values():
        for name, _ in FITTED:
            assert getattr(engine, name) == pytest.approx(getattr(best, name))


def test_cache_tokens_as_logged(runs: list[Run]) -> None:
    """Tokens of the cache follow the logs where nothing is split into stages."""
    for guess in guesses(runs, MEASURED):
        if guess.run.setup.pipeline_parallel == 1:
            assert guess.cache_tokens == pytest.approx(
                guess.run.cache_tokens, rel=0.015
            )


@pytest.mark.parametrize(
    "seed", [row for row in SEEDS if "parameters" in row], ids=lambda row: row["name"]
)
def test_rebuilt_tables_have_the_published_counts(seed: dict[str, object]) -> None:
    """A table rebuilt from config.json has as many values as were published."""
    config = load_config(CONFIGS, str(seed["model"]))

    facts = facts_from(config, form=str(seed["form"]))

    assert facts.parameters == seed["parameters"]


def test_least_squares_finds_a_plane() -> None:
    """An exact plane is found, whatever the scale of its columns."""
    rows = [[1.0, 1e6 * x, y] for x in range(4) for y in range(3)]
    wanted = [3 + 2e-6 * row[1] - 5 * row[2] for row in rows]

    assert least_squares(rows, wanted) == pytest.approx([3, 2e-6, -5])


def test_page_is_what_would_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/planning.md and its plot are the bench's own words."""
    monkeypatch.setattr(sys, "argv", ["bench_plan.py", "--check"])

    status = bench_plan.main()

    assert status == 0, capsys.readouterr().err


def test_unseen_runs_are_scored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A table from elsewhere is scored with the packaged constants."""
    lines = bench_plan.MEASURED.read_text("utf-8").splitlines()
    table = tmp_path / "runs.csv"
    table.write_text("\n".join([lines[0], *lines[3:6]]), "utf-8")
    monkeypatch.setattr(sys, "argv", ["bench_plan.py", "--measured", str(table)])

    assert bench_plan.main() == 0
    assert "packaged constants: 3 start-ups" in capsys.readouterr().out


def test_missing_config_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run of an unknown model says where its config belongs."""
    monkeypatch.setattr(sys, "argv", ["bench_plan.py", "--configs", str(tmp_path)])

    assert bench_plan.main() == 2
    assert "put the config.json of" in capsys.readouterr().err
