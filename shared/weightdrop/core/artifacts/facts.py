"""ModelFacts from config and tensors: what planning works from."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from weightdrop.core.artifacts import model_codes
from weightdrop.core.artifacts.attention import (
    attention_of,
    image_values_per_token,
    rotary_values,
)
from weightdrop.core.artifacts.config import ModelConfig
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import shown
from weightdrop.core.artifacts.model import ModelFacts, Tensor
from weightdrop.core.artifacts.parsers import NO_PARSERS, Parsers
from weightdrop.core.artifacts.quantization import Declared
from weightdrop.core.catalogue.base_models import Dimensions, Match, recognise

DTYPES = {
    "bfloat16": "bfloat16",
    "float16": "float16",
    "half": "float16",
    "float32": "float32",
    "float": "float32",
}
_STORED = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


def parameters_of(tensors: Iterable[Tensor]) -> int:
    """Values stored, the way model hubs count: two to a byte of MXFP4 blocks."""
    return sum(
        prod(tensor.shape) * (2 if tensor.name.endswith("_blocks") else 1)
        for tensor in tensors
    )


def declared_dtype(config: ModelConfig) -> tuple[str, list[Finding]]:
    """The data type config.json names; "" if it names none."""
    for holder in (config.raw, config.text):
        for key in ("dtype", "torch_dtype"):
            value = holder.get(key)
            if value in (None, "auto"):
                continue
            name = str(value).removeprefix("torch.")
            if name in DTYPES:
                return DTYPES[name], []
            found = model_codes.DTYPE_UNKNOWN.found(
                f"{key} is {shown(repr(value), 40)}.", file="config.json"
            )
            return "", [found]
    return "", []


def computing_dtype(
    declared: str, stored: str, *, complete: bool
) -> tuple[str, list[Finding]]:
    """What vLLM computes in with `--dtype auto`, and what there is to say.

    float32 is served in bfloat16, as the engine does on every GPU in the
    catalogue.

    Args:
        declared: From config.json, or empty.
        stored: Safetensors name of the type of most weights, or empty.
        complete: Whether all weights have been seen.
    """
    actual = _STORED.get(stored, "")
    findings = []
    if complete and declared and actual and declared != actual:
        findings.append(
            model_codes.DTYPE_DIFFERS.found(
                f"config.json says {declared}, but the weights are {actual}.",
                file="config.json",
            )
        )
    if actual == "float32":
        findings.append(
            model_codes.FLOAT32_WEIGHTS.found(
                "The weights are stored in float32, twice the size they are served in."
            )
        )
    chosen = declared or actual or "bfloat16"
    return ("bfloat16" if chosen == "float32" else chosen), findings


def match_of(config: ModelConfig, evidence: Iterable[str] = ()) -> Match:
    """The listed base model with these dimensions.

    Args:
        config: The model's config.
        evidence: What the chat templates show ("thinks").
    """
    seen = set(evidence)
    if "use_mrope" in config.raw or config.number("max_window_layers") == 21:  # noqa: PLR2004  # as in Qwen2.5-1.5B-Instruct
        seen.add("qwen2.5")
    quantization = config.raw.get("quantization_config")
    if isinstance(quantization, dict) and quantization.get("scale_fmt") == "ue8m0":
        seen.add("ue8m0")
    numbers = (
        config.hidden_size,
        config.number("intermediate_size"),
        config.layers,
        config.heads,
        config.kv_heads,
        config.head_dim,
        config.experts,
    )
    return recognise(
        Dimensions(config.architecture, numbers, config.rope, frozenset(seen))
    )


def facts_of(
    config: ModelConfig,
    tensors: tuple[Tensor, ...],
    *,
    match: Match,
    dtype: str,
    said: Declared,
    parsers: Parsers = NO_PARSERS,
) -> ModelFacts:
    """All that planning needs to know of the model."""
    experts = config.experts
    width = config.number("moe_intermediate_size")
    if experts and not width:
        width = config.number("intermediate_size")
    return ModelFacts(
        architecture=config.architecture,
        model_type=config.model_type,
        base_model=match.name,
        parameters=parameters_of(tensors),
        dtype=dtype,
        quantization=said.published,
        hidden_size=config.hidden_size,
        intermediate_size=config.number("intermediate_size"),
        layers=config.layers,
        vocab_size=config.vocab_size,
        max_position=config.number("max_position_embeddings"),
        experts=experts,
        multimodal=config.multimodal,
        tied_embeddings=config.tied,
        attention=attention_of(config),
        tensors=tensors,
        experts_per_token=config.number("num_experts_per_tok") if experts else 0,
        expert_intermediate_size=width if experts else 0,
        rotary_values=rotary_values(config),
        image_values_per_token=image_values_per_token(config),
        tool_parser=parsers.tool,
        reasoning_parser=parsers.reasoning,
    )
