"""Time to the first healthy answer, ours and the published ways, on one emulator.

Writes docs/benchmarks/start.md. run:ai's packages come from PyPI into build/streamer
when they are not there. All ways serve the same model with the same engine arguments
and take turns; medians are compared. With --cache: what a start saves that finds the
compile cache of an earlier one, in docs/benchmarks/start-cache.md. Exit status: 0 when
every limit is kept, else 1.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from servingbench import caching, starts, ways

from weightdrop.local.tiny_model import Size, make_tiny_llama

_SIZE: Final = Size(
    hidden=1024, intermediate=4096, layers=14, heads=16, key_value_heads=8, head_dim=64
)
_FIRST_BYTE_SECONDS: Final = 0.03
_STREAM_RATE: Final = 60e6  # bytes per second
_LARGEST_RATIO: Final = 0.65
_SMALLEST_SPEEDUP: Final = 2.0
_ROOT: Final = Path(__file__).resolve().parent.parent
_PAGE: Final = _ROOT / "docs" / "benchmarks" / "start.md"
_CACHE_PAGE: Final = _PAGE.with_name("start-cache.md")
_STREAMER: Final = _ROOT / "build" / "streamer"
# Without their dependencies, which vLLM has brought already.
_PACKAGES: Final = (
    "runai-model-streamer==0.17.0",
    "runai-model-streamer-gcs==0.17.0",
    "humanize==4.17.0",
)
_OURS: Final = "weightdrop"

ABOUT: Final = """\
Seconds from the start of the first process to the first healthy answer, of one model
of {size:.0f} MB, on vLLM's CPU build with the same arguments. The emulated bucket gives
the first byte after {first:.0f} ms and {rate:.0f} MB/s per stream. Every way ran once
before, so that all find what vLLM keeps on disk; then they took turns, {runs} times.

- `weightdrop`: this container as it starts without a GPU: vLLM's engine is forked. Its
  health means that a token was produced.
- `weightdrop-spawned`: the same with a spawned engine, as on a GPU and as the others
  start it. What it wins is the download, which happens meanwhile, and the process of a
  worker, which vLLM's CPU build starts unless it is told not to.
- `copy-then-start`: the official client copies everything, then vLLM starts, as
  Google's notebooks do.
- `runai`: `vllm --model gs://…`, which streams with run:ai's model streamer and its
  defaults."""
_TRANSFER: Final = """\
Reading the weights alone, medians: {own:.0f} MB/s, run:ai's defaults {other:.0f} MB/s:
{times:.1f} times (limit: at least {least:.0f})."""


@contextlib.contextmanager
def _service(root: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "servingbench.emulator", str(root)]
    command += ["--first-byte", str(_FIRST_BYTE_SECONDS), "--rate", str(_STREAM_RATE)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None:
            raise RuntimeError("the emulator has no output")
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def _fetch_streamer(folder: Path) -> Path:
    """Install run:ai's packages into `folder` unless they are there."""
    if not (folder / "runai_model_streamer").is_dir():
        uv = Path(sys.executable).with_name("uv")
        pip = [str(uv), "pip"] if uv.exists() else [sys.executable, "-m", "pip"]
        told = ["install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, *told, *_PACKAGES], check=True)
    return folder


def _rounds(chosen: list[ways.Way], base: Path, runs: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {way.name: [] for way in chosen}
    order = random.Random(0)  # noqa: S311  # an order, not a secret
    for number in range(runs + 1):
        for way in order.sample(chosen, len(chosen)):
            seconds = starts.measure(
                way, base / "work", base / f"{way.name}.log"
            ).seconds
            sys.stderr.write(f"{way.name}: {seconds:.1f} s\n")
            if number:  # the first round fills the caches that a second start finds
                times[way.name].append(seconds)
    return times


def page(
    times: dict[str, list[float]], rates: dict[str, float], size: int
) -> tuple[str, list[str]]:
    """The documentation's page, and the limits that are not kept."""
    medians = {name: statistics.median(found) for name, found in times.items()}
    ours = medians[_OURS]
    others = [name for name in medians if not name.startswith(_OURS)]
    missed = [
        f"more than {_LARGEST_RATIO} of {name}"
        for name in others
        if ours > _LARGEST_RATIO * medians[name]
    ]
    if rates[_OURS] < _SMALLEST_SPEEDUP * rates["runai"]:
        missed.append(f"less than {_SMALLEST_SPEEDUP:.0f} times run:ai's throughput")
    when = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    machine = f"{os.cpu_count()} processors, {platform.machine()}"
    lines = [
        "# From nothing to a healthy answer",
        "",
        f"Written by `make bench-start` on {when} ({machine}).",
        "",
        ABOUT.format(
            size=size / 1e6,
            first=1000 * _FIRST_BYTE_SECONDS,
            rate=_STREAM_RATE / 1e6,
            runs=len(times[_OURS]),
        ),
        "",
        f"| way | each run | median | ours is (limit {_LARGEST_RATIO}) |",
        "| --- | --- | --- | --- |",
    ]
    for name, found in times.items():
        each = ", ".join(f"{seconds:.1f}" for seconds in found)
        ratio = f"{ours / medians[name]:.2f} of it" if name in others else ""
        lines.append(f"| {name} | {each} | {medians[name]:.1f} s | {ratio} |")
    lines += [
        "",
        _TRANSFER.format(
            own=rates[_OURS] / 1e6,
            other=rates["runai"] / 1e6,
            times=rates[_OURS] / rates["runai"],
            least=_SMALLEST_SPEEDUP,
        ),
        "",
        ("Not kept: " + "; ".join(missed) if missed else "Every limit is kept") + ".",
        "",
    ]
    return "\n".join(lines), missed


def _compare_ways(streamer: Path, runs: int) -> tuple[str, list[str]]:
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = base / "bucket" / "m"
        make_tiny_llama(model, size=_SIZE)
        size = sum(file.stat().st_size for file in model.iterdir())
        endpoint = stack.enter_context(_service(base / "bucket"))
        chosen = ways.all_ways(endpoint, base / "cache", streamer)
        times = _rounds(chosen, base, runs)
        rates = {
            name: ways.throughput(name, endpoint, base / "copy", streamer)
            for name in (_OURS, "runai")
        }
    return page(times, rates, size)


def _compare_caches(runs: int) -> tuple[str, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "m"
        make_tiny_llama(model, size=_SIZE)
        size = sum(file.stat().st_size for file in model.iterdir())
        return caching.page(caching.pairs(model, Path(folder), runs), size)


def main() -> int:
    """Measure, write the page, and say whether the limits are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--streamer", type=Path, default=_STREAMER)
    parser.add_argument("--cache", action="store_true")
    parser.add_argument("--page", type=Path)
    words = parser.parse_args()
    if words.cache:
        text, missed = _compare_caches(words.runs)
    else:
        streamer = _fetch_streamer(words.streamer.absolute())
        text, missed = _compare_ways(streamer, words.runs)
    place: Path = words.page or (_CACHE_PAGE if words.cache else _PAGE)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
