"""The engine's process: vLLM's own server, tied to its supervisor's life.

Started as `python -m weightdrop_serving.engine VLLM-ARGUMENTS`.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import shutil
import signal
import sys

from weightdrop_serving import control, environment, kinship


def main() -> None:
    """Run vLLM in this process until it ends."""
    kinship.end_with_parent()
    settings = environment.load()
    if settings.control_fd >= 0:
        line = control.Control(settings.control_fd, _end_with_supervisor)
        control.install(line)
        line.watch()
    # Not as sys.modules["__main__"]: processes that vLLM spawns import this module
    # again, and the lines below tie them to this one before anything else runs.
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")


def _end_with_supervisor() -> None:
    """Leave nothing behind: no weights, no process of this group."""
    scratch = environment.load().scratch
    with contextlib.suppress(OSError):
        if scratch.name.startswith(environment.SCRATCH_PREFIX):
            shutil.rmtree(scratch, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__mp_main__":
    kinship.end_with_parent()
if __name__ == "__main__":
    main()
    sys.exit(0)
