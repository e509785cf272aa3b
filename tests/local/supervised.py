"""A supervisor over small processes, run as a program by test_supervisor.py.

Arguments: home, base port, and what the processes are to be: `fine`, or
`broken` for one that ends before it answers.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from weightdrop.cli.terminal import emit, note
from weightdrop.errors import UsageError, WeightdropError
from weightdrop.local.supervisor.layout import HOST, Layout, Service
from weightdrop.local.supervisor.supervisor import Supervisor

# Starts a process that leaves the group and hides its environment as vLLM does.
PARENT = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(600)"],
    start_new_session=True,
    env={},
)
print(child.pid, flush=True)
child.wait()
"""


def members(layout: Layout, kind: str) -> tuple[Service, ...]:
    """A server, a process with a child of its own, and perhaps a broken one."""
    server = ("-m", "http.server", "--bind", HOST, str(layout.port))
    found = [
        Service("server", "server", (sys.executable, *server), layout.port),
        Service("parent", "parent", (sys.executable, "-c", PARENT), None),
    ]
    if kind == "broken":
        code = "raise SystemExit('cannot work')"
        argv = (sys.executable, "-c", code)
        found.append(Service("broken", "broken thing", argv, layout.port + 1))
    return tuple(found)


def main() -> int:
    """Run until a signal comes."""
    home, port, kind = sys.argv[1:]
    layout = Layout(home=Path(home), port=int(port), bucket="models")
    supervisor = Supervisor(
        layout,
        members=lambda layout: members(layout, kind),
        say=note,
        ready=lambda stack: emit(asdict(stack)),
    )
    try:
        supervisor.run()
    except UsageError as error:
        note(str(error))
        return 2
    except WeightdropError as error:
        note(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
