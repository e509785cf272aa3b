"""One process under watch: start, answer, restart, stop, and a bounded log."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from weightdrop.local.supervisor.layout import HOST, Service
from weightdrop.local.supervisor.processes import die_with_parent

LOG_BYTES = 8 * 2**20
"""A log that grows beyond this becomes LOG.1, and the one before it goes."""

BACK_OFF = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a process that died is started again, by deaths in a row."""

STEADY_SECONDS = 30.0
"""A process that lived this long did not die in a row with the one before."""

_PROBE_SECONDS = 1.0


@dataclass(slots=True)
class Child:
    """A process of the stack and what became of it.

    Attributes:
        service: What it is.
        folder: Its working folder, empty and our own, so that no module of
            the user's current folder gets in front of ours.
        log: Where its output goes.
        deaths: Deaths in a row.
        answered: Whether it has answered since it was last started.
        restart_at: When to start it again (monotonic); None while it runs.
    """

    service: Service
    folder: Path
    log: Path
    deaths: int = 0
    answered: bool = False
    restart_at: float | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _since: float = 0.0

    @property
    def pid(self) -> int:
        """Its process id; 0 if it does not run."""
        return self._process.pid if self._process else 0

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it in a session of its own; it goes when we go."""
        self.restart_at, self.answered = None, False
        self._since = time.monotonic()
        self.folder.mkdir(exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.service.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**environment, **dict(self.service.environment)},
                start_new_session=True,
                # Safe because the supervisor has one thread.
                preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509
            )

    def look(self) -> int | None:
        """Its exit status if it has just died, and when it will come back."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        self.kill_group()
        self._process, self.answered = None, False
        lived = time.monotonic() - self._since
        self.deaths = 1 if lived > STEADY_SECONDS else self.deaths + 1
        wait = BACK_OFF[min(self.deaths, len(BACK_OFF)) - 1]
        self.restart_at = time.monotonic() + wait
        return status

    def probe(self) -> bool:
        """Whether it answers HTTP, whatever the answer; or runs, without a port."""
        if self._process is None:
            return False
        self.answered = self.service.port is None or _answers(self.service.port)
        return self.answered

    def terminate(self) -> None:
        """Ask it to end."""
        self.restart_at = None
        if self._process:
            self._process.terminate()

    def kill_group(self) -> None:
        """Kill it and all of its session's process group."""
        if self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.poll() is None

    def tail(self, lines: int) -> list[str]:
        """The last lines of its log."""
        with contextlib.suppress(OSError), self.log.open("rb") as source:
            source.seek(max(0, self.log.stat().st_size - 16384))
            return source.read().decode(errors="replace").splitlines()[-lines:]
        return []

    def bound_log(self) -> None:
        """Move a log that grew too long aside.

        Copied and cut rather than renamed: the process goes on appending to
        the file it has open. A full disk must not end the stack.
        """
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > LOG_BYTES:
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=_PROBE_SECONDS)
    try:
        # functions-framework answers this path without calling the function.
        connection.request("GET", "/robots.txt")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
