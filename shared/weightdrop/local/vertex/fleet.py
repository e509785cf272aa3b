"""All serving processes: one pool for each deployed model."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from weightdrop.local.vertex import containers
from weightdrop.local.vertex.config import Config
from weightdrop.local.vertex.containers import Unit
from weightdrop.local.vertex.faults import ApiError
from weightdrop.local.vertex.logfile import LogFile
from weightdrop.local.vertex.pool import Pool, bounds
from weightdrop.local.vertex.probes import probes
from weightdrop.local.vertex.processes import Command, Processes
from weightdrop.local.vertex.replica import Recipe, Replica
from weightdrop.local.vertex.scaling import readings

JSON = dict[str, Any]
_DEBUG_INFO = "type.googleapis.com/google.rpc.DebugInfo"
_MESSAGE_LINES = 8
_METRICS_SECONDS = 2.0


class Fleet:
    """Starts, finds and stops the pools.

    Args:
        config: What the stand-in was told.
        processes: Starts and stops processes.
        client: Sends health checks.
    """

    def __init__(
        self, config: Config, *, processes: Processes, client: httpx.AsyncClient
    ) -> None:
        self._config = config
        self._processes = processes
        self._client = client
        self._pools: dict[str, Pool] = {}

    def pool(self, key: str) -> Pool | None:
        """The pool of a deployed model, by `Unit.key`."""
        return self._pools.get(key)

    def status(self, key: str) -> JSON:
        """What the API shows of a deployed model's replicas (DeployedModel.status)."""
        pool = self._pools.get(key)
        if pool is None:
            return {"availableReplicaCount": 0}
        return {
            "availableReplicaCount": pool.available,
            "lastUpdateTime": pool.updated,
            "message": pool.trouble,
        }

    def start(self, unit: Unit) -> Pool:
        """Start the replicas of a deployed model; none twice."""
        if unit.key not in self._pools:
            self._pools[unit.key] = Pool(
                unit,
                limits=bounds(
                    unit.resources, idle_factor=self._config.scaling.idle_factor
                ),
                scaling=self._config.scaling,
                make=partial(self._replica, unit),
                read=self._readings,
            )
        return self._pools[unit.key]

    def refit(self, unit: Unit) -> None:
        """Give a running pool the bounds of a changed deployed model."""
        pool = self._pools.get(unit.key)
        if pool is not None:
            factor = self._config.scaling.idle_factor
            pool.unit = unit
            pool.limits = bounds(unit.resources, idle_factor=factor)
            pool.adjust()

    async def stop(self, key: str) -> None:
        """Stop a deployed model's replicas and free what they held."""
        pool = self._pools.pop(key, None)
        if pool is not None:
            await pool.stop()
        shutil.rmtree(self._folder("run", key), ignore_errors=True)

    async def close(self) -> None:
        """Stop everything, side by side."""
        await asyncio.gather(*(self.stop(key) for key in list(self._pools)))

    async def until_serving(self, unit: Unit, *, replicas: int, timeout: float) -> None:  # noqa: ASYNC109
        """Return once `replicas` of a started pool answer.

        Raises:
            ApiError: FAILED_PRECONDITION with the tail of a server's log, when a
                server keeps ending or `timeout` seconds have passed.
        """
        pool = self.start(unit)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while pool.available < replicas:
            for replica in pool.replicas:
                attempts = self._config.probing.start_attempts
                if replica.exits >= attempts and not replica.was_ready:
                    raise _failed(
                        f"Model server exited unexpectedly ({replica.last_exit}).",
                        replica.log,
                    )
            left = deadline - loop.time()
            if left <= 0:
                raise _failed(
                    "Model server never became ready: its health route "
                    f"{unit.routes.health} did not answer 200 within "
                    f"{timeout:.0f} s. Please validate that your model file or "
                    "container configuration are valid.",
                    pool.replicas[0].log,
                )
            await pool.changed(timeout=left)

    async def _readings(self, replica: Replica) -> dict[str, float]:
        url = f"http://127.0.0.1:{replica.port}/metrics"
        try:
            answer = await self._client.get(url, timeout=_METRICS_SECONDS)
        except httpx.HTTPError:
            return {}
        return readings(answer.text)

    def _folder(self, kind: str, key: str) -> Path:
        return self._config.home / kind / key.replace("/", "_")

    def _replica(self, unit: Unit, number: int, changed: Callable[[], None]) -> Replica:
        logs = self._folder("logs", unit.key)
        folder = self._folder("run", unit.key) / str(number)
        recipe = Recipe(
            name=f"{unit.key}/{number}",
            command=lambda port: self._command(unit, port, folder),
            probes=probes(
                unit.container,
                health=unit.routes.health,
                probing=self._config.probing,
            ),
            log=LogFile(logs.with_name(f"{logs.name}_{number}.log")),
            changed=changed,
        )
        return Replica(
            recipe,
            processes=self._processes,
            probing=self._config.probing,
            client=self._client,
        )

    def _command(self, unit: Unit, port: int, folder: Path) -> Command:
        folder.mkdir(parents=True, exist_ok=True)
        extra = {
            "WEIGHTDROP_SERVING_HOST": "127.0.0.1",
            "WEIGHTDROP_SERVING_CACHE": str(self._config.home / "cache"),
        }
        if self._config.storage_endpoint:
            extra["WEIGHTDROP_STORAGE_ENDPOINT"] = self._config.storage_endpoint
        return containers.command(
            unit,
            port=port,
            project_number=self._config.project_number,
            extra=extra,
            cwd=folder,
        )


def _failed(message: str, log: LogFile) -> ApiError:
    tail = log.tail()
    shown = "\n".join(tail[-_MESSAGE_LINES:])
    return ApiError(
        "FAILED_PRECONDITION",
        f"{message} Model server logs can be found at {log.path}\n{shown}",
        details=[
            {"@type": _DEBUG_INFO, "stackEntries": tail, "detail": str(log.path)},
        ],
    )
