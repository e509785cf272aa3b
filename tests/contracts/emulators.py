"""The Google Cloud CLI's emulators, started on free ports for tests."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import httpx

from weightdrop.local import emulators
from weightdrop.local.emulators import EmulatorsMissingError

__all__ = ["EmulatorsMissingError", "firestore", "pubsub", "required"]

HOST = "127.0.0.1"

REQUIRE = "WEIGHTDROP_REQUIRE_EMULATORS"
"""Set to 1 where a missing emulator is a failure and no reason to skip."""

START_SECONDS = 90.0
"""A JVM takes about a second; a loaded machine much longer."""


def required() -> bool:
    """Whether a missing emulator is a failure."""
    return os.environ.get(REQUIRE, "") == "1"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def _running(command: Callable[[str, int], list[str]]) -> Iterator[str]:
    port = _free_port()
    argv = command(HOST, port)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  # a killed test leaves no JVM
        )
        try:
            _wait(process, port)
            yield f"127.0.0.1:{port}"
        except TimeoutError as error:
            log.seek(0)
            said = log.read()[-2000:].decode(errors="replace")
            raise TimeoutError(f"{error}\n{said}") from None
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise TimeoutError(f"the emulator ended with {process.returncode}")
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=5)
            return
        time.sleep(0.1)
    raise TimeoutError(f"the emulator did not answer within {START_SECONDS} s")


@contextlib.contextmanager
def firestore() -> Iterator[str]:
    """A Firestore emulator; gives its "host:port".

    Raises:
        EmulatorsMissingError: It is not installed.
    """
    with _running(emulators.firestore) as endpoint:
        yield endpoint


@contextlib.contextmanager
def pubsub() -> Iterator[str]:
    """A Pub/Sub emulator; gives its "host:port".

    Raises:
        EmulatorsMissingError: It is not installed.
    """
    with _running(emulators.pubsub) as endpoint:
        yield endpoint
