"""vLLM's arguments: what the plan says, what this image needs, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from weightdrop_serving.failures import Exit, ServingError

LOAD_FORMAT: Final = "weightdrop"

# They would break the contract with the platform, or run what the bucket holds.
_REFUSED: Final = {
    "--trust-remote-code": "code from a model's folder is never run",
    "--trust-request-chat-template": "a request may not bring code",
    "--host": "the image decides where it listens",
    "--port": "the image decides where it listens",
    "--uds": "the image decides where it listens",
    "--model": "the model is what AIP_STORAGE_URI names",
    "--config": "arguments come from the plan, not from a file",
    "--api-key": "Vertex AI checks who asks",
    "--root-path": "the image's paths are fixed",
    "--middleware": "code that is not in the image cannot be loaded",
    "--tool-parser-plugin": "code that is not in the image cannot be loaded",
    "--reasoning-parser-plugin": "code that is not in the image cannot be loaded",
    "--logits-processors": "code that is not in the image cannot be loaded",
    "--headless": "one process serves",
    "--api-server-count": "one process serves",
}
# vLLM's parser takes any beginning of a name for the name, unless it is one itself.
_WHOLE: Final = frozenset({"--reasoning-parser"})
# Left out everywhere: health reads what it would switch off.
_NEVER: Final = {"--disable-log-stats": 0}
# Left out without a GPU; with the number of values each takes.
_GPU_ONLY: Final = {
    "--tensor-parallel-size": 1,
    "-tp": 1,
    "--pipeline-parallel-size": 1,
    "-pp": 1,
    "--data-parallel-size": 1,
    "-dp": 1,
    "--gpu-memory-utilization": 1,
    "--kv-cache-dtype": 1,
    "--swap-space": 1,
    "--cpu-offload-gb": 1,
    "--max-num-seqs": 1,
    "--max-num-batched-tokens": 1,
    "--enable-expert-parallel": 0,
    "--disable-custom-all-reduce": 0,
    "--async-scheduling": 0,
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What the arguments depend on.

    Attributes:
        gpu: Whether vLLM runs on a GPU here.
        memory: Bytes of main memory that are free.
    """

    gpu: bool
    memory: int


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command line for vLLM's server.

    Attributes:
        words: The command line.
        dropped: What was left out: what needs a GPU where there is none, and what
            health cannot do without.
        overlap: Whether vLLM reads each file of weights when it arrives; another
            loader than ours needs all of them there first.
    """

    words: tuple[str, ...]
    dropped: tuple[str, ...]
    overlap: bool


def build(
    given: Sequence[str], *, model: str, socket: str, machine: Machine
) -> Arguments:
    """The command line for `given`, the arguments of the plan.

    Args:
        given: Arguments after the entry point's name.
        model: Folder of the model, seen from vLLM's working folder.
        socket: Path of the Unix socket vLLM listens on itself.
        machine: What it runs on.

    Raises:
        ServingError: If `given` holds an argument that is refused.
    """
    _check(given)
    unwanted = _NEVER if machine.gpu else _NEVER | _GPU_ONLY
    kept, dropped = _without(unwanted, given)
    names = {word.partition("=")[0].replace("_", "-") for word in kept}
    words = ["--model", model, "--uds", socket, *kept]
    defaults = {**_DEFAULTS, **({} if machine.gpu else _cpu(machine))}
    for name, value in defaults.items():
        if not names & {name, f"--no-{name.removeprefix('--')}"}:
            words += [name, value] if value else [name]
    return Arguments(tuple(words), dropped, overlap="--load-format" not in names)


_DEFAULTS: Final = {
    "--load-format": LOAD_FORMAT,
    "--disable-fastapi-docs": "",
    "--disable-uvicorn-access-log": "",
    "--sse-keep-alive-interval": "15",
    # Drained before it is told to stop; what is left then is not worth waiting for.
    "--shutdown-timeout": "0",
}


def _cpu(machine: Machine) -> dict[str, str]:
    gibibyte = 1 << 30
    cache = min(gibibyte, max(gibibyte // 4, machine.memory // 8))
    return {
        "--distributed-executor-backend": "uni",  # one process less to start
        "--enforce-eager": "",
        "--kv-cache-memory-bytes": str(cache),
        "--max-num-seqs": "32",
    }


def _check(given: Sequence[str]) -> None:
    for word in given:
        name = word.partition("=")[0].partition(".")[0].replace("_", "-")
        if not name.startswith("--") or name in _WHOLE:
            continue
        for refused, reason in _REFUSED.items():
            if refused.startswith(name):
                raise ServingError(
                    Exit.USAGE, f"{word.partition('=')[0]} is not accepted: {reason}"
                )


def _without(
    unwanted: Mapping[str, int], given: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kept: list[str] = []
    dropped: list[str] = []
    skip = 0
    for word in given:
        if skip:
            skip -= 1
            dropped.append(word)
            continue
        name, separator, _ = word.partition("=")
        values = unwanted.get(name.replace("_", "-"))
        if values is None:
            kept.append(word)
            continue
        dropped.append(word)
        skip = 0 if separator else values
    return tuple(kept), tuple(dropped)
