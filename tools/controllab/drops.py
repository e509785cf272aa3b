"""What a storm drops: folders whose end is known, and containers that cost little."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drops.models import TINY_LLAMA, model_files
from drops.stores import File, Sparse
from weightdrop.core.deployment.phases import Phase

CONFIG: dict[str, Any] = {
    **TINY_LLAMA,
    "rope_theta": 10000.0,
    "vocab_size": 100,
    "max_position_embeddings": 4096,
}

KINDS: tuple[tuple[str, Phase, int], ...] = (
    ("ready", Phase.READY, 2),
    ("retired", Phase.RETIRED, 4),
    ("rejected", Phase.REJECTED, 2),
    ("failed", Phase.FAILED, 2),
)
"""Kind, the phase it rests in, and how many of ten drops are of it."""

CONTAINER = '''"""A serving container that costs next to nothing."""

import os
import socket
import sys

if "/wd-failed-" in os.environ["AIP_STORAGE_URI"]:
    print("the weights are broken", flush=True)
    sys.exit(3)
with socket.socket(socket.AF_UNIX) as host:
    host.connect(os.environ["WEIGHTDROP_LAB_HOST"])
    host.sendall(os.environ["AIP_HTTP_PORT"].encode() + b"\\n")
    host.recv(1)
os.execvp("sleep", ["sleep", "86400"])
'''
"""It asks one process of the lab to answer on its port, and sleeps."""


@dataclass(frozen=True, slots=True)
class Drop:
    """One folder.

    Attributes:
        prefix: Where it goes.
        rests: The phase in which it must come to rest.
        files: By name, in the order of their copying.
    """

    prefix: str
    rests: Phase
    files: tuple[tuple[str, bytes], ...]


def whole(file: File) -> bytes:
    """All bytes of a small file."""
    if isinstance(file, Sparse):
        return file.head + bytes(file.size - len(file.head))
    return file


def drop(number: int) -> Drop:
    """The drop of this number; the kinds are dealt in turn."""
    wheel = [kind for kind in KINDS for _ in range(kind[2])]
    kind, rests, _ = wheel[number % len(wheel)]
    config = CONFIG | {"storm": number}
    files = {name: whole(file) for name, file in model_files(config).items()}
    options: dict[str, Any] = {"model_display_name": f"storm {number}"}
    if kind == "retired":
        options["ttl"] = 2
    if kind == "rejected":
        files["model.safetensors"] = files["model.safetensors"][:-100]
    files["weightdrop.json"] = json.dumps(options).encode()
    config_last = sorted(files.items(), key=lambda it: it[0] == "config.json")
    return Drop(f"storm/{kind}-{number:05d}", rests, tuple(config_last))


def container(home: Path) -> str:
    """A folder that has the container as our image's entry point."""
    package = home / "image" / "weightdrop_serving"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(CONTAINER, encoding="utf-8")
    return str(home / "image")
