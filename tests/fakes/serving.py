"""Starts the serving container's entry point as the platform would."""

from __future__ import annotations

import contextlib
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
from typing import Any

import httpx

from fakes.ends import UNHEALTHY_SECONDS, End
from weightdrop_serving import kinship


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Container:
    """A running entry point.

    Attributes:
        process: The supervisor.
        port: Where it listens.
        log: Its output.
        scratch: Where its folder of weights is.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    scratch: Path

    @property
    def url(self) -> str:
        """Base of its addresses."""
        return f"http://127.0.0.1:{self.port}"

    def health(self) -> int:
        """Status of the health route; 0 if nobody accepts."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/vertex/health", timeout=3).status_code
        return 0

    def until_health(self, status: int, *, seconds: float) -> float:
        """Wait until health says `status`; how long that took."""
        started = time.monotonic()
        while self.health() != status:
            waited = time.monotonic() - started
            ended = self.process.poll()
            if waited > seconds or (ended is not None and status):
                raise AssertionError(
                    f"no {status} after {waited:.0f} s (exit {ended}):\n{self.tail()}"
                )
            time.sleep(0.1)
        return time.monotonic() - started

    def predict(self, body: object, **options: Any) -> httpx.Response:
        """Ask the predict route."""
        url = f"{self.url}/vertex/predict"
        return httpx.post(url, json=body, timeout=60, **options)

    def wait(self, *, seconds: float) -> int:
        """Wait for the end; the exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still there:\n{self.tail()}") from error

    def events(self) -> list[dict[str, Any]]:
        """The structured lines of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = []
        for line in lines:
            start = line.find('{"severity"')
            if start >= 0:
                found.append(json.loads(line[start:]))
        return found

    def until_said(self, words: str, *, seconds: float) -> None:
        """Wait until a structured line has `words` in its message."""
        deadline = time.monotonic() + seconds
        while not any(words in event["message"] for event in self.events()):
            assert time.monotonic() < deadline, f"no {words!r}:\n{self.tail()}"
            time.sleep(0.05)

    def event(self, name: str) -> dict[str, Any]:
        """The last line of this name."""
        return next(e for e in reversed(self.events()) if e["event"] == name)

    def tail(self) -> str:
        """The end of the log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def engine(self) -> int:
        """Process id of vLLM's server."""
        return int(next(e["pid"] for e in self.events() if "pid" in e))

    def core(self) -> int:
        """Process id of the engine behind the server."""
        return self.member("EngineCore")

    def member(self, title: str) -> int:
        """Process id of the one of vLLM's processes that bears `title`."""
        found = self.find(title)
        assert found, f"no {title}:\n{self.tail()}"
        return found

    def find(self, title: str) -> int:
        """The same; 0 as long as there is none."""
        for member in kinship.group_members(self.engine()):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{member}/cmdline").read_bytes()
                if title.encode() in command:
                    return member
        return 0

    def leftovers(self) -> list[str]:
        """Processes and folders that are still there; none, once it is gone."""
        groups = [event["pid"] for event in self.events() if "pid" in event]
        processes = [
            f"process {member}"
            for group in groups
            for member in kinship.group_members(group)
        ]
        return processes + [str(path) for path in self.scratch.iterdir()]

    def ended(self, end: End, *, later: float = 0.0) -> None:
        """Watch it end in this way, its cause just given.

        Health must not stay good for long, the status and the last line of the log
        must say why, and nothing may be left.

        Args:
            end: How it ends.
            later: Seconds by which a setting puts the end off.
        """
        began = time.monotonic()
        while self.process.poll() is None:
            waited = time.monotonic() - began
            assert waited < end.seconds + later, f"still there:\n{self.tail()}"
            healthy = self.health() == 200
            assert not (healthy and waited > UNHEALTHY_SECONDS + later), self.tail()
            time.sleep(0.05)
        assert self.process.returncode == end.status, self.tail()
        last = self.events()[-1]
        if end.says:
            word = "failed" if end.status else "stopped"
            assert (last["event"], last["status"]) == (word, end.status)
            assert end.says in last["message"]
        else:
            assert last["event"] != "failed"
        self.until_clean(seconds=10)

    def until_clean(self, *, seconds: float) -> None:
        """Wait until nothing is left."""
        deadline = time.monotonic() + seconds
        while left := self.leftovers():
            if time.monotonic() > deadline:
                raise AssertionError(f"left behind: {left}\n{self.tail()}")
            time.sleep(0.05)


@contextlib.contextmanager
def container(
    folder: Path,
    uri: str,
    *words: str,
    env: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
) -> Iterator[Container]:
    """The entry point serving `uri`, its files below `folder`.

    Args:
        folder: Where its log and its scratch folder go.
        uri: The model.
        *words: vLLM's arguments.
        env: More variables.
        under: A command that becomes the entry point, such as `prlimit`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "scratch"
    scratch.mkdir()
    port = free_port()
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    own |= {
        "AIP_HTTP_PORT": str(port),
        "AIP_STORAGE_URI": uri,
        "WEIGHTDROP_SERVING_HOST": "127.0.0.1",
        "WEIGHTDROP_SERVING_SCRATCH": str(scratch),
        **(env or {}),
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(*under, sys.executable, "-m", "weightdrop_serving"),
                *("--served-model-name", "tiny", *words),
            ],
            env=own,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    running = Container(process, port, log, scratch)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
        process.kill()
        process.wait()
