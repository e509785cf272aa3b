"""What the cache of keys, values and states takes on each GPU."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from weightdrop.core.artifacts.model import Attention, ModelFacts
from weightdrop.core.planning.memory import Setup
from weightdrop.core.planning.weights import DTYPE_BYTES

# Layers of two kinds are cached in groups of the smaller kind's size, padded
# to whole groups, unless the kinds differ in number by less than a quarter.
_SIMILAR = 1.25


@dataclass(frozen=True, slots=True)
class CacheModel:
    """The cache of one model on one GPU.

    Attributes:
        growing_bytes: Per token, in layers that see the whole context.
        windowed_bytes: Per token, in layers that see a window.
        state_bytes: Per sequence, whatever its length.
        window: Tokens a windowed layer attends to.
        block_tokens: Tokens are cached in blocks of so many.
        batched_tokens: Tokens in flight beside the window.
    """

    growing_bytes: int
    windowed_bytes: int
    state_bytes: int
    window: int
    block_tokens: int
    batched_tokens: int

    def sequence_bytes(self, length: int) -> int:
        """Bytes the engine sets aside for one sequence of `length` tokens."""
        block = self.block_tokens
        total = self.state_bytes + ceil(length / block) * block * self.growing_bytes
        if self.windowed_bytes:
            held = min(max(self.window - 1, 0) + self.batched_tokens, length)
            # One block more: a window need not start where a block does.
            total += (ceil(held / block) + 1) * block * self.windowed_bytes
        return total

    def tokens(self, pool_bytes: float, length: int) -> int:
        """Tokens `pool_bytes` hold, in sequences of `length` tokens."""
        if pool_bytes <= 0:
            return 0
        each = self.sequence_bytes(length)
        return int(pool_bytes * length / each) if each else 0


def cache_model(model: ModelFacts, setup: Setup, *, block_tokens: int) -> CacheModel:
    """The cache of `model` started as `setup` says."""
    attention = model.attention
    width = setup.cache_dtype_bytes or DTYPE_BYTES[model.dtype]
    per_layer = _layer_bytes(attention, setup.tensor_parallel, width)
    full, windowed = _grouped(attention.full_layers, attention.windowed_layers)
    states = attention.linear_layers * attention.linear_state_bytes
    return CacheModel(
        growing_bytes=per_layer * full,
        windowed_bytes=per_layer * windowed,
        state_bytes=ceil(states / setup.tensor_parallel),
        window=attention.window,
        block_tokens=block_tokens,
        batched_tokens=setup.max_num_batched_tokens,
    )


def _layer_bytes(attention: Attention, tensor_parallel: int, width: int) -> int:
    """Bytes per token and layer on one rank."""
    if attention.mla_width:
        return attention.mla_width * width
    heads = max(1, ceil(attention.kv_heads / tensor_parallel))
    return 2 * heads * attention.head_dim * width


def _grouped(full: int, windowed: int) -> tuple[int, int]:
    """Full and windowed layers after padding to whole groups."""
    if not full or not windowed:
        return full, windowed
    smaller, larger = sorted((full, windowed))
    group = larger if larger < smaller * _SIMILAR else smaller
    return ceil(full / group) * group, ceil(windowed / group) * group
