"""A whole stack for real clients: buckets, stand-in with TLS, and their settings."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.relay import certificate
from local.vertex.buckets import Buckets
from local.vertex.running import Running, free_port, tiny_image, until
from weightdrop.local.tiny_model import make_tiny_llama

REGION = "us-central1"
VLLM = pytest.param("vllm", marks=pytest.mark.vllm)
WITH_VLLM = pytest.mark.parametrize("whole", [VLLM], indirect=True)
"""For tests that say nothing new with the tiny container."""
WITHOUT_VLLM = pytest.mark.parametrize("whole", ["container"], indirect=True)
"""For tests whose model is the tiny container in any case."""
PATIENCE = 280.0


@dataclass(frozen=True)
class Stack:
    """What a client needs.

    Attributes:
        vertex: The stand-in.
        buckets: The bucket server; the weights are in gs://models/tiny.
        tls_port: Where the stand-in speaks TLS.
        authority: PEM file that a client trusts.
        home: A folder for the client's own files.
    """

    vertex: Running
    buckets: Buckets
    tls_port: int
    authority: Path
    home: Path

    @property
    def dns(self) -> str:
        """The dedicated name of endpoints."""
        return f"localhost:{self.tls_port}"

    def credentials(self) -> Path:
        """A file of credentials for which the stand-in gives tokens."""
        made = self.home / "credentials.json"
        told = {
            "type": "external_account",
            "audience": "local",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.vertex.url}/token",
            "credential_source": {"file": str(made)},
        }
        made.write_text(json.dumps(told))
        return made

    def names(self) -> dict[str, str]:
        """The names that the published examples leave open."""
        return {
            "REGION": REGION,
            "LOCATION": REGION,
            "PROJECT_ID": "local",
            "MODEL_GCS": "gs://models/tiny",
            "MACHINE_TYPE": "g2-standard-12",
            "ACCELERATOR_TYPE": "NVIDIA_L4",
            "ACCELERATOR_COUNT": "1",
            "ENDPOINT_URL": self.dns,
        }


@contextmanager
def stack(home: Path, *, vllm: bool) -> Iterator[Stack]:
    """Start everything; with real vLLM, or with the tiny container."""
    buckets = Buckets(home)
    make_tiny_llama(home / "tiny")
    buckets.put_folder(home / "tiny", "tiny")
    hosts = (
        f"{REGION}{part}-aiplatform.googleapis.com" for part in ("", "-prediction")
    )
    authority, key = certificate(home, *hosts)
    tls_port = free_port()
    vertex = Running(
        home / "vertex",
        *("--storage-endpoint", buckets.url, "--tls-port", str(tls_port)),
        *("--tls-certificate", str(authority), "--tls-key", str(key)),
        env={} if vllm else tiny_image(home),
    )
    try:
        yield Stack(vertex, buckets, tls_port, authority, home)
    finally:
        vertex.close()
        buckets.close()


@contextmanager
def _beside(module: str, *options: str) -> Iterator[int]:
    """A process of ours that listens on a port; gives the port."""
    port = free_port()
    command = [sys.executable, "-m", module, "--port", str(port), *options]
    process = subprocess.Popen(command)

    def listens() -> bool:
        assert process.poll() is None
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(listens)
    try:
        yield port
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0


@contextmanager
def grpc_face(whole: Stack) -> Iterator[int]:
    """A process with gRPC and TLS in front of the stand-in; gives its port."""
    options = ["--rest", whole.vertex.url, "--tls-certificate", str(whole.authority)]
    options += ["--tls-key", str(whole.authority.with_name("key.pem"))]
    with _beside("weightdrop.adapters.vertex.grpc_face", *options) as port:
        yield port


@contextmanager
def led_here(whole: Stack) -> Iterator[dict[str, str]]:
    """The proxy before all of it; gives the variables that send programs there."""
    credentials = whole.credentials()
    with grpc_face(whole) as grpc_port:
        options = ["--tls-port", str(whole.tls_port), "--grpc-port", str(grpc_port)]
        with _beside("weightdrop.local.vertex.proxy", *options) as port:
            authority = str(whole.authority)
            yield {
                "https_proxy": f"http://127.0.0.1:{port}",
                "no_proxy": "localhost,127.0.0.1",
                "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": authority,
                "REQUESTS_CA_BUNDLE": authority,
                "SSL_CERT_FILE": authority,
            }
