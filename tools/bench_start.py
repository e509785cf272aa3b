"""Time to the first healthy answer, ours and the published ways, on one emulator.

The emulated bucket gives the first byte after 30 ms and 60 MB/s per stream, as Cloud
Storage does from a machine in the same region. All ways serve the same model with
the same engine arguments, one after the other in turn; medians are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from servingbench import ways

from weightdrop.local.tiny_model import Size, make_tiny_llama
from weightdrop_serving import kinship

_SIZE: Final = Size(
    hidden=1024, intermediate=4096, layers=14, heads=16, key_value_heads=8, head_dim=64
)
_FIRST_BYTE_SECONDS: Final = 0.03
_STREAM_RATE: Final = 60e6  # bytes per second
_LONGEST_START: Final = 600.0


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


def _healthy(port: int, route: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", route)
        return connection.getresponse().status == 200  # noqa: PLR2004  # HTTP's own
    return False


def _measure(way: ways.Way, work: Path, log: Path) -> float:
    """Seconds from the start of the way's first process to its health."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            way.command(work),
            env={**os.environ, **way.environment(work)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while not _healthy(way.port, way.health):
            if process.poll() is not None or time.monotonic() - began > _LONGEST_START:
                tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
                raise RuntimeError(f"{way.name} did not start:\n{tail}")
            time.sleep(0.05)
        return time.monotonic() - began
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        while kinship.group_members(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.05)
        shutil.rmtree(work, ignore_errors=True)


def main() -> int:
    """Run the measurement and print one JSON document; 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--streamer", type=Path, help="folder with run:ai's packages")
    parser.add_argument("--only", nargs="*", default=[])
    words = parser.parse_args()
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_tiny_llama(base / "bucket" / "m", size=_SIZE)
        endpoint = stack.enter_context(_service(base / "bucket"))
        chosen = [
            way
            for way in ways.all_ways(endpoint, base / "cache", words.streamer)
            if not words.only or way.name in words.only
        ]
        times: dict[str, list[float]] = {way.name: [] for way in chosen}
        for way in chosen:  # once unmeasured: caches that a second start finds
            _measure(way, base / "work", base / f"{way.name}.log")
        for _ in range(words.runs):
            for way in chosen:
                seconds = _measure(way, base / "work", base / f"{way.name}.log")
                sys.stderr.write(f"{way.name}: {seconds:.1f} s\n")
                times[way.name].append(seconds)
        rates = {
            name: ways.throughput(name, endpoint, base / "copy", words.streamer)
            for name in (["weightdrop"] + (["runai"] if words.streamer else []))
        }
    medians = {name: statistics.median(found) for name, found in times.items()}
    report = {"seconds": times, "medians": medians, "bytes_per_second": rates}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    others = [seconds for name, seconds in medians.items() if name != "weightdrop"]
    return int(any(medians["weightdrop"] > 0.65 * other for other in others))


if __name__ == "__main__":
    sys.exit(main())
