"""What the weights take on each GPU, from the tensor table.

The engine converts floating point weights to the type it computes in, splits
matrices over tensor parallel ranks, and keeps the rest whole on each of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, prod

from weightdrop.core.artifacts.model import ModelFacts, Tensor
from weightdrop.core.catalogue.engine import EngineConstants

GIB = 2**30
DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
# Types the engine converts on load, with the bytes of one stored value.
# Everything else (float8, packed integers) is kept as it is.
_CONVERTED = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
# vLLM pads the vocabulary before it splits it (DEFAULT_VOCAB_PADDING_SIZE).
_VOCAB_MULTIPLE = 64

# Matrices every rank keeps whole: routers, the latent down-projections of
# multi-head latent attention, and what joins a tower to the language model.
_WHOLE = (
    ".gate.weight",
    ".gate.e_score_correction_bias",
    ".router.",
    "shared_expert_gate",
    ".q_a_proj.",
    ".kv_a_proj_with_mqa.",
    "patch_embed",
    "position_embedding",
    "pos_emb",
    "mm_input_projection",
    "multi_modal_projector",
)
_KEY_VALUE = (".k_proj.", ".v_proj.")
# Stored, but never loaded: the engine computes the rotary tables itself and
# uses multi-token prediction layers for speculation only.
_UNUSED = ("rotary_emb.inv_freq", "mtp.")
_SCALE = ("scale", "scale_inv", "scales", "input_scale")


@dataclass(frozen=True, slots=True)
class WeightTable:
    """A checkpoint's bytes once loaded, by how they are placed.

    Attributes:
        split_bytes: Divided evenly over tensor parallel ranks.
        key_value_bytes: Key and value projections: divided until each rank
            has one head, then repeated.
        whole_bytes: Kept by every rank.
        expert_bytes: Routed experts, in `split_bytes` as well.
        embedding_bytes: Embedding and head, in `split_bytes` as well.
        absorbed_bytes: Copies multi-head latent attention makes of its
            up-projections, divided over ranks.
        rotary_bytes: Rotary tables, kept by every rank.
    """

    split_bytes: int
    key_value_bytes: int
    whole_bytes: int
    expert_bytes: int
    embedding_bytes: int
    absorbed_bytes: int
    rotary_bytes: int


def padded_vocab(vocab_size: int) -> int:
    """The vocabulary's size as the engine allocates it."""
    return ceil(vocab_size / _VOCAB_MULTIPLE) * _VOCAB_MULTIPLE


def _loaded_bytes(tensor: Tensor, width: int, *, quantized: bool) -> int:
    """Bytes of `tensor` once loaded with `width` bytes per value."""
    stored = _CONVERTED.get(tensor.dtype)
    if stored is None or stored == width:
        return tensor.nbytes
    if quantized and tensor.name.endswith(_SCALE):
        return tensor.nbytes
    return prod(tensor.shape) * width


def _loaded(model: ModelFacts) -> Iterable[Tensor]:
    """The tensors the engine loads, without those it ignores."""
    # Layers past the last hidden one hold multi-token prediction.
    beyond = f".layers.{model.layers}."
    for tensor in model.tensors:
        name = tensor.name
        if beyond in name and name.startswith("model.layers."):
            continue
        if name.startswith("mtp.") or name.endswith(_UNUSED[0]):
            continue
        if model.tied_embeddings and name.endswith("lm_head.weight"):
            continue
        yield tensor


def weight_table(model: ModelFacts, engine: EngineConstants) -> WeightTable:
    """How the weights of `model` are placed by `engine`."""
    width = DTYPE_BYTES[model.dtype]
    quantized = bool(model.quantization)
    split = key_value = whole = experts = embedding = absorbed = 0
    for tensor in _loaded(model):
        name = tensor.name
        size = _loaded_bytes(tensor, width, quantized=quantized)
        if ".experts." in name:
            experts += size
        elif len(tensor.shape) < 2 or any(part in name for part in _WHOLE):  # noqa: PLR2004 (a vector has one dimension)
            whole += size
        elif "embed_tokens" in name or "lm_head" in name:
            embedding += size
        elif any(part in name for part in _KEY_VALUE):
            key_value += size
        else:
            split += size
            if ".kv_b_proj.weight" in name and "scale" not in name:
                absorbed += prod(tensor.shape) * width
    if model.quantization == "mxfp4":
        experts = round(experts * _mxfp4_padding(model, engine))
    return WeightTable(
        split_bytes=split + experts + embedding,
        key_value_bytes=key_value,
        whole_bytes=whole,
        expert_bytes=experts,
        embedding_bytes=embedding,
        absorbed_bytes=absorbed,
        rotary_bytes=_rotary_values(model) * width,
    )


def _mxfp4_padding(model: ModelFacts, engine: EngineConstants) -> float:
    """By how much padding enlarges experts in mxfp4."""
    hidden = engine.mxfp4_hidden_multiple
    inner = engine.mxfp4_intermediate_multiple
    width = model.expert_intermediate_size or model.intermediate_size
    return (ceil(model.hidden_size / hidden) * hidden / model.hidden_size) * (
        ceil(width / inner) * inner / width
    )


def _rotary_values(model: ModelFacts) -> int:
    """Values in the rotary tables; one plain table when nothing is known."""
    if model.rotary_values:
        return model.rotary_values
    return model.max_position * model.attention.head_dim


def weights_gib(
    table: WeightTable,
    *,
    kv_heads: int,
    tensor_parallel: int,
    pipeline_parallel: int = 1,
) -> float:
    """GiB of weights on one GPU.

    With pipeline stages this is a stage in the middle when there are more
    than two, for its embedding-free share is what the engine reports.

    Args:
        table: The checkpoint's placement.
        kv_heads: Key and value heads of the model.
        tensor_parallel: Ranks each matrix is split over.
        pipeline_parallel: Stages the layers are split into.
    """
    key_value_ranks = max(1, min(tensor_parallel, kv_heads))
    layers = (
        (table.split_bytes - table.embedding_bytes) / tensor_parallel
        + table.absorbed_bytes / tensor_parallel
        + table.key_value_bytes / key_value_ranks
        + table.whole_bytes
    ) / pipeline_parallel
    embedding = table.embedding_bytes / tensor_parallel
    if pipeline_parallel > 1:
        # First and last stage hold one of embedding and head each.
        embedding = embedding / 2 if pipeline_parallel == 2 else 0.0  # noqa: PLR2004
    return (layers + embedding + table.rotary_bytes) / GIB
