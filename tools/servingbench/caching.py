"""What a start saves that finds what an earlier one kept."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shutil
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servingbench import starts, ways
from servingbench.starts import Start

_COMPILED: Final = ("--no-enforce-eager",)
_LARGEST_RATIO: Final = 0.9  # a cache that saves less is not worth its place

_ABOUT: Final = """\
The container with one model of {size:.0f} MB in a folder, so that nothing is
downloaded, on vLLM's CPU build with `--no-enforce-eager`, so that vLLM compiles the
model's graph as it does on a GPU. Every first start has an empty
`WEIGHTDROP_SERVING_CACHE` and an empty `TMPDIR`; the second start after it finds the
cache, {kept:.0f} MB, and another empty `TMPDIR`. Seconds from the start of the first
process to the first healthy answer, and seconds of processors until the end of the last
process, which others on the machine hardly change. Two eager starts came before these.

A second start finds the compiled kernels. It finds the graph too, but the CPU build of
vLLM 0.32 does not take that back ("Compiling model again due to a load failure", its
log says) and traces the model again. What a GPU's start saves was not measured; what it
captures besides, no cache keeps."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A first start with an empty cache, and one with the bytes that it kept."""

    first: Start
    second: Start
    kept: int


def pairs(model: Path, base: Path, runs: int) -> list[Pair]:
    """Start the container twice, `runs` times.

    Args:
        model: The model's folder.
        base: A folder for the caches and logs.
        runs: How often; once more comes before, eagerly, for what the machine keeps.
    """
    _pair((), model, base)
    return [_pair(_COMPILED, model, base) for _ in range(runs)]


def _pair(words: tuple[str, ...], model: Path, base: Path) -> Pair:
    cache = base / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    way = ways.kept("weightdrop", model, cache, words)
    first = starts.measure(way, base / "work", base / "first.log")
    kept = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
    second = starts.measure(way, base / "work", base / "second.log")
    sys.stderr.write(f"{first}, then {second}\n")
    return Pair(first, second, kept)


def page(found: list[Pair], size: int) -> tuple[str, list[str]]:
    """The documentation's page, and the limits that are not kept.

    Args:
        found: What was measured.
        size: Bytes of the model.
    """
    first, second = [one.first for one in found], [one.second for one in found]
    columns = {
        "first": (_each(first), *_medians(first)),
        "second": (_each(second), *_medians(second)),
    }
    ratios = [_medians(second)[at] / _medians(first)[at] for at in (0, 1)]
    missed = [] if ratios[1] <= _LARGEST_RATIO else [f"more than {_LARGEST_RATIO}"]
    load = f"load {os.getloadavg()[0]:.1f}"
    machine = f"{os.cpu_count()} processors, {platform.machine()}, {load}"
    when = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    kept = statistics.median(one.kept for one in found) / 1e6
    lines = [
        "# What a start keeps for the next one",
        "",
        f"Written by `make bench-start CACHE=1` on {when} ({machine}).",
        "",
        _ABOUT.format(size=size / 1e6, kept=kept),
        "",
        "| start | each: seconds, of processors | median | median of processors |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {each} | {seconds:.1f} s | {processor:.1f} s |"
            for name, (each, seconds, processor) in columns.items()
        ),
        "",
        f"The second takes {ratios[0]:.2f} of the first's time and {ratios[1]:.2f} of "
        f"its processors' (limit: {_LARGEST_RATIO} of these)"
        + (", which is not kept." if missed else "."),
        "",
    ]
    return "\n".join(lines), missed


def _each(found: list[Start]) -> str:
    return "; ".join(f"{one.seconds:.1f}, {one.processor:.1f}" for one in found)


def _medians(found: list[Start]) -> tuple[float, float]:
    return (
        statistics.median(one.seconds for one in found),
        statistics.median(one.processor for one in found),
    )
