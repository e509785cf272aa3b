"""Models to plan for: small tables with real proportions."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from weightdrop.core.artifacts.model import Attention, ModelFacts, Tensor


def tensor(name: str, *shape: int, dtype: str = "BF16") -> Tensor:
    """A tensor as a header describes it."""
    width = {"F32": 4, "BF16": 2, "F16": 2}.get(dtype, 1)
    return Tensor(name, dtype, shape, prod(shape) * width, "model.safetensors")


def dense(
    *,
    hidden: int = 4096,
    inner: int = 14336,
    layers: int = 32,
    heads: int = 32,
    kv_heads: int = 8,
    vocab: int = 128256,
    positions: int = 131072,
    dtype: str = "BF16",
    **changes: Any,
) -> ModelFacts:
    """A Llama of these dimensions; Llama-3.1-8B by default.

    Args:
        hidden: Width of the residual stream.
        inner: Width of the feed-forward block.
        layers: Hidden layers.
        heads: Query heads.
        kv_heads: Key and value heads.
        vocab: Rows of the embedding.
        positions: Context the config claims.
        dtype: Type the weights are stored in.
        **changes: Fields of the facts to replace.
    """
    dim = hidden // heads
    tensors = [
        tensor("model.embed_tokens.weight", vocab, hidden, dtype=dtype),
        tensor("lm_head.weight", vocab, hidden, dtype=dtype),
        tensor("model.norm.weight", hidden, dtype=dtype),
    ]
    shapes = {
        "self_attn.q_proj": (heads * dim, hidden),
        "self_attn.k_proj": (kv_heads * dim, hidden),
        "self_attn.v_proj": (kv_heads * dim, hidden),
        "self_attn.o_proj": (hidden, heads * dim),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    for layer in range(layers):
        tensors += [
            tensor(f"model.layers.{layer}.{name}.weight", *shape, dtype=dtype)
            for name, shape in shapes.items()
        ]
    facts = ModelFacts(
        architecture="LlamaForCausalLM",
        model_type="llama",
        base_model="",
        parameters=sum(prod(entry.shape) for entry in tensors),
        dtype="bfloat16",
        quantization="",
        hidden_size=hidden,
        intermediate_size=inner,
        layers=layers,
        vocab_size=vocab,
        max_position=positions,
        experts=0,
        multimodal=False,
        tied_embeddings=False,
        attention=Attention(heads, kv_heads, dim, layers),
        tensors=tuple(tensors),
    )
    return replace(facts, **changes)


def tiny() -> ModelFacts:
    """About a million parameters."""
    return dense(
        hidden=128, inner=256, layers=4, heads=4, kv_heads=2, vocab=2048, positions=2048
    )


def seventy() -> ModelFacts:
    """Llama-3.1-70B."""
    return dense(hidden=8192, inner=28672, layers=80, heads=64)
