"""What the local bucket server costs: bytes a second, memory, and events.

    make bench-bucket          or      python tools/bench_bucket.py --gib 2

One server process in a temporary folder, one connection at a time. Objects of 1 GiB
go up and come down through google-cloud-storage and, to see what the client costs
itself, through plain HTTP; after each, the most memory that the server ever had is
read. Then small uploads are made one after the other, and each event is timed from
the upload's answer to its arrival at a function. Medians of the rounds are written to
docs/benchmarks/bucket.md; what misses its limit ends the command with 1.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from google.cloud import storage

from local.bucket.harness import Function, Running, function, running, until

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "benchmarks" / "bucket.md"
MIB: Final = 1 << 20
BLOCK: Final = os.urandom(MIB)
UP_MIB, DOWN_MIB, EVENT_MS, GROWTH_MB = 150.0, 250.0, 10.0, 10.0
"""What the project promises: rates at least, delay and growth at most."""


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    what: str
    figure: float
    unit: str
    limit: float
    least: bool

    @property
    def good(self) -> bool:
        """Whether the limit is kept; 0 is none."""
        kept = self.figure >= self.limit if self.least else self.figure <= self.limit
        return kept or not self.limit

    def line(self) -> str:
        """In Markdown."""
        bound = f"{'≥' if self.least else '≤'} {self.limit:g}" if self.limit else ""
        return f"| {self.what} | {self.figure:.4g} {self.unit} | {bound} |"


def _rate(size: int, work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return size / MIB / (time.monotonic() - began)


def _peak(server: Running) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def _blocks(size: int) -> Iterator[bytes]:
    yield from (BLOCK for _ in range(size // MIB))


def _speeds(server: Running, size: int) -> dict[str, float]:
    """One round: up and down, by the client and by plain HTTP."""
    source = server.home / "source"
    with source.open("wb") as file:
        file.writelines(_blocks(size))
    client = server.client()
    blob = client.bucket("models").blob("big")
    up = f"{server.url}/upload/storage/v1/b/models/o?uploadType=media&name=raw"
    down = f"{server.url}/storage/v1/b/models/o/raw?alt=media"

    def send() -> None:
        httpx.post(up, content=_blocks(size), timeout=600).raise_for_status()

    def take() -> None:
        with httpx.stream("GET", down, timeout=600) as answer:
            got = sum(len(chunk) for chunk in answer.iter_raw(MIB))
        if got != size:
            raise RuntimeError(f"{got} of {size} bytes came back")

    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # a device
        found = {
            "up, google-cloud-storage": _rate(
                size, lambda: blob.upload_from_filename(source)
            ),
            "down, google-cloud-storage": _rate(
                size, lambda: blob.download_to_file(nowhere)
            ),
            "up, plain HTTP": _rate(size, send),
            "down, plain HTTP": _rate(size, take),
        }
    for name in ("big", "raw"):
        client.bucket("models").blob(name).delete()
    client.close()
    return found


def _delays(server: Running, taken: Function, count: int) -> tuple[float, list[float]]:
    """Small uploads a second, and milliseconds from each answer to its event."""
    client = server.client()
    bucket: storage.Bucket = client.bucket("models")
    done: dict[str, float] = {}
    began = time.monotonic()
    for number in range(count):
        name = f"small/{number}"
        bucket.blob(name).upload_from_string(b"{}")
        done[name] = time.time()
    rate = count / (time.monotonic() - began)
    until(lambda: len([e for e in taken.taken if e.data["name"] in done]) >= count, "")
    client.close()
    events = {event.data["name"]: event.at for event in taken.taken}
    return rate, [max(0.0, 1000 * (events[name] - at)) for name, at in done.items()]


def measure(*, gib: float, rounds: int, small: int) -> list[Row]:
    """Every line of the report."""
    size = int(gib * 1024) * MIB
    with (
        tempfile.TemporaryDirectory() as folder,
        function() as taken,
        running(Path(folder), "--watch", "models", "--notify", taken.url) as server,
    ):
        _speeds(server, 64 * MIB)
        before = _peak(server)
        turns = [_speeds(server, size) for _ in range(rounds)]
        after = _peak(server)
        rate, delays = _delays(server, taken, small)
    middle = {name: statistics.median(t[name] for t in turns) for name in turns[0]}
    delays.sort()
    limits = {"up": UP_MIB, "down": DOWN_MIB}
    rows = [
        Row(name, middle[name], "MiB/s", limits[name.partition(",")[0]], least=True)
        for name in middle
    ]
    rows.append(Row("most memory of the server", after, "MB", 0, least=False))
    grown = f"of it after {rounds} rounds of {gib:g} GiB more than after 64 MiB"
    rows.append(Row(grown, after - before, "MB", GROWTH_MB, least=False))
    rows.append(Row("small uploads, google-cloud-storage", rate, "/s", 0, least=True))
    for words, part, limit in (("median", 0.5, 0.0), ("95th percentile", 0.95, 10.0)):
        late = delays[min(int(part * len(delays)), len(delays) - 1)]
        what = f"answer of an upload to its event, {words}"
        rows.append(Row(what, late, "ms", limit and EVENT_MS, least=False))
    return rows


def page(rows: list[Row]) -> str:
    """The report."""
    when = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    machine = f"{os.cpu_count()} processors, {platform.machine()}"
    head = (
        "# The bucket server, measured\n\n"
        f"Written by `make bench-bucket` on {when} ({machine}, Python "
        f"{platform.python_version()}), which says what is measured and how. One "
        "connection; server and client share the processors.\n\n"
        "| what | measured | promised |\n| --- | --- | --- |\n"
    )
    return head + "\n".join(row.line() for row in rows) + "\n"


def main() -> int:
    """Measure, print and write; 1 if a limit was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--page", type=Path, default=PAGE)
    words = parser.parse_args()
    rows = measure(gib=words.gib, rounds=words.rounds, small=words.small)
    words.page.write_text(page(rows), "utf-8")
    for row in rows:
        sys.stdout.write(f"{'' if row.good else 'MISSED  '}{row.line()}\n")
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
