"""What the platform and the operator say through the environment.

The only module of this package that reads environment variables.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weightdrop_serving import manifest
from weightdrop_serving.storage import Source

LISTEN_FD: Final = "WEIGHTDROP_SERVING_LISTEN_FD"
CONTROL_FD: Final = "WEIGHTDROP_SERVING_CONTROL_FD"
FORK: Final = "WEIGHTDROP_SERVING_FORK"

_NO_ACCELERATOR: Final = ("", "ACCELERATOR_TYPE_UNSPECIFIED")


class EnvironmentFaultError(Exception):
    """Variables that do not hold what they should, all of them in one message."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Everything that can be set from outside.

    Attributes:
        http_port: `AIP_HTTP_PORT`, where the platform sends requests.
        health_route: `AIP_HEALTH_ROUTE`.
        predict_route: `AIP_PREDICT_ROUTE`.
        storage_uri: `AIP_STORAGE_URI`: `gs://bucket/prefix`, `file://` or a folder.
        source: `WEIGHTDROP_SOURCE`: the same, of the bucket that was validated, where
            the platform made no copy of it.
        files: `WEIGHTDROP_FILES`: the files that were validated there, each with its
            generation; without them, whatever has the digest.
        accelerator_type: `AIP_ACCELERATOR_TYPE`, empty if there is none.
        storage_endpoint: `WEIGHTDROP_STORAGE_ENDPOINT`: base URL of a Cloud Storage
            stand-in, asked without credentials; empty for Google's.
        digest: `WEIGHTDROP_DIGEST`: what was validated; empty to accept any.
        host: `WEIGHTDROP_SERVING_HOST`: address to bind.
        cache: `WEIGHTDROP_SERVING_CACHE`: what may outlive the process.
        scratch: `WEIGHTDROP_SERVING_SCRATCH`: where the weights go meanwhile.
        streams: `WEIGHTDROP_SERVING_STREAMS`: parallel reads from the bucket.
        drain_seconds: `WEIGHTDROP_SERVING_DRAIN_SECONDS`: how long requests in
            flight may take after a SIGTERM.
        hang_seconds: `WEIGHTDROP_SERVING_HANG_SECONDS`: how long the engine may
            work without any sign of life before health says so.
        hang_exit_seconds: `WEIGHTDROP_SERVING_HANG_EXIT_SECONDS`: after how long
            without a sign of life the process ends, so that it is restarted.
        fork: `WEIGHTDROP_SERVING_FORK`: whether the engine's process is a copy of
            the server's instead of a new one that imports everything again; by
            default only without a GPU, where it has been measured.
        listen_fd: Set by the supervisor for the engine's process; -1 elsewhere.
        control_fd: The same.
    """

    http_port: int = 8080
    health_route: str = "/vertex/health"
    predict_route: str = "/vertex/predict"
    storage_uri: str = ""
    source: str = ""
    files: tuple[Source, ...] = ()
    accelerator_type: str = ""
    storage_endpoint: str = ""
    digest: str = ""
    host: str = "0.0.0.0"  # noqa: S104  # a container is reached from outside
    cache: Path = Path("~/.cache/weightdrop/serving")
    scratch: Path = Path(tempfile.gettempdir())
    streams: int = 32
    drain_seconds: float = 20.0
    hang_seconds: float = 4.0
    hang_exit_seconds: float = 120.0
    fork: bool | None = None
    listen_fd: int = -1
    control_fd: int = -1

    @property
    def loopback(self) -> bool:
        """Whether nothing may be reachable from another machine."""
        return self.host in ("127.0.0.1", "::1", "localhost")

    @property
    def has_accelerator(self) -> bool:
        """Whether the platform says it attached a GPU."""
        return self.accelerator_type not in _NO_ACCELERATOR


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:  # noqa: PLR2004  # what TCP has
        raise ValueError("expected a port number")
    return value


def _route(text: str) -> str:
    if not text.startswith("/") or text == "/":
        raise ValueError("expected a path below /")
    return text


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1024:  # noqa: PLR2004  # beyond it lies a mistake
        raise ValueError("expected a number from 1 to 1024")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError("expected a positive number of seconds")
    return value


def _truth(text: str) -> bool:
    words = {"1": True, "true": True, "0": False, "false": False}
    if text.lower() not in words:
        raise ValueError("expected 1 or 0")
    return words[text.lower()]


def _folder(text: str) -> Path:
    return Path(text).expanduser()


_VARIABLES: Final[dict[str, tuple[str, Callable[[str], object]]]] = {
    "http_port": ("AIP_HTTP_PORT", _port),
    "health_route": ("AIP_HEALTH_ROUTE", _route),
    "predict_route": ("AIP_PREDICT_ROUTE", _route),
    "storage_uri": ("AIP_STORAGE_URI", str),
    "source": ("WEIGHTDROP_SOURCE", str),
    "files": ("WEIGHTDROP_FILES", manifest.decode),
    "accelerator_type": ("AIP_ACCELERATOR_TYPE", str),
    "storage_endpoint": ("WEIGHTDROP_STORAGE_ENDPOINT", str),
    "digest": ("WEIGHTDROP_DIGEST", str),
    "host": ("WEIGHTDROP_SERVING_HOST", str),
    "cache": ("WEIGHTDROP_SERVING_CACHE", _folder),
    "scratch": ("WEIGHTDROP_SERVING_SCRATCH", _folder),
    "streams": ("WEIGHTDROP_SERVING_STREAMS", _count),
    "drain_seconds": ("WEIGHTDROP_SERVING_DRAIN_SECONDS", _seconds),
    "hang_seconds": ("WEIGHTDROP_SERVING_HANG_SECONDS", _seconds),
    "hang_exit_seconds": ("WEIGHTDROP_SERVING_HANG_EXIT_SECONDS", _seconds),
    "fork": (FORK, _truth),
    "listen_fd": (LISTEN_FD, int),
    "control_fd": (CONTROL_FD, int),
}


def load(source: Mapping[str, str] | None = None) -> Environment:
    """Read the environment.

    Args:
        source: Where to read from; the process's own by default.

    Raises:
        EnvironmentFaultError: With every variable that cannot be used.
    """
    variables = os.environ if source is None else source
    values: dict[str, object] = {}
    faults: list[str] = []
    for field, (name, coerce) in _VARIABLES.items():
        text = variables.get(name, "")
        if not text:
            continue
        try:
            values[field] = coerce(text)
        except ValueError as error:
            faults.append(f"{name}={text!r}: {error}")
    if values.get("health_route") and values.get("health_route") == values.get(
        "predict_route"
    ):
        faults.append("AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE are the same path")
    if faults:
        raise EnvironmentFaultError("; ".join(faults))
    return Environment(**values)  # type: ignore[arg-type]  # coerced by field name


def for_engine(own: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """The environment of the engine's process: the supervisor's with `changes`.

    Variables of `own` win over `changes` where an operator set them on purpose,
    except for those that keep the process private or connect it to its supervisor.
    """
    return {**changes, **own, **{key: changes[key] for key in changes if _ours(key)}}


def _ours(name: str) -> bool:
    return name.startswith(("WEIGHTDROP_", "HF_", "TRANSFORMERS_")) or name in {
        "DO_NOT_TRACK",
        "VLLM_DO_NOT_TRACK",
        "VLLM_HOST_IP",
        "VLLM_NO_USAGE_STATS",
        "VLLM_PLUGINS",
        "VLLM_SERVER_DEV_MODE",
    }


def own() -> Mapping[str, str]:
    """The process's own environment, to be handed on."""
    return os.environ
