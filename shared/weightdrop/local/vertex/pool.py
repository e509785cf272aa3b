"""The replicas of one deployed model: as many as the load asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from weightdrop.local.vertex.config import Scaling
from weightdrop.local.vertex.containers import Unit
from weightdrop.local.vertex.replica import Replica
from weightdrop.local.vertex.scaling import OF_VLLM, Meter, wanted
from weightdrop.local.vertex.schema import seconds
from weightdrop.local.vertex.store import now

_TICK_SECONDS = 0.5
_HOUR = "3600s"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many replicas there may be.

    Attributes:
        low: Kept at all times; 0 lets an idle model sleep.
        high: Never more.
        idle_seconds: Without a request before the last replica goes.
    """

    low: int
    high: int
    idle_seconds: float


def bounds(resources: dict[str, object], *, idle_factor: float) -> Bounds:
    """The bounds that DedicatedResources ask for."""
    low = int(str(resources.get("minReplicaCount", 1)))
    high = int(str(resources.get("maxReplicaCount", 0))) or max(low, 1)
    sleep = resources.get("scaleToZeroSpec")
    period = sleep.get("idleScaledownPeriod", _HOUR) if isinstance(sleep, dict) else ""
    return Bounds(
        low=low,
        high=max(low, high),
        idle_seconds=seconds(period or _HOUR) / idle_factor,
    )


class Pool:
    """Keeps between `low` and `high` replicas and hands out the least busy one.

    Args:
        unit: What is deployed.
        limits: How many replicas there may be.
        scaling: How they follow the load.
        make: Makes a replica of a number, telling when its readiness changes.
        read: What a replica's own metrics say.
    """

    def __init__(
        self,
        unit: Unit,
        *,
        limits: Bounds,
        scaling: Scaling,
        make: Callable[[int, Callable[[], None]], Replica],
        read: Callable[[Replica], Awaitable[dict[str, float]]],
    ) -> None:
        self.unit = unit
        self.limits = limits
        self._scaling = scaling
        self._make = make
        self._read = read
        self._meter = Meter(window=scaling.window_seconds)
        self._changed = asyncio.Event()
        self.updated = now()
        self._replicas: dict[int, Replica] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._last_request = self._now()
        self._busy_since = 0.0
        self._spare_since = 0.0
        self._grow(max(limits.low, 1))
        self._task = asyncio.create_task(self._scale(), name=f"scale {unit.key}")

    @property
    def replicas(self) -> list[Replica]:
        """The replicas there are."""
        return list(self._replicas.values())

    @property
    def available(self) -> int:
        """How many replicas answer."""
        return sum(replica.ready for replica in self._replicas.values())

    @property
    def asleep(self) -> bool:
        """Whether it scaled to zero, or is only waking up from there."""
        return self.limits.low == 0 and self.available == 0

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return sum(replica.in_flight for replica in self._replicas.values())

    def pick(self) -> Replica | None:
        """The ready replica with the fewest requests; wakes a sleeping pool."""
        self._last_request = self._now()
        self._meter.asked(self._last_request)
        if not self._replicas:
            self._grow(1)
        ready = [item for item in self._replicas.values() if item.ready]
        return min(ready, key=lambda item: item.in_flight, default=None)

    async def changed(self, timeout: float) -> None:  # noqa: ASYNC109
        """Return when a replica's readiness changed, or after `timeout` seconds."""
        waiter = asyncio.ensure_future(self._changed.wait())
        await asyncio.wait([waiter], timeout=timeout)
        waiter.cancel()
        self._changed.clear()

    async def stop(self) -> None:
        """Stop all replicas, side by side."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        replicas, self._replicas = self.replicas, {}
        await asyncio.gather(*(item.stop() for item in replicas), *self._stopping)

    @property
    def trouble(self) -> str:
        """What is wrong with replicas that do not answer; empty if nothing is."""
        ends = [r.last_exit for r in self._replicas.values() if r.exits]
        return f"Model server exited unexpectedly ({ends[0]})." if ends else ""

    def _note(self) -> None:
        self.updated = now()
        self._changed.set()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _grow(self, count: int) -> None:
        while len(self._replicas) < count:
            number = next(
                number for number in range(count) if number not in self._replicas
            )
            self._replicas[number] = self._make(number, self._note)

    def _shrink(self) -> None:
        idle = min(self._replicas, key=lambda key: self._replicas[key].in_flight)
        if self._replicas[idle].in_flight:
            return
        task = asyncio.create_task(self._replicas.pop(idle).stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _scale(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            await self._measure()
            self.adjust()

    @property
    def _metrics(self) -> list[dict[str, object]]:
        found = self.unit.resources.get("autoscalingMetricSpecs", [])
        return list(found)

    async def _measure(self) -> None:
        replicas = self.replicas
        busy = sum(replica.in_flight > 0 for replica in replicas)
        self._meter.sample(self._now(), busy / max(len(replicas), 1))
        if any(spec.get("metricName") in OF_VLLM for spec in self._metrics):
            ready = [replica for replica in replicas if replica.ready]
            said = await asyncio.gather(*(self._read(replica) for replica in ready))
            self._meter.served = {
                name: sum(one.get(name, 0.0) for one in said) / len(said)
                for name in OF_VLLM
                if said
            }

    def adjust(self) -> None:
        """Add or remove one replica where load and bounds ask for it."""
        time, count = self._now(), len(self._replicas)
        asked = wanted(
            self._metrics,
            self._meter,
            count=count,
            in_flight=self.in_flight,
            scaling=self._scaling,
        )
        goal = min(max(asked, self.limits.low), self.limits.high)
        if count < self.limits.low:
            self._grow(self.limits.low)
        self._busy_since = (self._busy_since or time) if goal > count else 0.0
        self._spare_since = (self._spare_since or time) if goal < count else 0.0
        if self._busy_since and time - self._busy_since >= self._scaling.up_seconds:
            self._grow(count + 1)
            self._busy_since = 0.0
        elif self._spare_since and self._may_go(time, count):
            self._shrink()
            self._spare_since = 0.0

    def _may_go(self, time: float, count: int) -> bool:
        if count > self.limits.high:
            return True
        if count == 1:
            return time - self._last_request >= self.limits.idle_seconds
        return time - self._spare_since >= self._scaling.down_seconds
