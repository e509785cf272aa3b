"""The probes of a containerSpec: what is asked of a server, and how often."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from weightdrop.local.vertex.config import Probing
from weightdrop.local.vertex.faults import ApiError
from weightdrop.local.vertex.logfile import LogFile
from weightdrop.local.vertex.processes import Command, Processes, ended

JSON = dict[str, Any]
_OK = 200
_GOOD = range(200, 400)
_DEFAULT_PORT = 8080
# google/cloud/aiplatform/v1/model.proto, message Probe.
_PERIOD, _TIMEOUT, _FAILURES, _SUCCESSES = 10.0, 1.0, 3, 1


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe.

    Attributes:
        path: Asked by GET; empty for none.
        command: Run beside the server, in its environment; empty for none. With
            neither, a TCP connection is enough.
        port: Where; 0 for the server's own.
        headers: Of the GET.
        good: Statuses of the GET that are good.
        period: Seconds between two tries.
        quick: The same until the first good one.
        timeout: Seconds one may take.
        failures: Bad ones in a row that count.
        successes: Good ones in a row that count.
        delay: Seconds before the first.
    """

    path: str = ""
    command: tuple[str, ...] = ()
    port: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    good: range = _GOOD
    period: float = _PERIOD
    quick: float = _PERIOD
    timeout: float = _TIMEOUT
    failures: int = _FAILURES
    successes: int = _SUCCESSES
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes of one server.

    Attributes:
        startup: Must be good before the others begin; None for none.
        health: Whether it may be given requests.
        liveness: Whether it is left running; None for none.
    """

    health: Probe
    startup: Probe | None = None
    liveness: Probe | None = None


def check_probes(container: JSON) -> None:
    """Raise UNIMPLEMENTED for a probe that is not run here."""
    for name in ("startupProbe", "healthProbe", "livenessProbe"):
        if "grpc" in container.get(name, {}):
            raise ApiError(
                "UNIMPLEMENTED",
                f"Model.container_spec.{name}.grpc is not run by this stand-in: use "
                "exec, http_get or tcp_socket.",
            )


def probes(container: JSON, *, health: str, probing: Probing) -> Probes:
    """The probes of a containerSpec; Vertex AI's own where it names none.

    Args:
        container: The containerSpec.
        health: The health route.
        probing: How servers are watched.
    """
    ports = container.get("ports") or [{}]
    own = int(ports[0].get("containerPort", _DEFAULT_PORT))
    usual = Probe(
        path=health,
        good=range(_OK, _OK + 1),
        period=probing.running_seconds,
        quick=probing.starting_seconds,
        timeout=probing.timeout_seconds,
        failures=probing.failures,
    )
    alive = Probe(
        period=probing.liveness_seconds,
        quick=probing.liveness_seconds,
        timeout=probing.timeout_seconds,
        failures=probing.failures,
        delay=probing.liveness_seconds,
    )
    return Probes(
        startup=_probe(container.get("startupProbe"), health=health, own=own),
        health=_probe(container.get("healthProbe"), health=health, own=own) or usual,
        liveness=_probe(container.get("livenessProbe"), health=health, own=own)
        or (alive if probing.liveness_seconds else None),
    )


def _probe(spec: JSON | None, *, health: str, own: int) -> Probe | None:
    if not spec:
        return None
    http, tcp = spec.get("httpGet", {}), spec.get("tcpSocket", {})
    command = tuple(spec.get("exec", {}).get("command", ()))
    port = int(http.get("port") or tcp.get("port") or 0)
    period = float(spec.get("periodSeconds") or _PERIOD)
    return Probe(
        path="" if command or "tcpSocket" in spec else http.get("path") or health,
        command=command,
        port=0 if port == own else port,
        headers={item["name"]: item["value"] for item in http.get("httpHeaders", ())},
        period=period,
        quick=period,
        timeout=float(spec.get("timeoutSeconds") or _TIMEOUT),
        failures=int(spec.get("failureThreshold") or _FAILURES),
        successes=int(spec.get("successThreshold") or _SUCCESSES),
        delay=float(spec.get("initialDelaySeconds") or 0),
    )


class Prober:
    """Makes the tries.

    Args:
        client: Sends GETs.
        processes: Starts commands.
        log: Where a command's output goes.
    """

    def __init__(
        self, client: httpx.AsyncClient, *, processes: Processes, log: LogFile
    ) -> None:
        self._client = client
        self._processes = processes
        self._log = log

    async def good(self, probe: Probe, port: int, server: Command) -> bool:
        """Whether one try succeeds.

        Args:
            probe: What to try.
            port: The server's own.
            server: How the server was started: its environment and folder.
        """
        port = probe.port or port
        if probe.command:
            return await self._run(probe, server)
        with contextlib.suppress(httpx.HTTPError, OSError, TimeoutError):
            if not probe.path:
                return await _connects(port, probe.timeout)
            answer = await self._client.get(
                f"http://127.0.0.1:{port}{probe.path}",
                headers=dict(probe.headers),
                timeout=probe.timeout,
            )
            return answer.status_code in probe.good
        return False

    async def _run(self, probe: Probe, server: Command) -> bool:
        command = Command(argv=probe.command, env=server.env, cwd=server.cwd)
        try:
            with self._log.open() as output:
                process = self._processes.start(command, output)
        except OSError:
            return False
        try:
            return await ended(process, probe.timeout) and process.returncode == 0
        finally:
            self._processes.forget(process)


async def _connects(port: int, timeout: float) -> bool:  # noqa: ASYNC109
    async with asyncio.timeout(timeout):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return True
