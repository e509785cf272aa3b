"""A model's folder with its weights in PyTorch's own files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from weightdrop_serving.selection import BIN_INDEX, SAFETENSORS_INDEX


def as_bin(model: Path, folder: Path) -> None:
    """Copy `model` to `folder`, every shard and the index as `.bin`."""
    import torch  # noqa: PLC0415  # seconds, and few tests need it
    from safetensors.torch import load_file  # noqa: PLC0415

    folder.mkdir(parents=True)
    for path in model.iterdir():
        if path.suffix == ".safetensors":
            tensors: dict[str, Any] = load_file(path)
            torch.save(tensors, folder / _renamed(path.name))
        elif path.name != SAFETENSORS_INDEX:
            shutil.copy(path, folder)
    index = json.loads((model / SAFETENSORS_INDEX).read_text())
    shards = index["weight_map"]
    index["weight_map"] = {key: _renamed(name) for key, name in shards.items()}
    (folder / BIN_INDEX).write_text(json.dumps(index))


def _renamed(name: str) -> str:
    stem = name.removesuffix(".safetensors").replace("model", "pytorch_model", 1)
    return f"{stem}.bin"
