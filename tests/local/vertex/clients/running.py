"""A whole stack for real clients: buckets, stand-in with TLS, and their settings."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.vertex.buckets import Buckets
from local.vertex.running import Running, free_port, tiny_image
from weightdrop.local.tiny_model import make_tiny_llama

REGION = "us-central1"
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


def certificate(home: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key, made by openssl."""
    certificate, key = home / "certificate.pem", home / "key.pem"
    names = f"DNS:localhost,IP:127.0.0.1,DNS:{REGION}-aiplatform.googleapis.com"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-subj", "/CN=local stand-in", "-addext", f"subjectAltName={names}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@contextmanager
def stack(home: Path, *, vllm: bool) -> Iterator[Stack]:
    """Start everything; with real vLLM, or with the tiny container."""
    buckets = Buckets(home)
    make_tiny_llama(home / "tiny")
    buckets.put_folder(home / "tiny", "tiny")
    authority, key = certificate(home)
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
