"""The context length on a machine without a GPU.

A plan is made for a GPU's memory. The cache of a machine that only tries the model out
holds less, and vLLM refuses to start with a context that does not fit; so vLLM is told
to take what fits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_CONTEXT: Final = "--max-model-len"
_CACHE: Final = "--kv-cache-memory-bytes"
_FITTING: Final = "auto"  # vLLM's word for: as many tokens as the cache holds
_NUMBER_BYTES: Final = 2  # a cached number is in bfloat16
_UNITS: Final = {"k": 10**3, "K": 1 << 10, "m": 10**6, "M": 1 << 20}


def bounded(words: Sequence[str], config: Mapping[str, Any]) -> tuple[str, ...]:
    """`words` with a context length that their cache holds.

    Args:
        words: vLLM's arguments, the cache's size among them.
        config: The model's config.json, which nobody has checked here.
    """
    kept, given = _without_context(words)
    own = _positive(_text(config), "max_position_embeddings")
    length = own if given is None else _count(given)
    cache = _count(_value(words, _CACHE))
    if 0 < token_bytes(config) * length <= cache:
        return tuple(words)
    if given is not None and not length:
        return tuple(words)  # no number: vLLM's to take or to refuse
    return (*kept, _CONTEXT, _FITTING)


def token_bytes(config: Mapping[str, Any]) -> int:
    """Upper bound of what one token takes in the cache; 0 if config does not say.

    Every layer keeps a key and a value of every head. Architectures that keep less,
    by a window or by latent attention, stay below.
    """
    text = _text(config)
    layers = _positive(text, "num_hidden_layers")
    heads = _positive(text, "num_attention_heads")
    pairs = _positive(text, "num_key_value_heads") or heads
    size = _positive(text, "head_dim")
    if not size and heads:
        size = _positive(text, "hidden_size") // heads
    return layers * pairs * 2 * size * _NUMBER_BYTES


def read_config(folder: Path) -> Mapping[str, Any]:
    """The folder's config.json; empty if it holds no object."""
    try:
        document = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}  # vLLM says what is wrong with it
    return document if isinstance(document, dict) else {}


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def _positive(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and value > 0 else 0


def _without_context(words: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    for at, word in enumerate(words):
        name, separator, value = word.partition("=")
        if name.replace("_", "-") == _CONTEXT:
            after = at + (1 if separator else 2)
            given = value if separator else "".join(words[at + 1 : after])
            return (*words[:at], *words[after:]), given
    return tuple(words), None


def _value(words: Sequence[str], wanted: str) -> str:
    for at, word in enumerate(words):
        name, separator, value = word.partition("=")
        if name.replace("_", "-") == wanted:
            return value if separator else "".join(words[at + 1 : at + 2])
    return ""


def _count(text: str) -> int:
    """A number as vLLM reads it: `4096`, `32k`, `32K`; 0 for any other word."""
    unit = _UNITS.get(text[-1:], 1)
    digits = text[:-1] if unit > 1 else text
    return int(digits) * unit if digits.isdecimal() else 0
