"""Which processes the local stack has, on which ports, with which environment."""

from __future__ import annotations

import importlib.resources
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weightdrop.local import emulators
from weightdrop.settings import variable

HOST = "127.0.0.1"
"""Nothing of the local stack binds anything else."""

DEFAULT_PORT = 8470
DEFAULT_BUCKET = "models"
PROJECT = "local"
REGION = "us-central1"
PORTS = ("status", "bucket", "vertex", "on_artifact", "on_request", "on_tick")
"""Processes that listen, in the order of their ports from the base port on."""
EMULATORS = ("firestore", "pubsub")
"""The further ones of a stack on Google's emulators."""
EMULATED = "emulated"
"""Folder in the home of what must be forgotten when the emulators forget."""

MARKER = "WEIGHTDROP_STACK"
"""Environment variable that every process of a stack inherits: its home."""

TICK_SECONDS = 1

SERVING_IMAGE = "weightdrop-serving:local"
"""Vertex AI asks for an image; the stand-in runs this checkout's code instead."""

_SIGNATURES = {
    "status": "http",
    "on_artifact": "cloudevent",
    "on_request": "cloudevent",
    "on_tick": "http",
}

UNWANTED = (
    "DEBUG",
    "FUNCTION_SIGNATURE_TYPE",
    "FUNCTION_SOURCE",
    "FUNCTION_TARGET",
    "FUNCTION_USE_ASGI",
    "HOST",
    "PORT",
    "GUNICORN_LOG_LEVEL",
    "CLOUD_RUN_TIMEOUT_SECONDS",
)
"""Variables by which functions-framework would start otherwise than we ask it to."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one local stack lives.

    Attributes:
        home: Absolute folder of its state.
        port: First of its consecutive ports.
        bucket: The watched bucket.
        emulators: Whether records and messages are on Google's emulators.
    """

    home: Path
    port: int
    bucket: str
    emulators: bool = False

    @property
    def listeners(self) -> tuple[str, ...]:
        """Processes that listen, in the order of their ports."""
        return PORTS + EMULATORS if self.emulators else PORTS

    @property
    def state(self) -> Path:
        """Folder of what the stand-ins know: as lasting as the records are."""
        return self.home / EMULATED if self.emulators else self.home

    def port_of(self, name: str) -> int | None:
        """The port `name` listens on; None if it does not listen."""
        return (
            self.port + self.listeners.index(name) if name in self.listeners else None
        )

    def address(self, name: str) -> str:
        """Host and port of a process that listens."""
        return f"{HOST}:{self.port_of(name)}"

    def url(self, name: str) -> str:
        """The base URL of a process that listens."""
        return f"http://{self.address(name)}"

    @property
    def urls(self) -> dict[str, str]:
        """All base URLs by process."""
        return {name: self.url(name) for name in self.listeners}

    @property
    def folder(self) -> Path:
        """The folder that is the watched bucket."""
        return self.home / "buckets" / self.bucket

    @property
    def base_url(self) -> str:
        """What the URLs of Vertex AI's endpoints begin with."""
        return f"{self.url('vertex')}/v1beta1/projects/{PROJECT}/locations/{REGION}"


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the stack.

    Attributes:
        name: As in logs and stack.json.
        title: For a person.
        argv: Command line.
        port: Where it answers HTTP; None if it does not listen.
        environment: Variables beyond those all processes have.
        grace: Seconds it has to end by itself; the contract is 10 for the
            whole stack.
    """

    name: str
    title: str
    argv: tuple[str, ...]
    port: int | None
    environment: tuple[tuple[str, str], ...] = ()
    grace: float = 6.0


def functions_source() -> Path:
    """The functions' main.py: of the checkout, or the wheel's copy of it."""
    package = Path(str(importlib.resources.files("weightdrop")))
    checkout = package.parent.parent / "functions" / "main.py"
    if package.parent.name == "shared" and checkout.is_file():
        return checkout
    return package / "local" / "functions" / "main.py"


def _function(layout: Layout, name: str, title: str) -> Service:
    port = layout.port_of(name)
    return Service(
        name=name,
        title=title,
        argv=(
            *(sys.executable, "-m", "functions_framework"),
            *("--target", name, "--signature-type", _SIGNATURES[name]),
            *("--source", str(functions_source())),
            *("--host", HOST, "--port", str(port)),
        ),
        port=port,
        environment=(
            ("WORKERS", "1"),
            ("THREADS", "8"),
            # gunicorn puts a control socket here, else into the user's home.
            ("XDG_RUNTIME_DIR", str(layout.home / "run" / name)),
        ),
        # A call it is waiting for is made again after the next start.
        grace=2.0,
    )


def _module(layout: Layout, name: str, title: str, *args: str) -> Service:
    return Service(
        name=name,
        title=title,
        argv=(sys.executable, "-m", f"weightdrop.local.{name}", *args),
        port=layout.port_of(name),
    )


def _emulators(layout: Layout) -> Iterator[Service]:
    commands = {"firestore": emulators.firestore, "pubsub": emulators.pubsub}
    for name, title in (("firestore", "Firestore"), ("pubsub", "Pub/Sub")):
        port = layout.port_of(name)
        yield Service(
            name=name,
            title=f"{title} emulator",
            argv=tuple(commands[name](HOST, port or 0)),
            port=port,
            grace=2.0,
        )


def services(layout: Layout) -> tuple[Service, ...]:
    """All processes of the stack, in the order in which they are started."""
    home, url, state = layout.home, layout.url, layout.state
    return (
        *(_emulators(layout) if layout.emulators else ()),
        _module(
            *(layout, "bucket", "bucket server"),
            *("--port", str(layout.port_of("bucket"))),
            *("--root", str(home / "buckets"), "--state", str(state / "bucket.db")),
            *("--watch", layout.bucket, "--notify", url("on_artifact")),
        ),
        _module(
            *(layout, "vertex", "Vertex AI stand-in"),
            *("--port", str(layout.port_of("vertex"))),
            *("--home", str(state / "vertex"), "--project", PROJECT),
            *("--storage-endpoint", url("bucket")),
        ),
        _function(layout, "on_artifact", "function on_artifact"),
        _function(layout, "on_request", "function on_request"),
        _function(layout, "on_tick", "function on_tick"),
        _function(layout, "status", "function status"),
        _module(
            *(layout, "courier", "courier"),
            *("--home", str(home), "--request-url", url("on_request")),
            *("--tick-url", url("on_tick"), "--tick-seconds", str(TICK_SECONDS)),
            *(("--pubsub", layout.address("pubsub")) if layout.emulators else ()),
        ),
    )


def stack_variables(layout: Layout) -> dict[str, str]:
    """What every process of the stack is told, whatever the user's environment."""
    settings = {
        "backend": "local",
        "project": PROJECT,
        "region": REGION,
        "home": str(layout.home),
        "storage_endpoint": layout.url("bucket"),
        "vertex_endpoint": layout.url("vertex"),
        "buckets": layout.bucket,
        "base_url": layout.url("status"),
        "serving_image": SERVING_IMAGE,
    }
    if layout.emulators:
        settings |= {
            "backend": "emulators",
            "firestore_endpoint": layout.address("firestore"),
            "pubsub_endpoint": layout.address("pubsub"),
            "database": "(default)",
        }
    return {
        **{variable(field): text for field, text in settings.items()},
        MARKER: str(layout.home),
        "PYTHONUNBUFFERED": "1",
        # A proxy of the user's must not stand between processes of one machine.
        "NO_PROXY": f"{HOST},localhost",
        "no_proxy": f"{HOST},localhost",
    }


def stack_defaults(layout: Layout) -> dict[str, str]:
    """Variables of the stack that the user's environment may overrule.

    Nothing is slow on one machine, so waits are short. Weights that are being
    served lie in the home, which also tells whose the engine's processes are:
    those overwrite their environment, and are known by their working folder.
    """
    return {
        variable("settle_seconds"): "3",
        variable("poll_seconds"): "1",
        "WEIGHTDROP_SERVING_SCRATCH": str(layout.home / "run" / "scratch"),
    }
