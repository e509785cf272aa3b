"""Artifact sets of models at their real sizes, made from a config alone."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from typing import Any

from drops.stores import File, Sparse
from weightdrop.core.artifacts.config import read_config
from weightdrop.core.artifacts.quantization import FP8, MXFP4
from weightdrop.core.artifacts.safetensors import BITS
from weightdrop.core.artifacts.shapes import expected_tensors

Shapes = Mapping[str, tuple[int, ...]]
Typed = dict[str, tuple[str, tuple[int, ...]]]

CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
STORED = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


def header(tensors: Typed, *, metadata: Any = None) -> bytes:
    """The header of a safetensors file, padded to eight bytes as writers do."""
    entries: dict[str, Any] = {"__metadata__": metadata or {"format": "pt"}}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        size = prod(shape) * BITS[dtype] // 8
        entries[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def data_bytes(tensors: Typed) -> int:
    """Bytes that the tensors take."""
    return sum(prod(shape) * BITS[dtype] // 8 for dtype, shape in tensors.values())


def shard(tensors: Typed) -> Sparse:
    """A weight file of which only the header is stored."""
    head = header(tensors)
    return Sparse(head, len(head) + data_bytes(tensors))


def typed(config: Mapping[str, Any], shapes: Shapes, dtype: str = "") -> Typed:
    """The tensors with the types they are published in."""
    settings = config.get("quantization_config") or {}
    method = settings.get("quant_method")
    text = config.get("text_config") or {}
    named = config.get("torch_dtype") or config.get("dtype") or text.get("torch_dtype")
    plain = STORED[dtype or str(named or "bfloat16")]
    scaled = {
        name.removesuffix("_scale_inv")
        for name in shapes
        if name.endswith("_scale_inv")
    }
    result: Typed = {}
    for name, shape in shapes.items():
        kind = plain
        if method == FP8 and name.endswith(("_scale_inv", "_correction_bias")):
            kind = "F32"
        elif method == FP8 and name in scaled:
            kind = "F8_E4M3"
        elif method == MXFP4 and name.endswith(("_blocks", "_scales")):
            kind = "U8"
        result[name] = (kind, tuple(shape))
    return result


def tensors_of(
    config: Mapping[str, Any], *, dtype: str = "", head: bool = False
) -> Typed:
    """All tensors a model of this config holds.

    Args:
        config: config.json.
        dtype: Type of the plain weights; the config's own where empty.
        head: Whether a tied head is stored as well.
    """
    expected = expected_tensors(read_config(dict(config)))
    if expected is None:
        raise ValueError("the tensors of this architecture are not known")
    shapes = dict(expected.required) | (dict(expected.optional) if head else {})
    return typed(config, shapes, dtype)


def split(tensors: Typed, shards: int) -> list[Typed]:
    """The tensors dealt to `shards` files, in order and about equally many."""
    names = list(tensors)
    size = -(-len(names) // shards)
    parts = [names[at : at + size] for at in range(0, len(names), size)]
    return [{name: tensors[name] for name in part} for part in parts]


def index_of(parts: Mapping[str, Typed], **metadata: Any) -> bytes:
    """The index of weight files by name."""
    total = sum(data_bytes(part) for part in parts.values())
    return json.dumps(
        {
            "metadata": {"total_size": total, **metadata},
            "weight_map": {name: file for file, part in parts.items() for name in part},
        }
    ).encode()


def weight_files(tensors: Typed, shards: int = 1) -> dict[str, File]:
    """Weight files and their index, as save_pretrained names them."""
    if shards == 1:
        return {"model.safetensors": shard(tensors)}
    dealt = split(tensors, shards)
    parts = {
        f"model-{at:05d}-of-{len(dealt):05d}.safetensors": part
        for at, part in enumerate(dealt, 1)
    }
    files: dict[str, File] = {name: shard(part) for name, part in parts.items()}
    return {**files, "model.safetensors.index.json": index_of(parts)}


def tokenizer_files(vocabulary: int = 100, *, template: str = CHAT) -> dict[str, File]:
    """A small fast tokenizer with a chat template."""
    tokenizer = {
        "version": "1.0",
        "added_tokens": [{"id": vocabulary - 1, "content": "</s>", "special": True}],
        "model": {
            "type": "BPE",
            "vocab": {f"t{at}": at for at in range(min(vocabulary, 100))},
            "merges": [],
        },
    }
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if template:
        settings["chat_template"] = template
    return {
        "tokenizer.json": json.dumps(tokenizer).encode(),
        "tokenizer_config.json": json.dumps(settings).encode(),
    }


def model_files(
    config: Mapping[str, Any],
    *,
    shards: int = 1,
    dtype: str = "",
    head: bool = False,
) -> dict[str, File]:
    """A complete drop of a model of this config."""
    return {
        "config.json": json.dumps(config).encode(),
        "generation_config.json": b'{"max_length": 4096}',
        **weight_files(tensors_of(config, dtype=dtype, head=head), shards),
        **tokenizer_files(),
    }


TINY_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 1000,
    "max_position_embeddings": 512,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "rms_norm_eps": 1e-5,
}
"""A model small enough to look at, of an architecture that is listed."""
