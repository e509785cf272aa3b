"""The entry point as a process, where it ends before vLLM is needed."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from servingbench.emulator import Conditions, emulator

from fakes.serving import container
from weightdrop.local.tiny_model import make_tiny_llama
from weightdrop_serving.failures import Exit


@pytest.mark.parametrize(
    ("uri", "words", "status", "text"),
    [
        ("/nonexistent", (), Exit.USAGE, "AIP_STORAGE_URI"),
        ("", (), Exit.USAGE, "AIP_STORAGE_URI"),
        ("gs://", (), Exit.USAGE, "gs://bucket/prefix"),
        ("/tmp", ("--trust-remote-code",), Exit.USAGE, "never run"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    tmp_path: Path, uri: str, words: tuple[str, ...], status: Exit, text: str
) -> None:
    """The status is 64 and the last line names the cause."""
    with container(tmp_path, uri, *words) as running:
        assert running.wait(seconds=30) == status
        failed = running.event("failed")
        assert (failed["status"], failed["severity"]) == (status, "CRITICAL")
        assert text in failed["message"]
        assert list(running.scratch.iterdir()) == []


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    """The address is in the message."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with container(tmp_path, "/tmp", env={"AIP_HTTP_PORT": port}) as running:
            assert running.wait(seconds=30) == Exit.USAGE
            assert port in running.event("failed")["message"]


def test_bad_variables_are_told_together(tmp_path: Path) -> None:
    """Nothing starts with an environment that cannot be used."""
    bad = {"AIP_HEALTH_ROUTE": "x", "WEIGHTDROP_SERVING_DRAIN_SECONDS": "-1"}
    with container(tmp_path, "/tmp", env=bad) as running:
        assert running.wait(seconds=30) == Exit.USAGE
        message = running.event("failed")["message"]
        assert all(name in message for name in bad)


@pytest.mark.parametrize(
    ("fault", "status"),
    [(403, Exit.STORAGE_DENIED), (404, Exit.WEIGHTS_MISSING), ("corrupt", 65)],
)
def test_a_bucket_that_refuses_ends_the_container(
    tmp_path: Path, fault: int | str, status: int
) -> None:
    """Each cause has its own status, and nothing is left on the disk."""
    make_tiny_llama(tmp_path / "bucket" / "m")
    conditions = Conditions(fault=lambda name, _: fault if "config" in name else None)
    with emulator(tmp_path / "bucket", conditions) as service:
        env = {"WEIGHTDROP_STORAGE_ENDPOINT": service.url}
        with container(tmp_path / "run", "gs://bench/m", env=env) as running:
            assert running.wait(seconds=30) == status
            assert "gs://bench/m" in running.event("failed")["message"]
            assert list(running.scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        (404, Exit.WEIGHTS_MISSING, "deleted or replaced"),
        ("corrupt", Exit.WEIGHTS_UNUSABLE, "crc32c"),
        ("replace", Exit.WEIGHTS_MISSING, "deleted or replaced"),
    ],
)
def test_weights_that_change_end_the_container_and_its_engine(
    tmp_path: Path, fault: int | str, status: Exit, text: str
) -> None:
    """Gone, damaged or replaced while vLLM starts: nothing of it stays behind."""
    make_tiny_llama(tmp_path / "bucket" / "m")
    victim = tmp_path / "bucket" / "m" / "model-00003-of-00004.safetensors"

    def change(name: str, _start: int) -> int | str | None:
        if fault == "replace":
            if name.endswith("00001-of-00004.safetensors"):
                os.utime(victim, (1, 1))  # the first shard is read, the third new
            return None
        return fault if name.endswith(victim.name) else None

    with emulator(tmp_path / "bucket", Conditions(fault=change)) as service:
        env = {
            "WEIGHTDROP_STORAGE_ENDPOINT": service.url,
            "WEIGHTDROP_SERVING_STREAMS": "1",
        }
        with container(tmp_path / "run", "gs://bench/m", env=env) as running:
            assert running.wait(seconds=30) == status
            assert text in running.event("failed")["message"]
            running.until_clean(seconds=10)


def test_a_full_disk_ends_the_container(tmp_path: Path) -> None:
    """Files that may not grow any more: status 73 and the setting to change."""
    make_tiny_llama(tmp_path / "bucket" / "m")
    with emulator(tmp_path / "bucket") as service:
        env = {"WEIGHTDROP_STORAGE_ENDPOINT": service.url}
        under = ("prlimit", "--fsize=200000")  # bytes; a shard has more
        with container(
            tmp_path / "run", "gs://bench/m", env=env, under=under
        ) as running:
            assert running.wait(seconds=30) == Exit.DISK_FULL
            message = running.event("failed")["message"]
            assert "WEIGHTDROP_SERVING_SCRATCH" in message
            running.until_clean(seconds=10)


def test_killed_while_it_downloads_nothing_stays(tmp_path: Path) -> None:
    """The engine notices that its supervisor is gone and takes the weights along."""
    make_tiny_llama(tmp_path / "bucket" / "m")
    asked, release = threading.Event(), threading.Event()

    def wait(name: str, _start: int) -> None:
        if name.endswith(".safetensors"):
            asked.set()
            release.wait(60)

    with emulator(tmp_path / "bucket", Conditions(fault=wait)) as service:
        env = {"WEIGHTDROP_STORAGE_ENDPOINT": service.url}
        with container(tmp_path / "run", "gs://bench/m", env=env) as running:
            assert asked.wait(30)
            deadline = time.monotonic() + 30
            while not any("pid" in event for event in running.events()):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            running.process.kill()
            running.until_clean(seconds=20)
            release.set()


def test_while_it_downloads_the_port_answers_and_sigterm_ends_it(
    tmp_path: Path,
) -> None:
    """503 with a reason to every path and method; then a clean end with 0."""
    make_tiny_llama(tmp_path / "bucket" / "m")
    asked, release = threading.Event(), threading.Event()

    def wait(_name: str, _start: int) -> None:
        asked.set()
        release.wait(60)

    with emulator(tmp_path / "bucket", Conditions(fault=wait)) as service:
        env = {"WEIGHTDROP_STORAGE_ENDPOINT": service.url}
        with container(tmp_path / "run", "gs://bench/m", env=env) as running:
            assert asked.wait(30)
            answers = [
                httpx.get(f"{running.url}/vertex/health"),
                httpx.post(f"{running.url}/vertex/predict", content=b"x" * 2_000_000),
                httpx.head(f"{running.url}/anything"),
            ]
            running.process.send_signal(signal.SIGTERM)
            assert running.wait(seconds=20) == 0
            release.set()
            assert [answer.status_code for answer in answers] == [503] * 3
            assert answers[0].json()["error"]["message"] == "downloading the model"
            assert all("retry-after" in answer.headers for answer in answers)
            assert list(running.scratch.iterdir()) == []
