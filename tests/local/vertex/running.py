"""A running stand-in, what to upload to it, and what to expect."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

JSON = dict[str, Any]
CONTAINER = Path(__file__).with_name("container.py")
PATIENCE = 60.0


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tiny_image(home: Path) -> dict[str, str]:
    """An environment in which our image's entry point is the tiny container."""
    package = home / "image" / "weightdrop_serving"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(CONTAINER, package / "__main__.py")
    return {"PYTHONPATH": str(home / "image")}


class Running:
    """A stand-in process and a client for it."""

    def __init__(
        self, home: Path, *options: str, env: dict[str, str] | None = None
    ) -> None:
        self.home = home
        self.env = {**os.environ, **(env or {})}
        self.port = free_port()
        self.options = options
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE)
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process and wait until it answers."""
        command = [sys.executable, "-m", "weightdrop.local.vertex"]
        command += ["--home", str(self.home), "--port", str(self.port)]
        command += ["--probe-seconds", "0.05", *self.options]
        self.process = subprocess.Popen(command, env=self.env)
        until(self.answers)
        return self.process

    def answers(self) -> bool:
        """Whether it is up."""
        if self.process.poll() is not None:
            pytest.fail(f"the stand-in ended: {self.process.returncode}")
        try:
            return self.client.get("/").status_code == 200
        except httpx.TransportError:
            return False

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process."""
        self.process.send_signal(how)
        self.process.wait(timeout=PATIENCE)

    def close(self) -> None:
        """End everything."""
        if self.process.poll() is None:
            self.end()
        self.client.close()

    def path(self, rest: str, version: str = "v1") -> str:
        """A path below the location."""
        return f"/{version}/projects/local/locations/us-central1{rest}"

    def call(self, method: str, rest: str, body: JSON | None = None) -> JSON:
        """Call the API; the answer must be good."""
        answer = self.client.request(method, self.path(rest), json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def refused(self, method: str, rest: str, body: JSON | None = None) -> JSON:
        """Call the API; gives the error of the answer."""
        answer = self.client.request(method, self.path(rest), json=body)
        assert answer.status_code >= 400, answer.text
        error = answer.json()["error"]
        assert error["code"] == answer.status_code
        return dict(error)

    def operation(self, name: str) -> JSON:
        """An operation as it is now."""
        return dict(self.client.get(f"/ui/{name}").json())

    def finish(self, operation: JSON) -> JSON:
        """The operation when it is done."""
        until(lambda: self.operation(operation["name"])["done"])
        return self.operation(operation["name"])

    def succeed(self, operation: JSON) -> JSON:
        """The response of an operation that must succeed."""
        done = self.finish(operation)
        assert "error" not in done, json.dumps(done["error"], indent=1)
        return dict(done["response"])

    def upload(self, name: str = "m", *args: str, **container: Any) -> JSON:
        """Upload a model whose container is the tiny one."""
        spec = {
            "imageUri": "example/image:1",
            "command": [sys.executable, str(CONTAINER)],
            "args": list(args),
            **container,
        }
        body = {
            "modelId": name,
            "model": {"displayName": f"Model {name}", "containerSpec": spec},
        }
        return self.succeed(self.call("POST", "/models:upload", body))

    def endpoint(self, name: str = "e", **fields: Any) -> JSON:
        """Create an endpoint."""
        body = {
            "displayName": f"Endpoint {name}",
            "dedicatedEndpointEnabled": True,
            **fields,
        }
        rest = f"/endpoints?endpointId={name}"
        return self.succeed(self.call("POST", rest, body))

    def deploy(self, deployed_id: str = "1", **changes: Any) -> JSON:
        """Start to deploy model `m` on endpoint `e`; gives the operation."""
        traffic = changes.pop("traffic", {"0": 100})
        model = changes.pop("model", "m")
        endpoint = changes.pop("endpoint", "e")
        resources = {
            "machineSpec": {
                "machineType": "g2-standard-8",
                "acceleratorType": "NVIDIA_L4",
                "acceleratorCount": 1,
            },
            "minReplicaCount": 1,
            "maxReplicaCount": 1,
            **changes,
        }
        body = {
            "deployedModel": {
                "id": deployed_id,
                "model": self.path(f"/models/{model}")[4:],
                "dedicatedResources": resources,
            },
            "trafficSplit": traffic,
        }
        return self.call("POST", f"/endpoints/{endpoint}:deployModel", body)

    def ready(self, *args: str) -> None:
        """Upload, create and deploy, so that endpoint `e` answers."""
        self.upload("m", *args)
        self.endpoint("e")
        self.succeed(self.deploy())

    def ask(self, endpoint: str = "e", **body: Any) -> httpx.Response:
        """A raw prediction."""
        url = self.path(f"/endpoints/{endpoint}:rawPredict")
        return self.client.post(url, json={"prompt": "hi", **body})


def until(holds: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
