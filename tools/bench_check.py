"""How long validation takes behind a slow bucket, beside huggingface_hub's parser.

    make bench-check          or      python tools/bench_check.py --runs 9

One process serves DeepSeek-V3's 163 shards (headers of the real shapes, 684
billion parameters) and waits 50 ms before each answer. In turns, validation
reads them through the Cloud Storage adapter and huggingface_hub reads them with
its own header parser. Printed are medians over the runs, from the same server in
the same run. Only validation draws a verdict; the hub's parser checks nothing.
Writes docs/benchmarks/check.md. Exit status 1 when validation misses its marks.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

from checkbench.server import serve  # noqa: E402

from drops.models import model_files  # noqa: E402
from weightdrop.adapters.gcs import GcsArtifacts  # noqa: E402
from weightdrop.core.artifacts.objects import artifact_set  # noqa: E402
from weightdrop.services.inspection import Policy, inspect_artifacts  # noqa: E402

CONFIG = ROOT / "tests/data/models/published/deepseek-ai__DeepSeek-V3.json"
PAGE = ROOT / "docs" / "benchmarks" / "check.md"
BUCKET = "models"
LIMIT_SECONDS = 2.0
ABOUT = """\
# Validation behind a slow bucket

Written by `make bench-check` on {run}.
DeepSeek-V3's {shards} shards: their real headers, behind {wait:.0f} ms a request. In
turns, validation reads them and huggingface_hub reads the same headers with its own
parser, which checks nothing; medians of one run. Limits: {limit} s, two reads a shard,
no tensor data.

| who | seconds | processor seconds | reads | of tensor data | says |
| --- | ---: | ---: | ---: | ---: | --- |
"""
READS_PER_SHARD = 2.0


def _ours(base: str) -> Callable[[], str]:
    store = GcsArtifacts(project="bench", endpoint=base)
    policy = Policy()

    def run() -> str:
        listing = store.list(BUCKET, "", limit=policy.max_files)
        artifacts = artifact_set(BUCKET, "", listing.objects)
        report = inspect_artifacts(store, artifacts, policy=policy)
        name = report.model.base_model if report.model else "?"
        return f"{report.verdict}, {name}"

    return run


def _hub(base: str, cache: str) -> Callable[[], str]:
    os.environ["HF_HOME"] = cache
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import HfApi  # noqa: PLC0415

    api = HfApi(endpoint=base, token=False)

    def run() -> str:
        found = api.get_safetensors_metadata("org/model")
        return f"no verdict, {sum(found.parameter_count.values())} values"

    return run


def _counts(base: str) -> dict[str, int]:
    with urlopen(f"{base}/counts") as answer:  # noqa: S310  # our own server
        found: dict[str, int] = json.load(answer)
    return found


def _measure(run: Callable[[], str], base: str) -> dict[str, Any]:
    _counts(base)
    start, busy = time.perf_counter(), time.process_time()
    said = run()
    return {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - busy,
        "said": said,
        **_counts(base),
    }


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    medians = {
        key: statistics.median(run[key] for run in runs)
        for key in ("seconds", "cpu", "requests", "others", "sent", "tensors")
    }
    return {**medians, "best": min(run["seconds"] for run in runs),
            "said": runs[-1]["said"]}  # fmt: skip


def _print(name: str, found: dict[str, Any]) -> None:
    print(
        f"{name:<16} {found['seconds']:6.2f} s (best {found['best']:.2f}, processor "
        f"{found['cpu']:.2f})  {found['requests']:4.0f} reads + {found['others']:.0f}  "
        f"{found['sent'] / 1e6:6.1f} MB, {found['tensors'] / 1e6:.1f} MB of them "
        f"tensor data  {found['said']}"
    )


def page(found: dict[str, dict[str, Any]], *, shards: int, latency: float) -> str:
    """The documentation's page."""
    when = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    machine = f"{os.cpu_count()} processors, {platform.machine()}"
    python = f"Python {platform.python_version()}"
    told = ABOUT.format(
        run=f"{when} ({machine}, {python}, load {os.getloadavg()[1]:.1f})",
        shards=shards,
        wait=latency * 1000,
        limit=LIMIT_SECONDS,
    )
    return told + "".join(_row(name, one) for name, one in found.items())


def _row(name: str, found: dict[str, Any]) -> str:
    return (
        f"| {name} | {found['seconds']:.2f} s | {found['cpu']:.2f} s | "
        f"{found['requests']:.0f} | {found['tensors'] / 1e6:.1f} MB | "
        f"{found['said']} |\n"
    )


def _race(
    contestants: dict[str, Callable[[], str]], base: str, *, turns: int
) -> dict[str, list[dict[str, Any]]]:
    """Let them take turns; the first one opens connections and imports."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for turn in range(turns + 1):
        for name, run in contestants.items():
            measured = _measure(run, base)
            if turn:
                runs[name].append(measured)
    return runs


def main() -> int:
    """Run the benchmark; exit with 1 if validation misses its marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--shards", type=int, default=163)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    files = model_files(json.loads(CONFIG.read_text()), shards=options.shards)
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(
        target=serve, args=(files, options.latency, theirs), daemon=True
    )
    server.start()
    try:
        base = f"http://127.0.0.1:{ours.recv()}"
        with tempfile.TemporaryDirectory() as cache:
            contestants = {
                "validation": _ours(base),
                "huggingface_hub": _hub(base, cache),
            }
            runs = _race(contestants, base, turns=options.runs)
    finally:
        server.terminate()
        server.join()
    summaries = {name: _summary(measured) for name, measured in runs.items()}
    if options.json:
        print(json.dumps(summaries))
    else:
        for name, summary in summaries.items():
            _print(name, summary)
    text = page(summaries, shards=options.shards, latency=options.latency)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(text, encoding="utf-8")
    return _judge(summaries["validation"], options.shards)


def _judge(found: dict[str, Any], shards: int) -> int:
    small = 6  # config, generation config, index, tokenizer's two, and to spare
    missed = [
        text
        for text, wrong in (
            (f"over {LIMIT_SECONDS} s", found["seconds"] > LIMIT_SECONDS),
            ("more reads than two a shard",
             found["requests"] - small > READS_PER_SHARD * shards),
            ("tensor data was read", found["tensors"] > 0),
        )
        if wrong
    ]  # fmt: skip
    for text in missed:
        print(f"missed: {text}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
