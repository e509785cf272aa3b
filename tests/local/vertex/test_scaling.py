"""Replicas follow the metrics that a deployment names."""

from __future__ import annotations

from typing import Any

import pytest

from local.vertex.running import Running, until
from weightdrop.local.vertex.config import Scaling
from weightdrop.local.vertex.faults import ApiError
from weightdrop.local.vertex.scaling import (
    OF_VLLM,
    REQUESTS,
    Meter,
    check_metrics,
    readings,
    wanted,
)

JSON = dict[str, Any]
DUTY = "aiplatform.googleapis.com/prediction/online/accelerator/duty_cycle"
WAITING, CACHE = OF_VLLM
SCALING = Scaling(requests_per_replica=4)


def _wanted(meter: Meter, *specs: JSON, count: int = 1, in_flight: int = 0) -> int:
    return wanted(specs, meter, count=count, in_flight=in_flight, scaling=SCALING)


def _spec(name: str, target: int) -> JSON:
    return {"metricName": name, "target": target}


@pytest.mark.parametrize(("in_flight", "replicas"), [(0, 0), (4, 1), (5, 2), (9, 3)])
def test_without_a_metric_requests_under_way_count(
    in_flight: int, replicas: int
) -> None:
    """Each replica should have no more than its share."""
    assert _wanted(Meter(window=10), in_flight=in_flight) == replicas


def test_requests_of_a_minute() -> None:
    """Ten in ten seconds are sixty a minute; old ones are forgotten."""
    meter = Meter(window=10)
    for second in range(10):
        meter.asked(second)
    meter.sample(10, 1.0)

    assert meter.per_minute == 60
    assert _wanted(meter, _spec(REQUESTS, 30)) == 2
    assert _wanted(meter, _spec(REQUESTS, 25)) == 3
    meter.sample(30, 0.0)
    assert meter.per_minute == 0


def test_utilisation_is_brought_to_its_target() -> None:
    """Two replicas that are busy ninety percent want a third at sixty."""
    meter = Meter(window=10)
    for tick in range(20):
        meter.sample(tick / 2, 0.0 if tick % 10 == 0 else 1.0)

    assert meter.utilisation == 90
    assert _wanted(meter, {"metricName": DUTY}, count=2) == 3
    assert _wanted(meter, _spec(DUTY, 90), count=2) == 2
    assert _wanted(Meter(window=10), _spec(DUTY, 60), count=2) == 0


def test_the_metric_that_asks_for_most_is_heard() -> None:
    """Of several metrics none is ignored."""
    meter = Meter(window=10, served={WAITING: 9.0, CACHE: 40.0})

    assert _wanted(meter, _spec(CACHE, 80), _spec(WAITING, 3)) == 3


def test_what_vllm_says_is_read() -> None:
    """Series of several engines add up; the rest of the page is passed over."""
    page = (
        "# HELP vllm:num_requests_waiting Number of requests waiting.\n"
        'vllm:num_requests_waiting{engine="0",model_name="m"} 3.0\n'
        'vllm:num_requests_waiting{engine="1",model_name="m"} 4.0\n'
        'vllm:num_requests_waiting_by_reason{reason="capacity"} 9.0\n'
        'vllm:kv_cache_usage_perc{engine="0"} 2.5e-1\n'
    )

    assert readings(page) == {WAITING: 7.0, CACHE: 25.0}
    assert readings("") == {}
    assert readings("vllm:kv_cache_usage_perc e\nvllm:num_requests_waiting NaN\n") == {}


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (
            "pubsub.googleapis.com/subscription/num_undelivered_messages",
            "UNIMPLEMENTED",
        ),
        ("compute.googleapis.com/moon/phase", "INVALID_ARGUMENT"),
        ("", "INVALID_ARGUMENT"),
    ],
)
def test_other_metrics_are_refused(name: str, status: str) -> None:
    """A metric that nothing follows is not kept as if something did."""
    with pytest.raises(ApiError) as refused:
        check_metrics([{"metricName": name}])

    assert refused.value.status == status
    check_metrics([_spec(name, 1) for name in (REQUESTS, DUTY, WAITING, CACHE)])


@pytest.mark.parametrize(
    ("metric", "args"), [(REQUESTS, ()), (WAITING, ("--waiting=5",))]
)
def test_a_deployment_follows_its_metric(
    vertex: Running, metric: str, args: tuple[str, ...]
) -> None:
    """A second replica comes when requests, or vLLM's own queue, are over target."""
    vertex.upload("m", *args)
    vertex.endpoint()
    specs = [_spec(metric, 4)]
    vertex.succeed(vertex.deploy(maxReplicaCount=2, autoscalingMetricSpecs=specs))
    assert vertex.ask().status_code == 200

    def replicas() -> int:
        vertex.ask()
        shown = vertex.call("GET", "/endpoints/e")["deployedModels"][0]
        return int(shown["status"]["availableReplicaCount"])

    until(lambda: replicas() == 2)
