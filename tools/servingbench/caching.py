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

# What vLLM does with the model's graph, and the arguments for it.
_CONFIGURATIONS: Final = (
    ("eager", ()),
    ("compiled", ("--no-enforce-eager",)),
)
_LARGEST_RATIO: Final = 0.9  # a cache that saves less is not worth its place

_ABOUT: Final = """\
Seconds from the start of the container's process to its first healthy answer, of one
model of {size:.0f} MB in a folder, so that nothing is downloaded, on vLLM's CPU build.
Every first start has an empty `WEIGHTDROP_SERVING_CACHE` and an empty `TMPDIR`; the
second start after it finds the cache and another empty `TMPDIR`. {runs} times each.

- `eager`: what the container does without a GPU: nothing is compiled, and the cache
  holds what vLLM learned of the model's class, which the image brings with it.
- `compiled`: with `--no-enforce-eager`, so that vLLM compiles the model's graph, as it
  does on a GPU. vLLM then captures graphs besides, which no cache keeps."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A first start and the second one after it.

    Attributes:
        first: Seconds with an empty cache.
        second: Seconds with what the first one left.
        kept: Bytes that it left.
    """

    first: float
    second: float
    kept: int


@dataclass(frozen=True, slots=True)
class Measured:
    """All pairs of starts, by configuration, and the model's size in bytes."""

    pairs: dict[str, list[Pair]]
    size: int


def rounds(model: Path, base: Path, runs: int) -> Measured:
    """Start each configuration twice, `runs` times.

    Args:
        model: The model's folder.
        base: A folder for the caches and logs.
        runs: How often; one more comes before, which fills what the machine keeps.
    """
    pairs: dict[str, list[Pair]] = {name: [] for name, _ in _CONFIGURATIONS}
    for number in range(runs + 1):
        for name, words in _CONFIGURATIONS:
            if number or name == _CONFIGURATIONS[0][0]:
                found = _pair(name, words, model, base)
                sys.stderr.write(f"{name}: {found.first:.1f} s, {found.second:.1f} s\n")
                if number:
                    pairs[name].append(found)
    size = sum(file.stat().st_size for file in model.iterdir())
    return Measured(pairs, size)


def _pair(name: str, words: tuple[str, ...], model: Path, base: Path) -> Pair:
    cache = base / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    way = ways.kept(name, model, cache, words)
    first = starts.measure(way, base / "work", base / f"{name}-first.log")
    kept = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
    second = starts.measure(way, base / "work", base / f"{name}-second.log")
    return Pair(first, second, kept)


def page(measured: Measured) -> tuple[str, list[str]]:
    """The documentation's page, and the limits that are not kept."""
    missed: list[str] = []
    machine = f"{os.cpu_count()} processors, {platform.machine()}"
    when = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    lines = [
        "# What a start keeps for the next one",
        "",
        f"Written by `make bench-start CACHE=1` on {when} ({machine}).",
        "",
        _ABOUT.format(
            size=measured.size / 1e6,
            runs=max(len(pairs) for pairs in measured.pairs.values()),
        ),
        "",
        "| vLLM | first starts | second starts | medians | of the first | kept |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, pairs in measured.pairs.items():
        first = statistics.median(pair.first for pair in pairs)
        second = statistics.median(pair.second for pair in pairs)
        kept = statistics.median(pair.kept for pair in pairs)
        before = ", ".join(f"{pair.first:.1f}" for pair in pairs)
        after = ", ".join(f"{pair.second:.1f}" for pair in pairs)
        lines.append(
            f"| {name} | {before} | {after} | {first:.1f} s, {second:.1f} s "
            f"| {second / first:.2f} | {kept / 1e6:.2f} MB |"
        )
        if name == "compiled" and second > _LARGEST_RATIO * first:
            missed.append(f"{name}: more than {_LARGEST_RATIO} of the first start")
    verdict = "Not kept: " + "; ".join(missed) if missed else "It is kept"
    limit = (
        f"Limit: compiled, a second start takes at most {_LARGEST_RATIO} of the first."
    )
    return "\n".join([*lines, "", f"{limit} {verdict}.", ""]), missed
