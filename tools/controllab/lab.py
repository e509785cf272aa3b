"""Real functions, emulators of Firestore and Pub/Sub, and the local stand-ins."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from google.pubsub_v1 import SubscriberClient

from contracts import emulators
from weightdrop.adapters.pubsub import connection
from weightdrop.adapters.pubsub_topics import Topics
from weightdrop.bootstrap import App
from weightdrop.core.deployment.events import EVENTS_TOPIC
from weightdrop.local.supervisor.layout import UNWANTED, functions_source
from weightdrop.settings import load, variable

HOST = "127.0.0.1"
PROJECT = "local"
BUCKET = "models"
EVENTS_SUBSCRIPTION = "weightdrop-lab-events"
START_SECONDS = 120.0
FUNCTIONS = {
    "on_artifact": "cloudevent",
    "on_request": "cloudevent",
    "on_tick": "http",
    "status": "http",
}


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass
class Member:
    """One process that can be killed and started again.

    Attributes:
        argv: Its command line.
        environment: All of its environment.
        log: Where its output goes.
        port: Where it answers HTTP.
        deaths: How often it was killed.
    """

    argv: list[str]
    environment: Mapping[str, str]
    log: Path
    port: int
    deaths: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Start it in a session of its own."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.argv,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ready(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"{self.url}/robots.txt", trust_env=False, timeout=5)
                return
            time.sleep(0.05)
        said = self.log.read_text(errors="replace")[-2000:]
        raise TimeoutError(f"{self.argv} did not answer:\n{said}")

    def kill(self) -> None:
        """Kill it and its workers at once, as a machine that goes away does."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        self.deaths += 1


@dataclass
class Lab:
    """Everything, running.

    Attributes:
        home: Folder of its state.
        firestore: "host:port" of the emulator.
        pubsub: "host:port" of the emulator.
        settings: Further settings of the functions, by field.
        members: Its processes by name.
    """

    home: Path
    firestore: str
    pubsub: str
    settings: Mapping[str, str] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What every process is told."""
        told = {
            "backend": "cloud",
            "project": PROJECT,
            "region": "us-central1",
            "buckets": BUCKET,
            "serving_image": "weightdrop-serving:local",
            "firestore_endpoint": self.firestore,
            "pubsub_endpoint": self.pubsub,
            "storage_endpoint": self._url("bucket"),
            "vertex_endpoint": self._url("vertex"),
            **self.settings,
        }
        base = {name: it for name, it in os.environ.items() if name not in UNWANTED}
        named = {variable(name): text for name, text in told.items()}
        paths = {"XDG_RUNTIME_DIR": str(self.home), "no_proxy": HOST, "NO_PROXY": HOST}
        return base | named | paths | {"WORKERS": "1", "THREADS": "8"}

    def _url(self, name: str) -> str:
        return self.members[name].url if name in self.members else ""

    def app(self) -> App:
        """The application over the same ports, in this process."""
        return App(load(self.environment))

    def add(self, name: str, *argv: str, port: int, **extra: str) -> Member:
        """Start one more process."""
        member = Member(
            argv=[sys.executable, *argv],
            environment=self.environment | extra,
            log=self.home / f"{name}.log",
            port=port,
        )
        self.members[name] = member
        member.start()
        return member

    def bucket(self, *, port: int, notify: str = "") -> None:
        """Start the bucket server; its plain folder is `folder`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        more = ("--watch", BUCKET, "--notify", notify) if notify else ()
        self.add(
            "bucket",
            *("-m", "weightdrop.local.bucket", "--port", str(port)),
            *("--root", str(self.home / "buckets")),
            *("--state", str(self.home / "bucket.db"), *more),
            port=port,
        )

    @property
    def folder(self) -> Path:
        """The folder that is the watched bucket."""
        return self.home / "buckets" / BUCKET

    def function(self, name: str, *, port: int = 0) -> None:
        """Start one function under functions-framework."""
        port = port or free_port()
        runtime = self.home / "run" / name
        runtime.mkdir(parents=True, exist_ok=True)
        self.add(
            name,
            *("-m", "functions_framework", "--target", name),
            *("--signature-type", FUNCTIONS[name]),
            *("--source", str(functions_source()), "--host", HOST),
            *("--port", str(port)),
            port=port,
            XDG_RUNTIME_DIR=str(runtime),
        )

    def ready(self) -> None:
        """Wait until all answer."""
        for member in self.members.values():
            member.ready()

    def close(self) -> None:
        """Kill everything."""
        for member in self.members.values():
            member.kill()

    # ------------------------------------------------------------------ topics

    def topics(self, *, request_url: str = "") -> None:
        """Make the topics, and the subscriptions that keep events and letters.

        With `request_url`, requests are pushed to on_request there.
        """
        made = Topics(PROJECT, endpoint=self.pubsub)
        made.ensure(request_url=request_url)
        made.subscribe(EVENTS_SUBSCRIPTION, EVENTS_TOPIC)

    def pulled(self, subscription: str) -> Iterator[Any]:
        """What a subscription holds, acknowledged, until a pull brings nothing."""
        name = _path("subscriptions", subscription)
        with SubscriberClient(**connection(SubscriberClient, self.pubsub)) as reader:
            while True:
                try:
                    found = reader.pull(
                        subscription=name, max_messages=500, retry=None, timeout=3
                    ).received_messages
                except Exception as error:
                    if "Deadline" in type(error).__name__:
                        return
                    raise
                if not found:
                    return
                reader.acknowledge(
                    subscription=name, ack_ids=[it.ack_id for it in found]
                )
                yield from (it.message for it in found)


def _path(kind: str, name: str) -> str:
    return f"projects/{PROJECT}/{kind}/{name}"


@contextlib.contextmanager
def lab(home: Path, **settings: str) -> Iterator[Lab]:
    """Emulators with topics; the rest is started by whoever needs it."""
    with emulators.firestore() as firestore, emulators.pubsub() as pubsub:
        made = Lab(home=home, firestore=firestore, pubsub=pubsub, settings=settings)
        made.topics()
        try:
            yield made
        finally:
            made.close()


class Ticker:
    """Posts a tick every so often, never two at a time, until it is stopped."""

    def __init__(self, url: str, *, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            with contextlib.suppress(httpx.HTTPError):
                httpx.post(self._url, json={}, timeout=120, trust_env=False)
