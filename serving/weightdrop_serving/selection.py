"""Which files of a folder the engine needs, in the order it needs them."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

from weightdrop_serving.failures import Exit, ServingError
from weightdrop_serving.storage import Source

CONFIG: Final = "config.json"
SAFETENSORS_INDEX: Final = "model.safetensors.index.json"
BIN_INDEX: Final = "pytorch_model.bin.index.json"

_WEIGHTS: Final = ("*.safetensors", "*.bin")
# What trainers leave behind and no server reads; consolidated*.safetensors would
# make vLLM read the folder in another format altogether.
_NEVER: Final = (
    "*.gguf", "*.h5", "*.msgpack", "*.onnx", "*.ot", "*.pt", "*.pth", "*.py",
    "*.tflite", "consolidated*", "optimizer*", "params.json", "scheduler*",
    "training_args*", "weightdrop.json", ".*",
)  # fmt: skip
_LARGEST_SMALL_FILE: Final = 128 << 20  # bytes; tokenizers stay far below
_LONGEST_NAME: Final = 1024  # bytes, of Cloud Storage's objects
_MATTERING: Final = (
    ".safetensors", ".bin", ".json", ".model", ".jinja", ".txt", ".gguf", ".py",
)  # fmt: skip
_TEMPORARY: Final = ("gcloud/tmp/", ".tmp/")


def digest(files: Iterable[Source]) -> str:
    """What identifies a drop: sha256 over sorted path, size and crc32c.

    The same as the deploying side computes, of the same files: a README is no part
    of it, nor is another model in a folder below. Generations differ in the copy
    that Vertex AI makes, so they are no part of it either.
    """
    found = list(files)
    inner = tuple(
        file.path.removesuffix(CONFIG)
        for file in found
        if file.path.endswith(f"/{CONFIG}")
    )
    state = hashlib.sha256()
    for file in sorted(found, key=lambda file: file.path):
        if _matters(file.path) and not file.path.startswith(inner):
            state.update(f"{file.path}\0{file.size}\0{file.crc32c}\n".encode())
    return state.hexdigest()


def _matters(path: str) -> bool:
    """Whether a server could read `path`: the rule of the deploying side."""
    parts = path.split("/")
    return (
        path.isprintable()
        and len(path.encode(errors="replace")) <= _LONGEST_NAME
        and not {"", ".", ".."} & {*parts}
        and not any(f"/{folder}" in f"/{path}" for folder in _TEMPORARY)
        and not parts[-1].startswith(".")
        and parts[-1].endswith(_MATTERING)
    )


def is_weights(path: str) -> bool:
    """Whether `path` is a file of tensors."""
    return any(fnmatch.fnmatch(path, pattern) for pattern in _WEIGHTS)


def small_files(files: Iterable[Source]) -> list[Source]:
    """Config, tokenizer, templates and index: all that is wanted before weights.

    Raises:
        ServingError: If there is no config.json, or a name leads out of the folder.
    """
    chosen = [
        file
        for file in files
        if _at_top(file.path)
        and not is_weights(file.path)
        and not any(fnmatch.fnmatch(file.path, pattern) for pattern in _NEVER)
        and file.size <= _LARGEST_SMALL_FILE
    ]
    if not any(file.path == CONFIG for file in chosen):
        raise ServingError(
            Exit.WEIGHTS_MISSING,
            "there is no config.json at the top of the model's folder; AIP_STORAGE_URI "
            "or WEIGHTDROP_SOURCE must name the folder that holds it",
        )
    return chosen


def weight_files(files: Sequence[Source], indexes: dict[str, str]) -> list[Source]:
    """The files of tensors that make up the model.

    Safetensors win over `.bin`; where an index names the files, only those count.

    Args:
        files: All files of the folder.
        indexes: Text of the index files that exist, by name.

    Raises:
        ServingError: If there are none, one is missing, or an index is no index.
    """
    by_path = {file.path: file for file in files if _at_top(file.path)}
    for suffix, index in ((".safetensors", SAFETENSORS_INDEX), (".bin", BIN_INDEX)):
        if index in indexes:
            return [_named(by_path, path, index) for path in _listed(indexes, index)]
        found = [
            file
            for path, file in by_path.items()
            if path.endswith(suffix)
            and not any(fnmatch.fnmatch(path, pattern) for pattern in _NEVER)
        ]
        if found:
            return found
    raise ServingError(
        Exit.WEIGHTS_MISSING,
        "the model's folder holds no *.safetensors and no *.bin file",
    )


def _at_top(path: str) -> bool:
    return len(PurePosixPath(path).parts) == 1 and path not in (".", "..")


def _listed(indexes: dict[str, str], index: str) -> list[str]:
    try:
        names = set(json.loads(indexes[index])["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ServingError(
            Exit.WEIGHTS_UNUSABLE, f"{index} has no weight_map that can be read"
        ) from error
    if not names or not all(isinstance(name, str) for name in names):
        raise ServingError(Exit.WEIGHTS_UNUSABLE, f"{index} names no files")
    return sorted(names)


def _named(by_path: dict[str, Source], path: str, index: str) -> Source:
    if path not in by_path:
        raise ServingError(
            Exit.WEIGHTS_MISSING,
            f"{index} names {path!r}, which is not in the model's folder",
        )
    return by_path[path]
