"""What the Vertex route costs, against vLLM asked directly and behind a proxy.

One server answers all: ours on its port, vLLM itself on the Unix socket it listens on
inside the container, and a proxy of FastAPI and httpx in front of vLLM's own route.
Requests alternate, so that noise of the machine meets all alike.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from weightdrop.local.tiny_model import make_tiny_llama

_PROXY: Final = """
import sys
import fastapi, httpx, uvicorn
app = fastapi.FastAPI()
client = httpx.AsyncClient(
    transport=httpx.AsyncHTTPTransport(uds=sys.argv[2]), base_url="http://vllm")
@app.post("/predict")
async def predict(request: fastapi.Request):
    body = await request.json()
    answers = [
        (await client.post("/v1/completions", json=one)).json()
        for one in body["instances"]]
    return {"predictions": [a["choices"][0]["text"] for a in answers]}
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""
_ROUND: Final = 16
_LONGEST_ADDED_MS: Final = 0.5
_SMALLEST_THROUGHPUT: Final = 0.95
_LARGEST_BATCH_FACTOR: Final = 1.3


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("vllm", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


Connect = Callable[[], http.client.HTTPConnection]


class Client:
    """A keep-alive client of one way.

    Args:
        connect: Makes a connection.
        path: Where requests go.
        wrap: Whether the way wants instances.
    """

    def __init__(self, connect: Connect, path: str, *, wrap: bool) -> None:
        self._connection = connect()
        self._path = path
        self._wrap = wrap

    def ask(self, *prompts: str, tokens: int = 1) -> float:
        """Seconds for one request."""
        bodies = [
            {"prompt": p, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
            for p in prompts
        ]
        body = json.dumps({"instances": bodies} if self._wrap else bodies[0])
        headers = {"content-type": "application/json"}
        began = time.perf_counter()
        self._connection.request("POST", self._path, body=body, headers=headers)
        response = self._connection.getresponse()
        content = response.read()
        seconds = time.perf_counter() - began
        if response.status != 200:  # noqa: PLR2004  # HTTP's own number
            raise RuntimeError(f"{self._path}: {response.status} {content[:200]!r}")
        return seconds


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, path: str) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            if connection.getresponse().status in (200, 405):
                return
        time.sleep(0.1)
    raise RuntimeError(f"nothing answers on port {port}")


@contextlib.contextmanager
def _servers(base: Path) -> Iterator[dict[str, Callable[[], Client]]]:
    make_tiny_llama(base / "model")
    port, proxy_port = _port(), _port()
    scratch = base / "scratch"
    variables = {
        **os.environ,
        "AIP_HTTP_PORT": str(port),
        "AIP_STORAGE_URI": str(base / "model"),
        "WEIGHTDROP_SERVING_HOST": "127.0.0.1",
        "WEIGHTDROP_SERVING_SCRATCH": str(scratch),
    }
    command = [sys.executable, "-m", "weightdrop_serving", "--served-model-name", "m"]
    with (base / "log").open("wb") as log, contextlib.ExitStack() as stack:
        server = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        stack.callback(server.wait)
        stack.callback(server.send_signal, signal.SIGTERM)
        _wait(port, "/vertex/health")
        unix = str(next(scratch.glob("weightdrop-serving-*")) / "vllm.sock")
        proxy = subprocess.Popen(
            [sys.executable, "-c", _PROXY, str(proxy_port), unix],
            stdout=log,
            stderr=log,
        )
        stack.callback(proxy.wait)
        stack.callback(proxy.kill)
        _wait(proxy_port, "/predict")
        yield {
            "direct": lambda: Client(
                lambda: _Unix(unix), "/v1/completions", wrap=False
            ),
            "weightdrop": lambda: Client(
                lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=60),
                "/vertex/predict",
                wrap=True,
            ),
            "proxy": lambda: Client(
                lambda: http.client.HTTPConnection("127.0.0.1", proxy_port, timeout=60),
                "/predict",
                wrap=True,
            ),
        }


def _latency(
    make: dict[str, Callable[[], Client]], count: int
) -> dict[str, list[float]]:
    clients = {name: factory() for name, factory in make.items()}
    found: dict[str, list[float]] = {name: [] for name in make}
    order = random.Random(0)  # noqa: S311  # an order, not a secret
    for number in range(count + 20):
        for name in order.sample(sorted(clients), len(clients)):
            seconds = clients[name].ask(f"What is {number}?")
            if number >= 20:  # noqa: PLR2004  # the first ones warm up
                found[name].append(seconds)
    return found


def _throughput(
    make: dict[str, Callable[[], Client]], count: int, rounds: int
) -> dict[str, list[float]]:
    """Requests per second with 16 at a time."""
    found: dict[str, list[float]] = {name: [] for name in make}
    order = random.Random(1)  # noqa: S311
    with concurrent.futures.ThreadPoolExecutor(_ROUND) as pool:
        for number in range(rounds + 1):
            for name in order.sample(sorted(make), len(make)):

                def work(client: Client) -> None:
                    for each in range(count // _ROUND):
                        client.ask(f"What is {each}?")

                clients = [make[name]() for _ in range(_ROUND)]
                for client in clients:
                    client.ask("Hello")  # connects, which is not to be measured
                began = time.perf_counter()
                list(pool.map(work, clients))
                if number:
                    seconds = time.perf_counter() - began
                    found[name].append(count / seconds)
    return found


def _batches(
    make: dict[str, Callable[[], Client]], rounds: int
) -> dict[str, list[float]]:
    """Seconds for 16 answers of 16 tokens: one request, or 16 at the same time."""
    prompts = [f"What is {n}?" for n in range(_ROUND)]
    found: dict[str, list[float]] = {"direct": [], "weightdrop": []}
    with concurrent.futures.ThreadPoolExecutor(_ROUND) as pool:
        for number in range(rounds + 2):
            direct = [make["direct"]() for _ in range(_ROUND)]
            ours = make["weightdrop"]()
            for client in (ours, *direct):
                client.ask("Hello")
            began = time.perf_counter()
            list(pool.map(lambda c, p: c.ask(p, tokens=16), direct, prompts))
            seconds = time.perf_counter() - began
            own = ours.ask(*prompts, tokens=16)
            if number > 1:
                found["direct"].append(seconds)
                found["weightdrop"].append(own)
    return found


def main() -> int:
    """Run the measurement and print one JSON document; 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=9)
    words = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        _servers(Path(folder)) as make,
    ):
        latency = _latency(make, words.count)
        throughput = _throughput(make, words.count, words.rounds)
        batches = _batches(make, 3 * words.rounds)
    added = {
        name: 1000
        * statistics.median(
            own - direct
            for own, direct in zip(latency[name], latency["direct"], strict=True)
        )
        for name in ("weightdrop", "proxy")
    }
    share = {
        name: statistics.median(
            own / direct
            for own, direct in zip(throughput[name], throughput["direct"], strict=True)
        )
        for name in ("weightdrop", "proxy")
    }
    factor = statistics.median(batches["weightdrop"]) / statistics.median(
        batches["direct"]
    )
    report = {
        "median_ms": {n: 1000 * statistics.median(v) for n, v in latency.items()},
        "added_ms": added,
        "requests_per_second": {n: statistics.median(v) for n, v in throughput.items()},
        "share_of_direct": share,
        "batch_of_16_factor": factor,
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return int(
        added["weightdrop"] > _LONGEST_ADDED_MS
        or share["weightdrop"] < _SMALLEST_THROUGHPUT
        or factor > _LARGEST_BATCH_FACTOR
    )


if __name__ == "__main__":
    sys.exit(main())
