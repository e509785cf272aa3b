"""What the weights take on each GPU, from the tensor table.

The engine converts floating point weights to the type it computes in, splits
matrices over tensor parallel ranks, and keeps the rest whole on each of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, prod

from weightdrop.core.artifacts.model import ModelFacts, Tensor
from weightdrop.core.catalogue.engine import EngineConstants

GIB = 2**30
_MATRIX = 2  # dimensions
DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
# Types the engine converts on load, with the bytes of one stored value.
# Everything else (float8, packed integers) is kept as it is.
_CONVERTED = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
# vLLM pads the vocabulary before it splits it (DEFAULT_VOCAB_PADDING_SIZE).
_VOCAB_MULTIPLE = 64

_KNOWN_DTYPES = {*_CONVERTED, "F8_E4M3", "F8_E5M2", "U8", "I8", "I32", "I64"}

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
_EXPERTS = ".experts."
_KEY_VALUE = (".k_proj.", ".v_proj.")
_SCALE = ("scale", "scale_inv", "scales", "input_scale")


# Torch's caching allocator takes memory for tensors of ten MiB and more in
# steps of two MiB, and hands the rest of a step back only above one MiB.
_MIB = 2**20
_OWN_SEGMENT = 10 * _MIB
_STEP = 2 * _MIB
_LEAST_REST = _MIB
# Projections that share their input are loaded as one matrix.
_FUSED = (
    ("q_proj", "qkv"),
    ("k_proj", "qkv"),
    ("v_proj", "qkv"),
    ("gate_proj", "gate_up"),
    ("up_proj", "gate_up"),
)


@dataclass(frozen=True, slots=True)
class WeightTable:
    """A checkpoint's bytes once loaded, by how they are placed.

    Attributes:
        matrices: How often each (bytes split over ranks, bytes of key and
            value heads) occurs: the latter are split until each rank has one
            head, then repeated.
        expert_bytes: Routed experts, split evenly.
        embedding_bytes: Embedding and head, split evenly.
        edge_bytes: The larger of embedding and head.
        whole_bytes: Kept by every rank.
        absorbed_bytes: Copies multi-head latent attention makes of its
            up-projections, split evenly.
        rotary_bytes: Rotary tables, kept by every rank.
    """

    matrices: Mapping[tuple[int, int], int]
    expert_bytes: int
    embedding_bytes: int
    edge_bytes: int
    whole_bytes: int
    absorbed_bytes: int
    rotary_bytes: int


def padded_vocab(vocab_size: int) -> int:
    """The vocabulary's size as the engine allocates it."""
    return ceil(vocab_size / _VOCAB_MULTIPLE) * _VOCAB_MULTIPLE


def allocated(nbytes: float) -> float:
    """Bytes the allocator counts for a tensor of `nbytes`."""
    if nbytes < _OWN_SEGMENT:
        return nbytes
    segment = ceil(nbytes / _STEP) * _STEP
    return segment if segment - nbytes <= _LEAST_REST else nbytes


def _loaded_bytes(tensor: Tensor, width: int, *, quantized: bool) -> int:
    """Bytes of `tensor` once loaded with `width` bytes per value."""
    stored = _CONVERTED.get(tensor.dtype)
    if stored is None or stored == width:
        return tensor.nbytes
    if quantized and tensor.name.endswith(_SCALE):
        return tensor.nbytes
    return prod(tensor.shape) * width


def _experts_apart(model: ModelFacts, kept: frozenset[str]) -> tuple[int, list[Tensor]]:
    """Bytes of the experts that are loaded as stored, and all other tensors.

    They are nine in ten tensors of a large mixture, and need no more than an
    addition.
    """
    beyond = f".layers.{model.layers}."
    nbytes = sum(
        [
            tensor.nbytes
            for tensor in model.tensors
            if _EXPERTS in tensor.name
            and tensor.dtype in kept
            and beyond not in tensor.name
        ]
    )
    others = [
        tensor
        for tensor in model.tensors
        if _EXPERTS not in tensor.name or tensor.dtype not in kept
    ]
    return nbytes, others


def _loaded(model: ModelFacts, tensors: Iterable[Tensor]) -> Iterable[Tensor]:
    """Those of `tensors` the engine loads, without those it ignores."""
    # Layers past the last hidden one hold multi-token prediction.
    unused = (f"model.layers.{model.layers}.", "mtp.")
    for tensor in tensors:
        name = tensor.name
        if name.startswith(unused) or name.endswith("rotary_emb.inv_freq"):
            continue
        if model.tied_embeddings and name.endswith("lm_head.weight"):
            continue
        yield tensor


def _kept_dtypes(width: int, *, quantized: bool) -> frozenset[str]:
    """Types of experts' tensors that are loaded as they are stored."""
    plain = {name for name, stored in _CONVERTED.items() if stored != width}
    if quantized:
        plain.discard("F32")  # the scales
    return frozenset(_KNOWN_DTYPES - plain)


def _is_key_value(name: str) -> bool:
    """Whether the language model's key and value heads share the matrix."""
    return any(part in name for part in _KEY_VALUE) and "vis" not in name


def _fused_name(name: str) -> str:
    for part, fused in _FUSED:
        if part in name:
            return name.replace(part, fused)
    return name


def weight_table(model: ModelFacts, engine: EngineConstants) -> WeightTable:
    """How the weights of `model` are placed by `engine`."""
    width = DTYPE_BYTES[model.dtype]
    quantized = bool(model.quantization)
    embedding = edge = whole = absorbed = 0
    split: Counter[str] = Counter()
    heads: Counter[str] = Counter()
    experts, others = _experts_apart(model, _kept_dtypes(width, quantized=quantized))
    for tensor in _loaded(model, others):
        name = tensor.name
        size = _loaded_bytes(tensor, width, quantized=quantized)
        if _EXPERTS in name:
            experts += size
        elif len(tensor.shape) < _MATRIX or any(part in name for part in _WHOLE):
            whole += size
        elif "embed_tokens" in name or "lm_head" in name:
            embedding += size
            edge = max(edge, size)
        else:
            pool = heads if _is_key_value(name) else split
            pool[_fused_name(name)] += size
            if name.endswith(".kv_b_proj.weight"):
                absorbed += prod(tensor.shape) * width
    if model.quantization == "mxfp4":
        experts = round(experts * _mxfp4_padding(model, engine))
    return WeightTable(
        matrices=Counter((split[name], heads[name]) for name in {*split, *heads}),
        expert_bytes=experts,
        embedding_bytes=embedding,
        edge_bytes=edge,
        whole_bytes=whole,
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
    """GiB of weights on the fullest GPU.

    Args:
        table: The checkpoint's placement.
        kv_heads: Key and value heads of the model.
        tensor_parallel: Ranks each matrix is split over.
        pipeline_parallel: Stages the layers are split into; the first and the
            last hold the embedding and the head.
    """
    head_ranks = max(1, min(tensor_parallel, kv_heads))
    matrices = sum(
        allocated(split / tensor_parallel + heads / head_ranks) * count
        for (split, heads), count in table.matrices.items()
    )
    evenly = (table.expert_bytes + table.absorbed_bytes) / tensor_parallel
    layers = (matrices + evenly + table.whole_bytes) / pipeline_parallel
    edge = table.embedding_bytes if pipeline_parallel == 1 else table.edge_bytes
    return (layers + edge / tensor_parallel + table.rotary_bytes) / GIB
