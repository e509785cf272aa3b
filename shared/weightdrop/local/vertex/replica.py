"""One replica: a server process, watched, restarted, and stopped."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import httpx

from weightdrop.local.vertex.config import Probing
from weightdrop.local.vertex.logfile import LogFile
from weightdrop.local.vertex.probes import Probe, Prober, Probes
from weightdrop.local.vertex.processes import Command, Processes, ended

_LONGEST_BACKOFF = 30.0
Process = subprocess.Popen[bytes]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a replica is made.

    Attributes:
        name: For logs.
        command: The process that listens on a given port.
        probes: How it is watched.
        log: Where its output goes.
        changed: Called whenever its readiness changes.
    """

    name: str
    command: Callable[[int], Command]
    probes: Probes
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
        self._prober = Prober(client, processes=processes, log=recipe.log)
        self._command: Command | None = None
        self._verdict = ""
        self._process: Process | None = None
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
        self.port = self._processes.ports.free()
        with self._recipe.log.open() as output:
            self._command = self._recipe.command(self.port)
            self._process = self._processes.start(self._command, output)
        log.info("replica %s: pid %d, port %d", self._recipe.name, self.pid, self.port)

    async def _watch(self) -> None:
        """Probe the server until it ended."""
        process = self._process
        if process is None:
            return
        self._verdict = ""
        probes = self._recipe.probes
        if probes.startup is None or await self._started(process, probes.startup):
            lives = asyncio.create_task(self._keep_alive(process, probes.liveness))
            try:
                await self._keep_ready(process, probes.health)
            finally:
                lives.cancel()
                await asyncio.gather(lives, return_exceptions=True)
        self._processes.forget(process)
        self._process = None
        self._note_exit(self._verdict or _exit_words(process.returncode))

    async def _started(self, process: Process, probe: Probe) -> bool:
        """Wait for the startup probe; ends the process when it fails for good."""
        async for good, bad in self._tries(process, probe):
            if good >= probe.successes:
                return True
            if bad >= probe.failures:
                self._condemn(process, f"its startup probe failed {bad} times")
        return False

    async def _keep_alive(self, process: Process, probe: Probe | None) -> None:
        """End a process whose liveness probe fails for good."""
        if probe is None:
            return
        async for _, bad in self._tries(process, probe):
            if bad >= probe.failures:
                self._condemn(process, f"its liveness probe failed {bad} times")

    async def _keep_ready(self, process: Process, probe: Probe) -> None:
        async for good, bad in self._tries(process, probe):
            if good >= probe.successes:
                self.exits = 0
                self._set_ready(ready=True)
            elif bad and (not self.ready or bad >= probe.failures):
                self._set_ready(ready=False)
            self._recipe.log.rotate()

    async def _tries(
        self, process: Process, probe: Probe
    ) -> AsyncIterator[tuple[int, int]]:
        """Good and bad tries in a row so far, after each, until the process ended."""
        good = bad = 0
        pause, period = probe.delay, probe.quick
        while not await ended(process, pause):
            if self._command and await self._prober.good(
                probe, self.port, self._command
            ):
                good, bad, period = good + 1, 0, probe.period
            else:
                good, bad = 0, bad + 1
            yield good, bad
            pause = period

    def _condemn(self, process: Process, words: str) -> None:
        self._verdict = words
        process.kill()

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
