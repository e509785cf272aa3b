"""The probes that a containerSpec asks for, and Vertex AI's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.vertex.running import Running, until

JSON = dict[str, Any]


def _exec(script: str, **timing: int) -> JSON:
    command = ["sh", "-c", script]
    return {"exec": {"command": command}, "periodSeconds": 1, **timing}


def _folder(vertex: Running) -> Path:
    """The working folder of the one replica."""
    return next((vertex.home / "run").glob("*/0"))


def test_a_startup_probe_is_waited_for(vertex: Running) -> None:
    """An exec probe runs in the server's environment until it succeeds."""
    count = "echo $AIP_HTTP_PORT $NAME >> tries; test $(wc -l < tries) -ge 3"
    vertex.upload(
        "m",
        env=[{"name": "NAME", "value": "Ada"}],
        startupProbe=_exec(count, failureThreshold=5),
    )
    vertex.endpoint()

    vertex.succeed(vertex.deploy())

    port = vertex.ask().json()["env"]["AIP_HTTP_PORT"]
    tries = (_folder(vertex) / "tries").read_text().splitlines()
    assert tries == [f"{port} Ada"] * 3


def test_a_startup_probe_that_never_succeeds_ends_it(vertex: Running) -> None:
    """The server is started again, as often as a dead one, and then it failed."""
    vertex.upload("m", startupProbe=_exec("exit 1", failureThreshold=1))
    vertex.endpoint()

    done = vertex.finish(vertex.deploy())

    assert "(its startup probe failed 1 times)" in done["error"]["message"]


def test_a_health_probe_replaces_the_health_route(vertex: Running) -> None:
    """A server whose route says no is given requests when its probe says yes."""
    get = {"path": "/elsewhere", "port": 8080}
    probe = {"httpGet": get, "timeoutSeconds": 5, "periodSeconds": 1}
    vertex.upload("m", "--never-healthy", healthProbe=probe)
    vertex.endpoint()

    vertex.succeed(vertex.deploy())

    assert vertex.ask().status_code == 200


def test_a_liveness_probe_that_fails_restarts(vertex: Running) -> None:
    """As many bad tries as the threshold says, and the server is another one."""
    sick = _exec("test ! -e sick", failureThreshold=2)
    vertex.upload("m", livenessProbe=sick)
    vertex.endpoint()
    vertex.succeed(vertex.deploy())
    first = vertex.ask().json()["pid"]

    (_folder(vertex) / "sick").touch()
    until(lambda: vertex.ask().status_code != 200)
    (_folder(vertex) / "sick").unlink()
    until(lambda: vertex.ask().status_code == 200)

    assert vertex.ask().json()["pid"] != first


def test_a_port_that_never_opens_is_no_life(make: Callable[..., Running]) -> None:
    """Vertex AI's own liveness check: four connections refused, and it restarts."""
    vertex = make("--liveness-seconds", "0.1")
    vertex.upload("m", command=[sys.executable, "-c", "import time; time.sleep(600)"])
    vertex.endpoint()

    done = vertex.finish(vertex.deploy())

    assert "(its liveness probe failed 4 times)" in done["error"]["message"]


@pytest.mark.parametrize("name", ["startupProbe", "healthProbe", "livenessProbe"])
def test_grpc_probes_are_refused(vertex: Running, name: str) -> None:
    """What is not run here is not kept as if it were."""
    spec = {"imageUri": "i", name: {"grpc": {"port": 8080}}}
    body = {"model": {"displayName": "d", "containerSpec": spec}}

    refused = vertex.refused("POST", "/models:upload", body)

    assert refused["status"] == "UNIMPLEMENTED"
    assert name in refused["message"]
