"""The engine's process: vLLM's own server, tied to its supervisor's life.

Started as `python -m weightdrop_serving.engine VLLM-ARGUMENTS`.
"""

from __future__ import annotations

import multiprocessing.context
import os
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Final

from weightdrop_serving import control, environment, folders, kinship

_CLEANING_SECONDS: Final = 5.0


def main() -> None:
    """Run vLLM in this process until it ends."""
    kinship.end_with_parent()
    settings = environment.load()
    if settings.control_fd >= 0:
        line = control.Control(
            settings.control_fd, lambda: _end_with_supervisor(settings.scratch)
        )
        control.install(line)
        line.watch()
        # The line ends with the supervisor too, and then there is more to do.
        kinship.outlive_parent()
    if settings.fork:
        _fork_instead_of_spawn(settings)
    # Not as sys.modules["__main__"]: processes that vLLM spawns import this module
    # again, and the lines below tie them to this one before anything else runs.
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")


def _fork_instead_of_spawn(settings: environment.Environment) -> None:
    """Let vLLM's engine be a copy of this process, which has imported everything.

    Half of the time and of the work of a start is importing vLLM a second time. No
    thread of this process holds what the copy needs: it has loaded no weights and
    opened no device yet. vLLM insists on `spawn` without a GPU, so that word is
    given another meaning; with one, it switches back by itself where it must.
    """
    contexts = multiprocessing.context._concrete_contexts  # type: ignore[attr-defined]  # noqa: SLF001
    contexts["spawn"] = contexts["fork"]

    def in_the_copy() -> None:
        kinship.end_with_parent()
        for descriptor in (settings.listen_fd, settings.control_fd):
            os.close(descriptor)  # the port and the line are the server's alone

    os.register_at_fork(after_in_child=in_the_copy)


def _end_with_supervisor(scratch: Path) -> None:
    """Leave nothing behind: no weights, then no process of this group."""
    deadline = time.monotonic() + _CLEANING_SECONDS
    while scratch.exists() and time.monotonic() < deadline:
        folders.remove_abandoned(scratch.parent)
        time.sleep(0.05)  # the kernel may free the lock after it ends the line
    group = os.getpgid(0)
    if group == os.getpid():
        os.killpg(group, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__mp_main__":
    kinship.end_with_parent()
if __name__ == "__main__":
    main()
    sys.exit(0)
