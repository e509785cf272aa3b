"""One start of a server: from its first process to its first healthy answer."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from servingbench.ways import Way
from weightdrop_serving import kinship

_LONGEST_START: Final = 600.0


def measure(way: Way, work: Path, log: Path) -> float:
    """Seconds from the start of the way's first process to its health.

    Args:
        way: How it is started.
        work: A folder for its files, empty before and gone after.
        log: Where its output goes.

    Raises:
        RuntimeError: If it does not become healthy.
    """
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


def _healthy(port: int, route: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", route)
        return connection.getresponse().status == 200  # noqa: PLR2004  # HTTP's own
    return False
