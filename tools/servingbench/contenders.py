"""The servers whose routes are compared, each a process of its own on loopback TCP.

All run vLLM with the same arguments and the same environment: `direct` is vLLM's own
server without plugins, `weightdrop` the container's entry point, `proxy` FastAPI and
httpx in front of `direct`, as people write it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weightdrop_serving import arguments, environment, machine, vllm_variables

_PROXY: Final = """
import sys
import fastapi, httpx, uvicorn
app = fastapi.FastAPI()
client = httpx.AsyncClient(base_url="http://127.0.0.1:" + sys.argv[2], timeout=60)
@app.post("/predict")
async def predict(request: fastapi.Request):
    body = await request.json()
    answers = [
        (await client.post("/v1/completions", json=one)).json()
        for one in body["instances"]]
    return {"predictions": [a["choices"][0]["text"] for a in answers]}
uvicorn.run(
    app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
"""
_WORDS: Final = ("--served-model-name", "m")
# Asks Linux for the matrix registers that the CPU build uses unasked, and dies
# without; it changes nothing else in a server whose weights are there.
_MATRIX_PLUGIN: Final = "weightdrop_loader"
_LONGEST_START: Final = 240.0
_REQUEST_SECONDS: Final = 60.0


class Client:
    """A keep-alive connection to one contender.

    Args:
        port: Where it listens on loopback.
        path: Where requests go.
        wrap: Whether it wants instances.
    """

    def __init__(self, port: int, path: str, *, wrap: bool) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=_REQUEST_SECONDS
        )
        self._path = path
        self._wrap = wrap

    def ask(self, *prompts: str, tokens: int = 1) -> float:
        """Seconds for one request.

        Raises:
            RuntimeError: If the answer is an error.
        """
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

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Contender:
    """One server and how to ask it."""

    port: int
    path: str
    wrap: bool

    def client(self) -> Client:
        """A connection that has been used once."""
        made = Client(self.port, self.path, wrap=self.wrap)
        made.ask("Hello")
        return made


@contextlib.contextmanager
def servers(
    model: Path, base: Path, *, ours_first: bool
) -> Iterator[dict[str, Contender]]:
    """All contenders, ready, serving `model`.

    Args:
        model: Folder of the model.
        base: An empty folder for their files.
        ours_first: Which one starts first; on a larger model the second one is
            faster by some per cent, whichever it is.

    Raises:
        RuntimeError: If one of them does not start.
    """
    ours, direct, proxy = _port(), _port(), _port()
    variables = {
        **os.environ,
        "AIP_HTTP_PORT": str(ours),
        "AIP_STORAGE_URI": str(model),
        "WEIGHTDROP_SERVING_HOST": "127.0.0.1",
        "WEIGHTDROP_SERVING_SCRATCH": str(base / "scratch"),
    }
    vllm = (sys.executable, "-m", "vllm.entrypoints.openai.api_server")
    alone = (*vllm, *_vllm_words(model, direct))
    told = _vllm_environment(variables, base)
    entry_point = (sys.executable, "-m", "weightdrop_serving", *_WORDS)
    between = (sys.executable, "-c", _PROXY, str(proxy), str(direct))
    starts = [
        (entry_point, variables, base / "ours.log", ours, "/vertex/health"),
        (alone, told, base / "vllm.log", direct, "/health"),
    ]
    if not ours_first:
        starts.reverse()
    with (
        process(*starts[0]),
        process(*starts[1]),
        process(between, variables, base / "proxy.log", proxy, "/predict"),
    ):
        yield {
            "direct": Contender(direct, "/v1/completions", wrap=False),
            "weightdrop": Contender(ours, "/vertex/predict", wrap=True),
            "proxy": Contender(proxy, "/predict", wrap=True),
        }


def _vllm_words(model: Path, port: int) -> list[str]:
    """The arguments that the container would give vLLM, but for where it listens."""
    built = arguments.build(
        (*_WORDS, "--load-format", "auto"),
        model=str(model),
        socket="",
        machine=machine.observe(accelerator_expected=False),
    )
    words = list(built.words)
    at = words.index("--uds")
    words[at : at + 2] = ["--host", "127.0.0.1", "--port", str(port)]
    return words


def _vllm_environment(own: Mapping[str, str], base: Path) -> dict[str, str]:
    settings = environment.load(own)
    told = vllm_variables.for_engine(settings, base, gpu=False)
    return {**own, **told, "VLLM_PLUGINS": _MATRIX_PLUGIN}


@contextlib.contextmanager
def process(
    command: Sequence[str],
    variables: Mapping[str, str],
    log: Path,
    port: int,
    path: str,
) -> Iterator[None]:
    """A server that answers `path` on `port`; it and its children end with this."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=variables,
            cwd=log.parent,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait(process, log, port, path)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, port: int, path: str) -> None:
    deadline = time.monotonic() + _LONGEST_START
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            if connection.getresponse().status in (200, 405):
                return
        time.sleep(0.1)
    tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
    raise RuntimeError(f"nothing answers {path} on port {port}:\n{tail}")


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
