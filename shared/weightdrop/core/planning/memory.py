"""What the engine takes beside weights and cache, and the whole sum.

The peak is either the forward pass over the largest batch or the sampler over
the whole vocabulary for as many requests as the engine admits. docs/planning.md
derives each term and gives its measured error.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from weightdrop.core.artifacts.model import ModelFacts
from weightdrop.core.catalogue.engine import EngineConstants
from weightdrop.core.planning.weights import (
    DTYPE_BYTES,
    GIB,
    WeightTable,
    padded_vocab,
    weights_gib,
)

# Gemma 3 turns 896 by 896 pixels of three colours into 256 tokens: the most
# pixels per token of the supported towers, assumed where nothing is known.
_UNKNOWN_IMAGE_VALUES = 896 * 896 * 3 // 256


@dataclass(frozen=True, slots=True)
class Setup:
    """How the engine is started on a machine.

    Attributes:
        tensor_parallel: GPUs each matrix is split over.
        max_num_seqs: Sequences admitted at once.
        max_num_batched_tokens: Tokens of one forward pass.
        multiprocessors: Of the GPU.
        pipeline_parallel: Stages the layers are split into.
        enforce_eager: Whether CUDA graphs are off.
        cache_dtype_bytes: Bytes of one cached value; 0 is the model's type.
    """

    tensor_parallel: int
    max_num_seqs: int
    max_num_batched_tokens: int
    multiprocessors: int
    pipeline_parallel: int = 1
    enforce_eager: bool = False
    cache_dtype_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Overhead:
    """GiB on one GPU for everything but the cache."""

    weights_gib: float
    activation_gib: float
    non_torch_gib: float
    cuda_graph_gib: float

    @property
    def non_kv_gib(self) -> float:
        """What the engine reports as total without the cache."""
        return self.weights_gib + self.activation_gib + self.non_torch_gib


def overhead(
    model: ModelFacts, table: WeightTable, setup: Setup, engine: EngineConstants
) -> Overhead:
    """The engine's memory on one GPU, without the cache."""
    return Overhead(
        weights_gib=weights_gib(
            table,
            kv_heads=model.attention.kv_heads,
            tensor_parallel=setup.tensor_parallel,
            pipeline_parallel=setup.pipeline_parallel,
        ),
        activation_gib=activation_gib(model, setup, engine),
        non_torch_gib=non_torch_gib(setup, engine),
        cuda_graph_gib=cuda_graph_gib(model, setup, engine),
    )


def activation_gib(model: ModelFacts, setup: Setup, engine: EngineConstants) -> float:
    """Peak GiB beyond the weights when every sequence samples at once."""
    return _peak_gib(model, setup, engine, copies=engine.sampler_copies)


def unprofiled_gib(model: ModelFacts, setup: Setup, engine: EngineConstants) -> float:
    """The part of `activation_gib` the engine's profiling run does not see."""
    seen = _peak_gib(model, setup, engine, copies=engine.profiled_sampler_copies)
    return activation_gib(model, setup, engine) - seen


def _peak_gib(
    model: ModelFacts, setup: Setup, engine: EngineConstants, *, copies: int
) -> float:
    peak = forward_gib(model, setup, engine)
    if setup.pipeline_parallel == 1:
        peak = max(peak, sampler_gib(model, setup, copies=copies))
    persistent = workspace_gib(model, setup) + tower_gib(model, setup)
    return engine.activation_base_gib + persistent + peak


def sampler_gib(model: ModelFacts, setup: Setup, *, copies: int) -> float:
    """The sampler's peak over the whole vocabulary.

    Logits in the model's type; `copies` float32 arrays of the same shape (the
    converted logits, their probabilities, the noise) with one float32 row for
    each program of the masking kernel; and the batch's hidden states.
    """
    width = DTYPE_BYTES[model.dtype]
    rows = min(setup.max_num_seqs, setup.max_num_batched_tokens)
    vocab = padded_vocab(model.vocab_size)
    logits = vocab * rows * (width + copies * 4)
    kernel_rows = vocab * min(setup.multiprocessors, rows) * 4 if copies else 0
    hidden = (setup.max_num_batched_tokens + rows) * model.hidden_size * width
    return (logits + kernel_rows + hidden) / GIB


def forward_gib(model: ModelFacts, setup: Setup, engine: EngineConstants) -> float:
    """The peak of one layer over the largest batch."""
    width = DTYPE_BYTES[model.dtype]
    hidden = engine.forward_hidden
    if setup.pipeline_parallel > 1:
        hidden += engine.pipeline_hidden
    inner = engine.forward_intermediate * model.intermediate_size
    per_token = inner / setup.tensor_parallel + hidden * model.hidden_size
    return setup.max_num_batched_tokens * width * per_token / GIB


def workspace_gib(model: ModelFacts, setup: Setup) -> float:
    """The two buffers the fused experts keep once they have run."""
    if not model.experts_per_token or not model.expert_intermediate_size:
        return 0.0
    width = DTYPE_BYTES[model.dtype]
    inner = model.expert_intermediate_size / setup.tensor_parallel
    first = max(inner, model.hidden_size)
    second = max(2 * inner, model.hidden_size)
    rows = setup.max_num_batched_tokens * model.experts_per_token
    return rows * (first + second) * width / GIB


def tower_gib(model: ModelFacts, setup: Setup) -> float:
    """A full batch of images held while the language model is profiled.

    Their pixels and what the tower made of them, one hidden vector a token.
    """
    if not model.multimodal:
        return 0.0
    values = model.image_values_per_token or _UNKNOWN_IMAGE_VALUES
    width = DTYPE_BYTES[model.dtype]
    per_token = (values + model.hidden_size) * width
    return setup.max_num_batched_tokens * per_token / GIB


def non_torch_gib(setup: Setup, engine: EngineConstants) -> float:
    """What communication libraries and kernels take outside torch."""
    if setup.tensor_parallel > 1:
        doublings = log2(setup.tensor_parallel)
        return engine.non_torch_tensor_gib + engine.non_torch_tensor_log2_gib * (
            doublings
        )
    if setup.pipeline_parallel > 1:
        return engine.non_torch_pipeline_gib
    return engine.non_torch_single_gib


def cuda_graph_gib(model: ModelFacts, setup: Setup, engine: EngineConstants) -> float:
    """What the captured graphs take; fewer sequences capture fewer graphs."""
    if setup.enforce_eager:
        return 0.0
    layer = (
        engine.cuda_graph_hidden_bytes * model.hidden_size
        + engine.cuda_graph_inner_bytes
        * (model.intermediate_size / setup.tensor_parallel)
    ) / GIB
    if model.experts:
        layer += engine.cuda_graph_expert_layer_gib
    layers = model.layers / setup.pipeline_parallel
    captured = min(
        engine.cuda_graph_largest,
        2 * setup.max_num_seqs,
        setup.max_num_batched_tokens,
    )
    share = min(1.0, captured_sizes(captured) / engine.cuda_graph_sizes)
    return engine.cuda_graph_base_gib + layers * layer * share


def captured_sizes(largest: int) -> int:
    """How many batch sizes are captured up to `largest`.

    1, 2, 4, then every eighth up to 256, then every sixteenth.
    """
    small = sum(1 for size in (1, 2, 4) if size <= largest)
    eights = min(largest, 255) // 8
    sixteens = (largest - 256) // 16 + 1 if largest >= 256 else 0  # noqa: PLR2004
    return small + eights + sixteens


def context_gib(setup: Setup, engine: EngineConstants) -> float:
    """Taken from the GPU before the engine measures what is free."""
    if setup.tensor_parallel > 1:
        return engine.context_tensor_gib
    return engine.context_single_gib
