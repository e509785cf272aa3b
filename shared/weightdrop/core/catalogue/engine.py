"""What an engine version allocates beside weights and cache: the constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class EngineConstants:
    """The constants of one vLLM version; engine.json holds their sources.

    Attributes:
        version: vLLM's version.
        source: Where the numbers come from.
        gpu_memory_utilization: The engine's default share of a GPU.
        block_tokens: Tokens in one cache block.
        counts_cuda_graphs: Whether graphs are taken out of the budget before
            the cache is sized.
        sampler_copies: float32 arrays of sequences by vocabulary that live
            at once when every sequence samples with filters.
        profiled_sampler_copies: How many of them the profiling run makes; the
            engine gives the rest to the cache, so it must be free beside the
            engine's share.
        forward_intermediate: Feed-forward widths live per batched token.
        forward_hidden: Hidden widths live per batched token.
        pipeline_hidden: Hidden widths more per batched token when layers are
            split into stages.
        activation_base_gib: Activation memory that depends on nothing.
        non_torch_single_gib: Outside torch, on one GPU.
        non_torch_pipeline_gib: Outside torch, with pipeline stages.
        non_torch_tensor_gib: Outside torch, with tensor parallelism.
        non_torch_tensor_log2_gib: And for every doubling of the GPUs.
        context_single_gib: Taken before the engine measures, on one GPU.
        context_tensor_gib: The same with several GPUs.
        cuda_graph_base_gib: CUDA graphs of a model without layers.
        cuda_graph_hidden_bytes: And for every layer and value of its hidden
            width.
        cuda_graph_inner_bytes: And for every layer and value of its
            feed-forward width on one rank.
        cuda_graph_expert_layer_gib: And for every layer with experts.
        cuda_graph_sizes: Batch sizes captured when the constants were fitted.
        cuda_graph_largest: Largest batch size captured.
        mxfp4_intermediate_multiple: Expert widths are padded to this.
        mxfp4_hidden_multiple: Hidden widths of experts are padded to this.
    """

    version: str
    source: str
    gpu_memory_utilization: float
    block_tokens: int
    counts_cuda_graphs: bool
    sampler_copies: int
    profiled_sampler_copies: int
    forward_intermediate: float
    forward_hidden: float
    pipeline_hidden: float
    activation_base_gib: float
    non_torch_single_gib: float
    non_torch_pipeline_gib: float
    non_torch_tensor_gib: float
    non_torch_tensor_log2_gib: float
    context_single_gib: float
    context_tensor_gib: float
    cuda_graph_base_gib: float
    cuda_graph_hidden_bytes: float
    cuda_graph_inner_bytes: float
    cuda_graph_expert_layer_gib: float
    cuda_graph_sizes: int
    cuda_graph_largest: int
    mxfp4_intermediate_multiple: int
    mxfp4_hidden_multiple: int


def engine_of(row: Mapping[str, Any]) -> EngineConstants:
    """The constants from a row of engine.json."""
    return EngineConstants(
        **{field.name: row[field.name] for field in fields(EngineConstants)}
    )
