"""stack.json, by which the other commands find a running stack."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from weightdrop.local.supervisor.layout import Layout
from weightdrop.local.supervisor.processes import start_time

NAME = "stack.json"


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack, as it told about itself.

    Attributes:
        home: Absolute folder of its state.
        pid: The supervisor.
        started: The supervisor's start time in clock ticks, which together
            with the pid tells it from a later process of the same pid.
        ready: Whether all its processes have answered once.
        port: First of its ports.
        bucket: The watched bucket.
        folder: The folder that is this bucket.
        base_url: What the URLs of Vertex AI's endpoints begin with.
        urls: Base URLs by process.
        pids: Process ids by process.
        logs: Log files by process.
    """

    home: str
    pid: int
    started: str
    ready: bool
    port: int
    bucket: str
    folder: str
    base_url: str
    urls: dict[str, str]
    pids: dict[str, int]
    logs: dict[str, str]


def describe(layout: Layout, *, pids: dict[str, int], ready: bool) -> Stack:
    """The stack that this process runs."""
    return Stack(
        home=str(layout.home),
        pid=os.getpid(),
        started=start_time(os.getpid()),
        ready=ready,
        port=layout.port,
        bucket=layout.bucket,
        folder=str(layout.folder),
        base_url=layout.base_url,
        urls=layout.urls,
        pids=pids,
        logs={name: str(layout.home / "logs" / f"{name}.log") for name in pids},
    )


def write(stack: Stack) -> None:
    """Replace stack.json in one step."""
    path = Path(stack.home, NAME)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(stack)) + b"\n")
    fresh.replace(path)


def remove(home: Path) -> None:
    """Say that no stack runs in `home` any more."""
    (home / NAME).unlink(missing_ok=True)


def find(home: Path) -> Stack | None:
    """The stack that runs in `home` now, or None.

    What a killed stack left behind is no running stack.
    """
    try:
        stack = msgspec.json.decode((home / NAME).read_bytes(), type=Stack)
    except (OSError, msgspec.DecodeError):
        return None
    alive = bool(stack.started) and start_time(stack.pid) == stack.started
    return stack if alive else None
