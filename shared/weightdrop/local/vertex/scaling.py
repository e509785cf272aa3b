"""How many replicas the load asks for, by the metrics that a deployment names.

Vertex AI's rule: each metric asks for as many replicas as would bring it to its
target, and the one that asks for most is heard.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weightdrop.local.vertex.config import Scaling
from weightdrop.local.vertex.faults import ApiError, invalid

JSON = dict[str, Any]
_ONLINE = "aiplatform.googleapis.com/prediction/online"
_VLLM = "prometheus.googleapis.com/vertex_vllm"
REQUESTS = f"{_ONLINE}/request_count"
BUSY = frozenset(
    {
        f"{_ONLINE}/cpu/utilization",
        f"{_ONLINE}/accelerator/duty_cycle",
        "prometheus.googleapis.com/vertex_dcgm_fi_dev_gpu_util",
    }
)
"""Percent of utilisation: here, of the time in which a replica has a request."""

OF_VLLM: Mapping[str, tuple[str, float]] = {
    f"{_VLLM}_num_requests_waiting": ("vllm:num_requests_waiting", 1.0),
    f"{_VLLM}_gpu_cache_usage_perc": ("vllm:kv_cache_usage_perc", 100.0),
}
"""Metric to vLLM's own name of it, and what makes it a target's unit."""

_NOT_HERE = "pubsub.googleapis.com/subscription/num_undelivered_messages"
_DEFAULT_TARGET = 60
_MINUTE = 60.0
_NUMBER = r"(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)"


def check_metrics(specs: Sequence[JSON]) -> None:
    """Raise ApiError for metrics that replicas do not follow, there or here."""
    for spec in specs:
        name = spec.get("metricName", "")
        if name == _NOT_HERE:
            raise ApiError("UNIMPLEMENTED", f"Replicas do not follow {name} here.")
        if name not in {REQUESTS, *BUSY, *OF_VLLM}:
            raise invalid(f'Replicas cannot follow the metric "{name}".')


def readings(text: str) -> dict[str, float]:
    """What one server's /metrics says of `OF_VLLM`, by our names and units."""
    found: dict[str, float] = {}
    for metric, (name, factor) in OF_VLLM.items():
        line = re.compile(rf"^{re.escape(name)}(?:{{.*}})? {_NUMBER}$", re.MULTILINE)
        values = [float(value) for value in line.findall(text)]
        if values:
            found[metric] = factor * sum(values)
    return found


@dataclass(slots=True)
class Meter:
    """The load of the last seconds.

    Attributes:
        window: How many seconds are looked at.
        served: The mean reading of `OF_VLLM` over the replicas.
    """

    window: float
    served: dict[str, float] = field(default_factory=dict)
    _asked: deque[float] = field(default_factory=deque)
    _busy: deque[tuple[float, float]] = field(default_factory=deque)

    def asked(self, now: float) -> None:
        """A request came."""
        self._asked.append(now)

    def sample(self, now: float, busy: float) -> None:
        """Note the share of replicas that have a request, and forget what is old."""
        self._busy.append((now, busy))
        while self._asked and now - self._asked[0] > self.window:
            self._asked.popleft()
        while now - self._busy[0][0] > self.window:
            self._busy.popleft()

    @property
    def per_minute(self) -> float:
        """Requests in a minute."""
        return len(self._asked) * _MINUTE / self.window

    @property
    def utilisation(self) -> float:
        """Percent of the time in which a replica had a request."""
        shares = [share for _, share in self._busy]
        return 100 * sum(shares) / len(shares) if shares else 0.0


def wanted(
    specs: Sequence[JSON],
    meter: Meter,
    *,
    count: int,
    in_flight: int,
    scaling: Scaling,
) -> int:
    """How many replicas the load asks for, without regard to bounds.

    Args:
        specs: The AutoscalingMetricSpecs; none means requests under way.
        meter: The load.
        count: How many replicas there are.
        in_flight: Requests under way.
        scaling: How replicas follow the load where no metric is named.
    """
    if not specs:
        return math.ceil(in_flight / scaling.requests_per_replica)
    return max(_asks(spec, meter, count) for spec in specs)


def _asks(spec: JSON, meter: Meter, count: int) -> int:
    name, target = spec["metricName"], spec.get("target") or _DEFAULT_TARGET
    if name == REQUESTS:
        return math.ceil(meter.per_minute / target)
    level = meter.utilisation if name in BUSY else meter.served.get(name, 0.0)
    return math.ceil(count * level / target)
