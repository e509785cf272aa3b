"""Over how many GPUs the engine can split a model."""

from __future__ import annotations

from weightdrop.core.artifacts.model import ModelFacts
from weightdrop.core.planning.weights import padded_vocab

# Block-quantised float8 weights have one scale per 128 by 128 values.
_FP8_BLOCK = 128


def split_refusal(model: ModelFacts, ranks: int) -> str:
    """Why vLLM refuses to split `model` over `ranks`; empty when it does not."""
    attention = model.attention
    if attention.heads % ranks:
        return f"{attention.heads} attention heads do not divide by {ranks}"
    if (
        not attention.mla_width
        and attention.kv_heads % ranks
        and ranks % attention.kv_heads
    ):
        return (
            f"{attention.kv_heads} key and value heads neither divide by {ranks} "
            "nor divide it"
        )
    if padded_vocab(model.vocab_size) % ranks:
        return f"a vocabulary of {model.vocab_size} does not divide by {ranks}"
    return _width_refusal(model, ranks)


def _width_refusal(model: ModelFacts, ranks: int) -> str:
    """Why the feed-forward blocks cannot be split; empty when they can."""
    if model.intermediate_size % ranks:
        return f"a width of {model.intermediate_size} does not divide by {ranks}"
    expert = model.expert_intermediate_size
    if model.quantization == "mxfp4" or not expert:
        return ""
    if expert % ranks:
        return f"experts {expert} wide do not divide by {ranks}"
    if model.quantization == "fp8" and (expert // ranks) % _FP8_BLOCK:
        return (
            f"experts {expert} wide over {ranks} GPUs cut through the "
            f"{_FP8_BLOCK}-wide blocks of their scales"
        )
    return ""


def tensor_parallel_for(model: ModelFacts, gpus: int) -> int:
    """The most of `gpus` the model can be split over, in powers of two."""
    ranks = 1
    while ranks * 2 <= gpus:
        ranks *= 2
    while ranks > 1 and split_refusal(model, ranks):
        ranks //= 2
    return ranks
