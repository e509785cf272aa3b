"""Whether the weights are quantised, from the config and from the tensors.

Neither is believed alone: an upload may drop quantization_config and keep the
packed tensors, or keep the key and hold plain weights.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from weightdrop.core.artifacts import model_codes
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import shown
from weightdrop.core.artifacts.model import Tensor

QUANT_FILE = "hf_quant_config.json"
FP8 = "fp8"
MXFP4 = "mxfp4"
PUBLISHED = {
    "DeepseekV3ForCausalLM": FP8,
    "GptOssForCausalLM": MXFP4,
}
"""The form in which listed base models of an architecture are published."""
PLAIN = frozenset({"BF16", "F16", "F32"})
_PACKED = frozenset({"U8", "I8", "U16", "U32", "I16", "I32", "F4", "F6_E2M3",
                     "F6_E3M2", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ",
                     "F8_E5M2FNUZ"})  # fmt: skip
_TRACES = (
    ("bitsandbytes", re.compile(
        r"\.(SCB|weight_format|absmax|quant_map|nested_absmax|nested_quant_map)$"
        r"|\.quant_state\.")),
    ("GPTQ or AWQ", re.compile(r"\.(qweight|qzeros|g_idx)$")),
    ("MLX", re.compile(r"\.(scales|biases)$")),
    ("compressed-tensors", re.compile(r"\.(weight_packed|weight_zero_point)$")),
    ("HQQ", re.compile(r"\.(W_q|meta)$")),
    ("NVFP4 or FP8", re.compile(
        r"\.(weight_scale|weight_scale_2|input_scale|input_global_scale"
        r"|weight_global_scale)$")),
)  # fmt: skip
_PACKED_SIGN = "packed"
_MXFP4 = re.compile(r"\.experts\.(gate_up|down)_proj_(blocks|scales)$")


@dataclass(frozen=True, slots=True)
class Declared:
    """What the documents say about quantisation.

    Attributes:
        method: "" for none, else the method in a word or two.
        published: "fp8" or "mxfp4" if it is exactly the form in which a listed
            base model of this architecture is published.
        where: The file and key it was read from.
    """

    method: str = ""
    published: str = ""
    where: str = ""


def _is_published(architecture: str, settings: dict[str, Any]) -> str:
    form = PUBLISHED.get(architecture, "")
    if not form or settings.get("quant_method") != form:
        return ""
    if form == FP8:
        block = settings.get("weight_block_size") == [128, 128]
        kind = settings.get("fmt", "e4m3") == "e4m3"
        scheme = settings.get("activation_scheme", "dynamic") == "dynamic"
        return form if block and kind and scheme else ""
    return form


def _method(settings: dict[str, Any]) -> str:
    method = settings.get("quant_method")
    if isinstance(method, str) and method:
        return shown(method, 40)
    algorithm = settings.get("quant_algo")
    if isinstance(algorithm, str) and algorithm:
        return shown(algorithm, 40)
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        return "bitsandbytes"
    if "bits" in settings or "group_size" in settings:
        return f"{shown(str(settings.get('bits', '?')), 10)} bit (MLX or the like)"
    return "an unnamed method" if any(_flat(settings)) else ""


def _flat(settings: dict[str, Any]) -> Iterable[Any]:
    return (value for value in settings.values() if value not in (None, {}, [], False))


def declared(
    raw: dict[str, Any], quant_file: dict[str, Any] | None, architecture: str
) -> Declared:
    """What config.json and hf_quant_config.json say.

    Args:
        raw: config.json.
        quant_file: hf_quant_config.json, if there is one.
        architecture: The model's class.
    """
    places = [
        (f"{key} of {part or 'config.json'}", holder[key])
        for part, holder in (("", raw), *_parts(raw))
        for key in ("quantization_config", "quantization", "compression_config")
        if key in holder
    ]
    for where, settings in places:
        if settings in (None, {}, "", False):
            continue
        if not isinstance(settings, dict):
            return Declared(shown(str(settings), 40), "", where)
        method = _method(settings)
        if method:
            return Declared(method, _is_published(architecture, settings), where)
    if quant_file:
        settings = quant_file.get("quantization", quant_file)
        if isinstance(settings, dict) and (method := _method(settings)):
            return Declared(method, "", QUANT_FILE)
    return Declared()


def _parts(raw: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (key, value)
        for key, value in raw.items()
        if key.endswith("_config")
        and isinstance(value, dict)
        and key not in ("quantization_config", "compression_config")
    ]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the tensors themselves show.

    Attributes:
        method: "" for plain weights, "fp8" (blocks of 128), "mxfp4", or what
            else it looks like.
        example: A tensor that shows it.
        dtype: The type of most plain values ("BF16", …); "" without any.
    """

    method: str = ""
    example: Tensor | None = None
    dtype: str = ""


def stored(tensors: Iterable[Tensor]) -> Stored:
    """How the tensors are stored, from their types and names."""
    sizes: Counter[str] = Counter()
    examples: dict[str, Tensor] = {}
    for tensor in tensors:
        sizes[tensor.dtype] += tensor.nbytes
        if tensor.dtype in PLAIN and tensor.name.endswith(".weight"):
            continue
        if sign := _sign(tensor):
            examples.setdefault(sign, tensor)
    dtype = _dominant(sizes)
    for method, _ in _TRACES:
        if method in examples:
            return Stored(method, examples[method], dtype)
    packed, scale = examples.get(_PACKED_SIGN), examples.get(FP8)
    if packed is None:
        form = MXFP4 if MXFP4 in examples else FP8 if scale else ""
        return Stored(form, examples.get(form), dtype)
    if packed.dtype == "F8_E4M3" and scale:
        return Stored(FP8, packed, dtype)
    return Stored(f"{packed.dtype} weights", packed, dtype)


def _sign(tensor: Tensor) -> str:
    """What a tensor is a sign of; empty for a plain one."""
    name = tensor.name
    if name.endswith(("_blocks", "_scales")) and _MXFP4.search(name):
        return MXFP4
    if name.endswith(".weight_scale_inv"):
        return FP8
    if not name.endswith((".weight", ".bias")):
        for method, trace in _TRACES:
            if trace.search(name):
                return method
    return _PACKED_SIGN if tensor.dtype in _PACKED and len(tensor.shape) > 1 else ""


def _dominant(sizes: Counter[str]) -> str:
    plain = [(size, dtype) for dtype, size in sizes.items() if dtype in PLAIN]
    return max(plain)[1] if plain else ""


def declared_findings(said: Declared) -> list[Finding]:
    """The finding for a quantisation that the documents declare."""
    if not said.method or said.published:
        return []
    file = QUANT_FILE if said.where == QUANT_FILE else "config.json"
    return [
        model_codes.QUANTIZED.found(
            f"{said.where} says that the weights are quantised ({said.method}).",
            file=file,
        )
    ]


def stored_findings(said: Declared, seen: Stored, architecture: str) -> list[Finding]:
    """What the tensors show, and whether the documents agree.

    Call it only when all weight files have been read.
    """
    file = seen.example.file if seen.example else ""
    name = shown(seen.example.name) if seen.example else ""
    if said.published and seen.method != said.published:
        actual = f"{seen.method} ({name})" if seen.method else f"plain {seen.dtype}"
        return [
            model_codes.QUANTIZATION_DISAGREES.found(
                f"{said.where} says {said.method}, but the weights are {actual}.",
                file="config.json",
            )
        ]
    if said.published or not seen.method:
        return _plain_but_declared(said, seen)
    if seen.method == PUBLISHED.get(architecture) and not said.method:
        return [
            model_codes.QUANTIZATION_DISAGREES.found(
                f"The weights are {seen.method} ({name}), but config.json has no "
                "quantization_config.",
                file="config.json",
                fix="Restore quantization_config from the base model's config.json.",
            )
        ]
    return [
        model_codes.QUANTIZED.found(
            f"The tensors show that the weights are quantised: {seen.method}, as in "
            f"{name} of type {seen.example.dtype if seen.example else ''}.",
            file=file,
        )
    ]


def _plain_but_declared(said: Declared, seen: Stored) -> list[Finding]:
    if said.method and not seen.method and seen.dtype:
        return [
            model_codes.QUANTIZATION_DISAGREES.found(
                f"{said.where} says {said.method}, but the weights are plain "
                f"{seen.dtype}.",
                file="config.json",
            )
        ]
    return []
