"""The page of benchmarks says what the benchmarks wrote."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import bench_page
import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_benchmarks_wrote() -> None:
    """Whoever runs one of them also runs `tools/bench_page.py`, as make does."""
    assert bench_page.PAGE.read_text() == bench_page.page()
    assert bench_page.PLOT.read_text() == bench_page.plot()


@pytest.mark.parametrize("claim", bench_page.CLAIMS, ids=lambda it: it.text[:40])
def test_every_claim_holds(claim: bench_page.Claim) -> None:
    """Both figures are there, and ours is the better one."""
    place = bench_page.DOCS / claim.page
    if not place.exists():
        pytest.skip(f"{claim.page} was not written yet")

    assert bench_page.ratio(claim, place.read_text()) > 1


def test_another_figure_is_another_page(tmp_path: Path) -> None:
    """A page that was left behind by its data is found."""
    docs = tmp_path / "docs"
    shutil.copytree(bench_page.DOCS, docs)
    cold = docs / "benchmarks" / "cold.md"
    cold.write_text(
        re.sub(r"\d+\.\d+ s, 3\d MB", "9.99 s, 39 MB", cold.read_text(), count=1)
    )

    assert bench_page.page(docs) != bench_page.PAGE.read_text()


def test_a_claim_whose_row_is_gone_is_found(tmp_path: Path) -> None:
    """It is not left out in silence."""
    docs = tmp_path / "docs"
    shutil.copytree(bench_page.DOCS, docs)
    cold = docs / "benchmarks" / "cold.md"
    cold.write_text(cold.read_text().replace("`on_tick`", "on tock"))

    with pytest.raises(LookupError, match="on_tick"):
        bench_page.page(docs)


def test_make_runs_every_benchmark_that_has_a_page() -> None:
    """`make bench` without a choice leaves none out."""
    makefile = (ROOT / "Makefile").read_text()
    listed = re.search(r"^BENCH \?= (.+)$", makefile, re.MULTILINE)
    assert listed is not None
    targets = set(re.findall(r"^bench-([a-z]+):", makefile, re.MULTILINE))

    assert set(listed[1].split()) == targets
