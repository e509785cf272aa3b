"""Measure cold starts of the functions, beside the same on the high-level SDK.

Every figure is the median of fresh processes that import what a Cloud Function
imports, handle one request, and end. Firestore is its emulator, Vertex AI the
stand-in; both run for the whole time. Writes docs/benchmarks/cold.md. Exit
status: 0 when every limit is kept, 1 when one is broken.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contracts import emulators

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "cold.md"


ABOUT = """\
Processor seconds (user and system) and peak memory of a fresh process that imports
`functions/main.py` and handles one request; medians of {runs} runs. Beside it the
same function as one writes it on `from google.cloud import aiplatform`, measured in
the same run. Firestore is its emulator, Vertex AI the local stand-in."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of cold start.

    Attributes:
        name: Of the function in `coldbench`.
        title: For the table.
        cpu: Limit in processor seconds.
        peak_mb: Limit of memory; 0 without one.
    """

    name: str
    title: str
    cpu: float
    peak_mb: int = 0


CASES = (
    Case("ignored", "`on_artifact`, an object that cannot matter", 0.35, 60),
    Case("record", "`on_artifact`, one record read", 0.6, 90),
    Case("status", "`status`, one record read", 0.7),
    Case("vertex", "`on_tick`, Firestore and Vertex AI asked", 1.0),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians of one case."""

    cpu: float
    peak_mb: float
    modules: int


def measure(program: str, case: str, environment: dict[str, str], runs: int) -> Cost:
    """The medians of fresh processes; the first is thrown away."""
    told = []
    for _ in range(runs + 1):
        done = subprocess.run(
            [sys.executable, "-m", f"coldbench.{program}", case],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        told.append(json.loads(done.stdout.splitlines()[-1]))
    kept = told[1:]
    return Cost(
        cpu=statistics.median(it["cpu"] for it in kept),
        peak_mb=statistics.median(it["peak_mb"] for it in kept),
        modules=int(statistics.median(it["modules"] for it in kept)),
    )


@contextlib.contextmanager
def vertex(home: str) -> Iterator[str]:
    """A stand-in for Vertex AI; gives its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "weightdrop.local.vertex"]
    process = subprocess.Popen([*command, "--home", home, "--port", str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=5).close()
                break
            if time.monotonic() > deadline:
                raise TimeoutError("the stand-in did not answer")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def environment(firestore: str, url: str) -> dict[str, str]:
    """What the functions, ours and the rival's, are told."""
    paths = [ROOT / "tools", ROOT / "functions", ROOT / "shared"]
    base = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return base | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "WEIGHTDROP_BACKEND": "cloud",
        "WEIGHTDROP_PROJECT": "local",
        "WEIGHTDROP_BUCKETS": "models",
        "WEIGHTDROP_FIRESTORE_ENDPOINT": firestore,
        "WEIGHTDROP_PUBSUB_ENDPOINT": "127.0.0.1:1",
        "WEIGHTDROP_VERTEX_ENDPOINT": url,
        "FIRESTORE_EMULATOR_HOST": firestore,
    }


def page(costs: list[tuple[Case, Cost, Cost]], runs: int) -> str:
    """The documentation's page."""
    when = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    machine = f"{os.cpu_count()} processors, {platform.machine()}"
    load = os.getloadavg()[1]
    told = f"({machine}, Python {platform.python_version()}, load {load:.1f})"
    lines = [
        "# Cold starts",
        "",
        f"Written by `make bench-cold` on {when} {told}.",
        ABOUT.format(runs=runs),
        "",
        "| function | limit | ours | on the high-level SDK | ratio |",
        "| --- | --- | --- | --- | --- |",
    ]
    for case, ours, rival in costs:
        limit = f"{case.cpu} s" + (f", {case.peak_mb} MB" if case.peak_mb else "")
        lines.append(
            f"| {case.title} | {limit} | {_said(ours)} | {_said(rival)} | "
            f"{rival.cpu / ours.cpu:.1f}x time, "
            f"{rival.peak_mb / ours.peak_mb:.1f}x memory |"
        )
    return "\n".join([*lines, ""])


def _said(cost: Cost) -> str:
    return f"{cost.cpu:.2f} s, {cost.peak_mb:.0f} MB, {cost.modules} modules"


def broken(case: Case, cost: Cost) -> bool:
    """Whether a limit is broken."""
    return cost.cpu > case.cpu or bool(case.peak_mb and cost.peak_mb > case.peak_mb)


def main() -> int:
    """Measure, write the page, and say whether the limits are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as home,
        emulators.firestore() as firestore,
        vertex(home) as url,
    ):
        told = environment(firestore, url)
        costs = [
            (
                case,
                measure("ours", case.name, told, arguments.runs),
                measure("rival", case.name, told, arguments.runs),
            )
            for case in CASES
        ]
    text = page(costs, arguments.runs)
    arguments.page.parent.mkdir(parents=True, exist_ok=True)
    arguments.page.write_text(text, encoding="utf-8")
    print(text)
    missed = [case.title for case, ours, _ in costs if broken(case, ours)]
    for title in missed:
        print(f"over its limit: {title}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
