"""The ways to get a model from a bucket into vLLM that are compared."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ENGINE: Final = (
    "--served-model-name", "m", "--enforce-eager",
    "--kv-cache-memory-bytes", str(1 << 30), "--max-num-seqs", "32",
)  # fmt: skip
_URI: Final = "gs://bench/m"

# What Google's notebooks do: copy everything with the official client, then start.
_COPY_THEN_START: Final = """
import os, runpy, sys
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client, transfer_manager
target = sys.argv.pop(1)
client = Client(project="p", credentials=AnonymousCredentials())
bucket = client.bucket("bench")
names = [blob.name for blob in client.list_blobs(bucket, prefix="m/")]
transfer_manager.download_many_to_path(
    bucket, names, destination_directory=target, worker_type="thread",
    max_workers=8, raise_exception=True)
os.execv(sys.executable, [sys.executable, "-m",
    "vllm.entrypoints.openai.api_server", "--model", target + "/m", *sys.argv[1:]])
"""

_STREAM: Final = """
import sys, time
from runai_model_streamer import SafetensorsStreamer
files = sys.argv[1:]
began = time.monotonic()
size = 0
with SafetensorsStreamer() as streamer:
    streamer.stream_files(files)
    for _, tensor in streamer.get_tensors():
        size += tensor.numel() * tensor.element_size()
print(size / (time.monotonic() - began))
"""

_PREFETCH: Final = """
import sys, time
from pathlib import Path
from weightdrop_serving.prefetch import Prefetch
from weightdrop_serving.storage import Bucket
endpoint, target = sys.argv[1:]
copy = Prefetch(Bucket("gs://bench/m", endpoint), Path(target), streams=32)
files = [file for file in copy.listing() if file.path.endswith(".safetensors")]
began = time.monotonic()
copy.copy(files)
print(sum(file.size for file in files) / (time.monotonic() - began))
"""


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Way:
    """One way to start.

    Attributes:
        name: What it is called in the report.
        port: Where it will listen.
        health: The path that says it is ready.
        words: Its command line; `{work}` stands for its folder.
        variables: Its environment; `{work}` stands for its folder.
    """

    name: str
    port: int
    health: str
    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]

    def command(self, work: Path) -> list[str]:
        """The command line for a run in `work`."""
        return [word.replace("{work}", str(work)) for word in self.words]

    def environment(self, work: Path) -> dict[str, str]:
        """The environment for a run in `work`."""
        return {name: v.replace("{work}", str(work)) for name, v in self.variables}


def all_ways(endpoint: str, cache: Path, streamer: Path) -> list[Way]:
    """The ways that can be measured here.

    Args:
        endpoint: The emulated service.
        cache: What may outlive a run.
        streamer: Folder with run:ai's packages.
    """
    quiet = (
        ("HF_HUB_OFFLINE", "1"),
        ("VLLM_NO_USAGE_STATS", "1"),
        ("VLLM_CACHE_ROOT", str(cache / "vllm")),
        ("PYTHONDONTWRITEBYTECODE", ""),
    )
    copy = _port()
    found = [
        _ours("weightdrop", endpoint, cache, fork=True),
        _ours("weightdrop-spawned", endpoint, cache, fork=False),
        Way(
            "copy-then-start",
            copy,
            "/health",
            (
                sys.executable,
                "-c",
                _COPY_THEN_START,
                "{work}",
                *_ENGINE,
                "--host",
                "127.0.0.1",
                "--port",
                str(copy),
            ),
            (*quiet, ("STORAGE_EMULATOR_HOST", endpoint)),
        ),
    ]
    port = _port()
    words = (sys.executable, "-m", "vllm.entrypoints.openai.api_server")
    where = ("--host", "127.0.0.1", "--port", str(port))
    found.append(
        Way(
            "runai",
            port,
            "/health",
            (*words, "--model", _URI, *_ENGINE, *where),
            (
                *quiet,
                *_streamer_variables(endpoint, streamer),
                ("VLLM_ASSETS_CACHE", "{work}/assets"),
            ),
        )
    )
    return found


def _ours(name: str, endpoint: str, cache: Path, *, fork: bool) -> Way:
    return _container(
        name,
        _ENGINE,
        cache,
        (
            ("AIP_STORAGE_URI", _URI),
            ("WEIGHTDROP_SERVING_SCRATCH", "{work}"),
            ("WEIGHTDROP_SERVING_FORK", str(int(fork))),
            ("WEIGHTDROP_STORAGE_ENDPOINT", endpoint),
        ),
    )


def kept(name: str, model: Path, cache: Path, words: tuple[str, ...]) -> Way:
    """The container, with `model` in a folder and what it keeps in `cache`.

    Args:
        name: What it is called in the report.
        model: The model's folder.
        cache: What outlives a run.
        words: More arguments for vLLM.
    """
    return _container(
        name,
        words,
        cache,
        (
            ("AIP_STORAGE_URI", str(model)),
            ("WEIGHTDROP_SERVING_SCRATCH", "{work}/scratch"),
            ("TMPDIR", "{work}"),
        ),
    )


def _container(
    name: str,
    words: tuple[str, ...],
    cache: Path,
    variables: tuple[tuple[str, str], ...],
) -> Way:
    """The container with these arguments for vLLM, and its way's own variables."""
    port = _port()
    return Way(
        name,
        port,
        "/vertex/health",
        (sys.executable, "-m", "weightdrop_serving", *words),
        (
            ("AIP_HTTP_PORT", str(port)),
            ("WEIGHTDROP_SERVING_HOST", "127.0.0.1"),
            ("WEIGHTDROP_SERVING_CACHE", str(cache)),
            ("PYTHONDONTWRITEBYTECODE", ""),
            *variables,
        ),
    )


def _streamer_variables(endpoint: str, streamer: Path) -> list[tuple[str, str]]:
    return [
        ("PYTHONPATH", str(streamer)),
        ("STORAGE_EMULATOR_HOST", endpoint),
        ("CLOUD_STORAGE_EMULATOR_ENDPOINT", endpoint),
        ("RUNAI_STREAMER_GCS_USE_ANONYMOUS_CREDENTIALS", "1"),
        ("GOOGLE_CLOUD_PROJECT", "p"),
    ]


def throughput(
    name: str, endpoint: str, target: Path, streamer: Path, runs: int = 3
) -> float:
    """Median bytes per second of reading the weights alone."""
    found = []
    for _ in range(runs):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        variables = dict(os.environ)
        if name == "weightdrop":
            command = [sys.executable, "-c", _PREFETCH, endpoint, str(target)]
        else:
            files = [f"{_URI}/model-{n:05d}-of-00004.safetensors" for n in range(1, 5)]
            command = [sys.executable, "-c", _STREAM, *files]
            variables |= dict(_streamer_variables(endpoint, streamer))
        result = subprocess.run(
            command, env=variables, capture_output=True, text=True, check=True
        )
        found.append(float(result.stdout.split()[-1]))
        time.sleep(0.2)
    shutil.rmtree(target, ignore_errors=True)
    return statistics.median(found)
