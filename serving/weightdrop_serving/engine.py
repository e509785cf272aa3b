"""The engine's process: vLLM's own server, tied to its supervisor's life.

Started as `python -m weightdrop_serving.engine VLLM-ARGUMENTS`.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
from pathlib import Path

from weightdrop_serving import control, environment, folders, kinship


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
    # Not as sys.modules["__main__"]: processes that vLLM spawns import this module
    # again, and the lines below tie them to this one before anything else runs.
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")


def _end_with_supervisor(scratch: Path) -> None:
    """Leave nothing behind: no process of this group, no weights."""
    group = os.getpgid(0)
    if group != os.getpid():
        os.kill(os.getpid(), signal.SIGKILL)
    for member in kinship.group_members(group):
        if member != os.getpid():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member, signal.SIGKILL)
    folders.remove_abandoned(scratch.parent)
    os.killpg(group, signal.SIGKILL)


if __name__ == "__mp_main__":
    kinship.end_with_parent()
if __name__ == "__main__":
    main()
    sys.exit(0)
