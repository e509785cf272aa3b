"""One start of a server: from its first process to its first healthy answer."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servingbench.ways import Way
from weightdrop_serving import kinship

_LONGEST_START: Final = 600.0


@dataclass(frozen=True, slots=True)
class Start:
    """What one start took.

    Attributes:
        seconds: From the start of the first process to its health.
        processor: Seconds of processors, of all processes until they ended; others
            on the machine hardly change it.
    """

    seconds: float
    processor: float


def measure(way: Way, work: Path, log: Path) -> Start:
    """Start a server, wait for its health, and end it.

    Args:
        way: How it is started.
        work: A folder for its files, empty before and gone after.
        log: Where its output goes.

    Raises:
        RuntimeError: If it does not become healthy.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    before = _processor_seconds()
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
        seconds = time.monotonic() - began
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        while kinship.group_members(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.05)
        shutil.rmtree(work, ignore_errors=True)
    return Start(seconds, _processor_seconds() - before)


def _processor_seconds() -> float:
    """What ended children of this process, and theirs, have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _healthy(port: int, route: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", route)
        return connection.getresponse().status == 200  # noqa: PLR2004  # HTTP's own
    return False
