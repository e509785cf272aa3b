"""Processes of the serving containers: started so that none outlives the stand-in.

Three nets: the kernel kills a server whose stand-in dies (parent death signal),
what is left of a killed stand-in is found by its session (recorded with the
start time, so that a reused pid is never hit) and by a marker in its
environment, and an orderly end stops the whole session.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from weightdrop import settings
from weightdrop.local.proc import PROC, SESSION, STARTED, STATE, pids, stat
from weightdrop.local.vertex.store import Store

MARKER = "WEIGHTDROP_SERVING_OF"
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


_REMEMBERED = 1000
"""Ports that were given last: many more than servers that start at one time."""


class Ports:
    """Gives ports of 127.0.0.1 that nobody listens on, and none of them twice.

    A server takes a while to listen. Another that got its port meanwhile would
    be told from it by nobody: its health checks would be answered by the first.
    """

    def __init__(self) -> None:
        self._given: deque[int] = deque(maxlen=_REMEMBERED)

    def free(self) -> int:
        """A port for one server."""
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in self._given:
                self._given.append(port)
                return port


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait up to `seconds` for a process of ours; says whether it ended."""
    if process.poll() is not None:
        return True
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    watch = os.pidfd_open(process.pid)
    loop.add_reader(watch, over.set)
    try:
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(watch)
        os.close(watch)
    return process.poll() is not None


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start.

    Attributes:
        argv: Program and arguments.
        env: Variables on top of our own.
        cwd: Working directory.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path


def _session_members(leader: int) -> list[int]:
    found = []
    for pid in pids():
        fields = stat(pid)
        if fields and int(fields[SESSION]) == leader and fields[STATE] != "Z":
            found.append(pid)
    return found


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


class Processes:
    """Starts and stops processes, and remembers them.

    Must be used from one thread that lives as long as the process: the kernel
    ties the parent death signal to the thread that forked.

    Args:
        store: Where processes are remembered.
        marker: Value of the marker in their environment.

    Attributes:
        ports: Where servers may listen.
    """

    def __init__(self, store: Store, marker: str) -> None:
        self.ports = Ports()
        self._store = store
        self._marker = marker

    def start(self, command: Command, output: BinaryIO) -> subprocess.Popen[bytes]:
        """Start a process as the leader of a session of its own.

        Raises:
            OSError: It cannot be started.
        """
        process = subprocess.Popen(  # we run no threads
            list(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=command.cwd,
            env=settings.child_environment({**command.env, MARKER: self._marker}),
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  # we run no threads
        )
        fields = stat(process.pid)
        started = fields[STARTED] if fields else ""
        self._store.put("process", str(process.pid), {"started": started})
        return process

    async def stop(self, process: subprocess.Popen[bytes], *, grace: float) -> None:
        """SIGTERM, wait up to `grace` seconds, then SIGKILL of the whole session."""
        try:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await ended(process, grace)
        finally:
            self.forget(process)

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """Kill what is left of the process's session and forget it."""
        if process.poll() is None:
            process.kill()
        _kill(_session_members(process.pid))
        process.wait()
        self._store.delete("process", str(process.pid))

    def kill_leftovers(self) -> list[int]:
        """Kill the processes of an earlier run; gives their pids."""
        found: set[int] = set()
        for key, record in self._store.scan("process"):
            fields = stat(int(key))
            if not fields or fields[STARTED] == record["started"]:
                found.update(_session_members(int(key)))
            self._store.delete("process", key)
        found.update(self._marked())
        found.discard(os.getpid())
        _kill(sorted(found))
        return sorted(found)

    def _marked(self) -> Iterator[int]:
        wanted = f"{MARKER}={self._marker}".encode()
        for pid in pids():
            with contextlib.suppress(OSError):
                if wanted in (PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                    yield pid
