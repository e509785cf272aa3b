"""The entry point as a process, where it ends before vLLM is needed."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from servingbench.emulator import Conditions, emulator

from fakes import ends
from fakes.builders import NOON
from fakes.ends import End
from fakes.serving import Container, container
from weightdrop.core.artifacts.manifest import encode
from weightdrop.core.artifacts.objects import ArtifactFile
from weightdrop.local.tiny_model import make_tiny_llama
from weightdrop_serving import selection
from weightdrop_serving.failures import Exit
from weightdrop_serving.storage import Bucket


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
    ("fault", "end"),
    [
        (403, ends.DENIED),
        (404, ends.WEIGHTS_REPLACED),
        ("corrupt", ends.WEIGHTS_DAMAGED),
    ],
)
def test_a_bucket_that_refuses_ends_the_container(
    tmp_path: Path, fault: int | str, end: End
) -> None:
    """Each cause has its own status, and nothing is left on the disk."""
    make_tiny_llama(tmp_path / "bucket" / "m")
    conditions = Conditions(fault=lambda name, _: fault if "config" in name else None)
    with emulator(tmp_path / "bucket", conditions) as service:
        env = {"WEIGHTDROP_STORAGE_ENDPOINT": service.url}
        with container(tmp_path / "run", "gs://bench/m", env=env) as running:
            running.ended(end)
            assert "gs://bench/m" in running.event("failed")["message"]


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        (404, ends.WEIGHTS_REPLACED),
        ("corrupt", ends.WEIGHTS_DAMAGED),
        ("replace", ends.WEIGHTS_REPLACED),
    ],
)
def test_weights_that_change_end_the_container_and_its_engine(
    tmp_path: Path, fault: int | str, end: End
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
            running.ended(end)


def test_a_bucket_that_goes_away_ends_the_container(tmp_path: Path) -> None:
    """Streams break off and nobody listens any more: it tries, then says so."""
    make_tiny_llama(tmp_path / "bucket" / "m")
    asked = threading.Event()

    def leave(name: str, _start: int) -> str | None:
        if not name.endswith(".safetensors"):
            return None
        asked.set()
        return "cut"

    with emulator(tmp_path / "bucket", Conditions(fault=leave)) as service:
        env = {"WEIGHTDROP_STORAGE_ENDPOINT": service.url}
        with container(tmp_path / "run", "gs://bench/m", env=env) as running:
            assert asked.wait(30)
            service.stop()
            running.ended(ends.BUCKET_GONE)
            assert "gs://bench/m" in running.event("failed")["message"]


def test_a_disk_that_is_too_small_ends_the_container(tmp_path: Path) -> None:
    """What the model needs is known before it is read, and said with the setting."""
    make_tiny_llama(tmp_path / "bucket" / "m")
    with emulator(tmp_path / "bucket") as service:
        bucket = Bucket("gs://bench/m", service.url)
        huge = [
            replace(file, size=1 << 60) if selection.is_weights(file.path) else file
            for file in bucket.files()
        ]
        bucket.release()
        env = {
            "WEIGHTDROP_STORAGE_ENDPOINT": service.url,
            "WEIGHTDROP_SOURCE": "gs://bench/m",
            "WEIGHTDROP_FILES": encode(
                ArtifactFile(it.path, it.generation, it.size, it.crc32c, NOON)
                for it in huge
            ),
        }
        with container(tmp_path / "run", "", env=env) as running:
            running.ended(ends.DISK_TOO_SMALL)
            message = running.event("failed")["message"]
            assert "WEIGHTDROP_SERVING_SCRATCH" in message


def test_a_full_disk_ends_the_container(tmp_path: Path) -> None:
    """Files that may not grow any more: status 73 and the setting to change."""
    make_tiny_llama(tmp_path / "bucket" / "m")
    with emulator(tmp_path / "bucket") as service:
        env = {"WEIGHTDROP_STORAGE_ENDPOINT": service.url}
        under = ("prlimit", "--fsize=200000")  # bytes; a shard has more
        with container(
            tmp_path / "run", "gs://bench/m", env=env, under=under
        ) as running:
            running.ended(ends.DISK_FULL)
            message = running.event("failed")["message"]
            assert "WEIGHTDROP_SERVING_SCRATCH" in message


class TestDownloading:
    """Ends while weights are on their way and vLLM starts."""

    @pytest.fixture
    def downloading(self, tmp_path: Path) -> Iterator[Container]:
        """A container whose first shard does not come, and that has started vLLM."""
        make_tiny_llama(tmp_path / "bucket" / "m")
        release = threading.Event()

        def wait(name: str, _start: int) -> None:
            if name.endswith(".safetensors"):
                release.wait(120)

        with emulator(tmp_path / "bucket", Conditions(fault=wait)) as service:
            env = {"WEIGHTDROP_STORAGE_ENDPOINT": service.url}
            with container(tmp_path / "run", "gs://bench/m", env=env) as running:
                _until(lambda: any("pid" in event for event in running.events()))
                yield running
                release.set()

    def test_killed_while_it_downloads_nothing_stays(
        self, downloading: Container
    ) -> None:
        """The engine notices that its supervisor is gone and takes the weights."""
        downloading.process.kill()
        downloading.ended(ends.SUPERVISOR_KILLED)

    def test_a_server_killed_while_it_downloads_ends_the_container(
        self, downloading: Container
    ) -> None:
        """Nobody waits for weights that nobody will read."""
        os.kill(downloading.engine(), signal.SIGKILL)
        downloading.ended(ends.START_KILLED)
        assert "status -9" in downloading.event("failed")["message"]

    @pytest.mark.vllm
    def test_an_engine_killed_while_it_downloads_ends_the_container(
        self, downloading: Container
    ) -> None:
        """VLLM's server misses its engine and gives up."""
        _until(lambda: downloading.find("EngineCore"), seconds=120)
        os.kill(downloading.core(), signal.SIGKILL)
        downloading.ended(ends.START_KILLED)

    def test_vllm_is_told_the_same_name_at_every_start(
        self, downloading: Container
    ) -> None:
        """The folder's name is part of what compiled graphs are found by."""
        process = Path(f"/proc/{downloading.engine()}")
        words = (process / "cmdline").read_text().split("\0")

        assert words[words.index("--model") + 1] == "model"
        assert (process / "cwd" / "model" / "config.json").exists()

    def test_sigterm_while_vllm_starts_waits_for_nothing(
        self, downloading: Container
    ) -> None:
        """No request can be under way: the time to drain them is not spent."""
        downloading.process.send_signal(signal.SIGTERM)
        downloading.ended(ends.TOLD)


def _until(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
            running.ended(ends.TOLD)
            release.set()
            assert [answer.status_code for answer in answers] == [503] * 3
            assert answers[0].json()["error"]["message"] == "downloading the model"
            assert all("retry-after" in answer.headers for answer in answers)
