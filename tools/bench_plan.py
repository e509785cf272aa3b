"""Score the planner on measured start-ups and write the documentation's page.

Exit status: 0 when every promise is kept, 1 when one is broken or, with
--check, when the page is not what would be written, 2 when the data cannot be
read.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import sys
from pathlib import Path

from planbench.measured import load_runs
from planbench.page import page
from planbench.plot import plot
from planbench.scores import (
    Guess,
    broken_promises,
    fixed_guesses,
    guesses,
    planner_score,
    rival_scores,
)
from planbench.seeds import seed_plans

from weightdrop.core.planning.tables import packaged_tables

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data" / "planning"
PAGE = ROOT / "docs" / "planning.md"
PLOT = ROOT / "docs" / "img" / "planning.svg"
MEASURED = DATA / "vllm_0_19_h100_measured.csv"
MEASURED_ENGINE = "0.19.0"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measured", type=Path, default=MEASURED)
    parser.add_argument("--configs", type=Path, default=DATA / "configs")
    parser.add_argument("--engine", default=MEASURED_ENGINE)
    parser.add_argument(
        "--check", action="store_true", help="compare the page, write nothing"
    )
    return parser.parse_args()


def _print(found: list[Guess], heading: str) -> None:
    print(f"{heading}: {len(found)} start-ups")
    print(f"{'':46} total GiB   cache   worst under  worst over")
    scores = [
        planner_score(found, "Weightdrop"),
        *rival_scores([guess.run for guess in found]),
    ]
    for score in scores:
        print(
            f"{score.name:46} {score.non_kv_gib:9.3f} {score.cache_share:8.2%}"
            f" {score.worst_under_gib:12.2f} {score.worst_over_gib:11.2f}"
        )


def _write(files: dict[Path, str], *, check: bool) -> list[str]:
    """Write the files, or say which of them differ."""
    stale = []
    for path, text in files.items():
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            stale.append(f"{path.relative_to(ROOT)} is stale: run make bench-plan")
    return stale


def _day(*, check: bool) -> str:
    """The page's date: today's, or the one it has where it is only compared."""
    if check and PAGE.exists():
        found = re.search(r" on (20\d\d-\d\d-\d\d)\b", PAGE.read_text("utf-8"))
        return found[1] if found else ""
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"


def main() -> int:
    """Score, write, and say what is wrong."""
    arguments = _arguments()
    tables = packaged_tables()
    engine = tables.engines[arguments.engine]
    try:
        runs = load_runs(arguments.measured, arguments.configs)
    except (OSError, ValueError, KeyError) as error:
        print(f"The measured runs cannot be read: {error}", file=sys.stderr)
        return 2
    if arguments.measured != MEASURED:
        # Runs the constants have not seen: predicted as they are packaged.
        found = fixed_guesses(runs, engine)
        _print(found, "packaged constants")
        for guess in found:
            print(f"  {guess.run.label:60} {guess.error_gib:+.2f} GiB")
        problems = broken_promises(found)
    else:
        found = guesses(runs, engine)
        _print(found, "one family left out at a time")
        seeds = seed_plans(DATA / "seed_models.json", DATA / "configs", tables)
        day = _day(check=arguments.check)
        written = page(found, seeds, tables=tables, engine=engine, when=day)
        problems = broken_promises(found) + _write(
            {PAGE: written, PLOT: plot(found)}, check=arguments.check
        )
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
