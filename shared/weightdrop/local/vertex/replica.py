"""One replica: a server process, watched, restarted, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from weightdrop.local.vertex.config import Probing
from weightdrop.local.vertex.logfile import LogFile
from weightdrop.local.vertex.processes import Command, Processes, ended, free_port

_OK = 200
_LONGEST_BACKOFF = 30.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a replica is made.

    Attributes:
        name: For logs.
        command: The process that listens on a given port.
        health: Path of health checks.
        log: Where its output goes.
        changed: Called whenever its readiness changes.
    """

    name: str
    command: Callable[[int], Command]
    health: str
    log: LogFile
    changed: Callable[[], None]


class Replica:
    """A server that is kept running until it is stopped.

    Attributes:
        port: Where it listens now; 0 before its first start.
        ready: Whether it may be given requests.
        was_ready: Whether it ever was.
        exits: Ends of the process since it was last ready.
        last_exit: What the last end was, for a person.
        in_flight: Requests it works on now.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        processes: Processes,
        probing: Probing,
        client: httpx.AsyncClient,
    ) -> None:
        self._recipe = recipe
        self._processes = processes
        self._probing = probing
        self._client = client
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.ready = False
        self.was_ready = False
        self.exits = 0
        self.last_exit = ""
        self.in_flight = 0
        self._task = asyncio.create_task(self._keep(), name=recipe.name)

    @property
    def log(self) -> LogFile:
        """Where its output goes."""
        return self._recipe.log

    @property
    def pid(self) -> int:
        """Process id of the server; 0 while none runs."""
        return self._process.pid if self._process else 0

    async def stop(self) -> None:
        """Stop it for good; returns when all its processes are gone."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._set_ready(ready=False)
        process, self._process = self._process, None
        if process is not None:
            grace = self._probing.stop_seconds
            await self._processes.stop(process, grace=grace)

    async def _keep(self) -> None:
        backoff = self._probing.restart_seconds
        while True:
            try:
                await self._start()
                await self._watch()
            except Exception as error:  # a replica never takes the fleet down
                log.exception("replica %s broke", self._recipe.name)
                self._note_exit(f"it could not be started: {error}")
            if self.exits <= 1:
                backoff = self._probing.restart_seconds
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LONGEST_BACKOFF)

    async def _start(self) -> None:
        self.port = free_port()
        with self._recipe.log.open() as output:
            command = self._recipe.command(self.port)
            self._process = self._processes.start(command, output)
        log.info("replica %s: pid %d, port %d", self._recipe.name, self.pid, self.port)

    async def _watch(self) -> None:
        """Probe the server until it ended."""
        process = self._process
        if process is None:
            return
        probing, bad = self._probing, 0
        while process.poll() is None:
            if await self._healthy():
                bad = 0
                self.exits = 0
                self._set_ready(ready=True)
            else:
                bad += 1
                if not self.ready or bad >= probing.failures:
                    self._set_ready(ready=False)
            self._recipe.log.rotate()
            pause = probing.running_seconds if self.ready else probing.starting_seconds
            await ended(process, pause)
        self._processes.forget(process)
        self._process = None
        self._note_exit(_exit_words(process.returncode))

    async def _healthy(self) -> bool:
        url = f"http://127.0.0.1:{self.port}{self._recipe.health}"
        with contextlib.suppress(httpx.HTTPError):
            answer = await self._client.get(url, timeout=self._probing.timeout_seconds)
            return answer.status_code == _OK
        return False

    def _note_exit(self, words: str) -> None:
        self.exits += 1
        self.last_exit = words
        self._set_ready(ready=False)
        self._recipe.changed()

    def _set_ready(self, *, ready: bool) -> None:
        changed = ready != self.ready
        self.ready = ready
        self.was_ready = self.was_ready or ready
        if changed:
            self._recipe.changed()


def _exit_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
