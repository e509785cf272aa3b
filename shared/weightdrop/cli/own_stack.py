"""A local stack of one's own in a process of its own, for as long as it is used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from weightdrop.errors import WeightdropError
from weightdrop.local.supervisor import processes
from weightdrop.local.supervisor.preflight import port_free
from weightdrop.local.supervisor.stack import Stack, find
from weightdrop.local.supervisor.supervisor import ANSWER_SECONDS
from weightdrop.settings import child_environment, variable

STOP_SECONDS = 10.0
"""The contract for Ctrl-C."""

_LOOK_SECONDS = 0.1


def start(home: Path, *options: str) -> tuple[subprocess.Popen[bytes], Stack]:
    """Run `weightdrop up` on free ports and wait until it is ready.

    Args:
        home: Folder of its state.
        options: Further options of the command.

    Must be called from a thread that lives as long as the stack shall.

    Raises:
        WeightdropError: With what it said, if it does not come up.
    """
    said = home / "up.log"
    with said.open("ab") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "weightdrop.cli", "up"),
                *("--home", str(home), "--port", "0", *options),
            ],
            cwd=home,
            env=child_environment({}, without=(variable("base_url"),)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            # Safe: it only makes system calls.
            preexec_fn=partial(processes.die_with_parent, os.getpid()),  # noqa: PLW1509
        )
    deadline = time.monotonic() + ANSWER_SECONDS + STOP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        stack = find(home)
        if stack and stack.ready:
            return process, stack
        time.sleep(_LOOK_SECONDS)
    process.kill()
    process.wait()
    last = said.read_text(errors="replace").strip().splitlines()[-20:]
    raise WeightdropError("The local stack did not come up:\n" + "\n".join(last))


def stop(process: subprocess.Popen[bytes], stack: Stack) -> float:
    """Send Ctrl-C and see that nothing is left.

    Returns:
        Seconds it took.

    Raises:
        WeightdropError: If it took too long or left something.
    """
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    try:
        status = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise WeightdropError(
            f"The local stack did not stop within {STOP_SECONDS:.0f} s."
        ) from error
    took = time.monotonic() - begin
    left = processes.of_stack(Path(stack.home))
    listening = [
        port
        for port in range(stack.port, stack.port + len(stack.urls))
        if not port_free(port)
    ]
    if status or left or listening:
        facts = json.dumps({"status": status, "processes": left, "ports": listening})
        raise WeightdropError(f"The local stack did not stop cleanly: {facts}")
    return took


@contextmanager
def ended(process: subprocess.Popen[bytes], home: Path) -> Iterator[None]:
    """Whatever happens inside, nothing of the stack runs afterwards."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        processes.end_all(home, grace=0.0, limit=STOP_SECONDS)
