"""The base models that are listed, told apart by their dimensions.

Sources: the config.json each was published with. Names are those of Vertex
AI's page on custom weights. A fine-tune keeps these dimensions; what it may
change (vocabulary, tied head, context length) is not looked at, except where
two base models differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LLAMA = ("LlamaForCausalLM",)
_MISTRAL = ("MistralForCausalLM",)
_QWEN2 = ("Qwen2ForCausalLM",)
_QWEN3 = ("Qwen3ForCausalLM",)
_GEMMA3 = ("Gemma3ForConditionalGeneration", "Gemma3ForCausalLM")
_GEMMA4 = ("Gemma4ForConditionalGeneration", "Gemma4ForCausalLM")
_DEEPSEEK = ("DeepseekV3ForCausalLM",)
_NEXT = ("Qwen3NextForCausalLM",)


@dataclass(frozen=True, slots=True)
class BaseModel:
    """One listed base model.

    Attributes:
        name: As the list has it.
        architectures: Classes it is served with.
        hidden_size: Width of the residual stream.
        intermediate_size: Width of the dense feed-forward block.
        layers: Hidden layers.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Width of a head.
        experts: Routed experts; 0 for a dense model.
        traits: What else must hold, of TRAITS.
        hints: What makes it likelier than others with the same dimensions.
    """

    name: str
    architectures: tuple[str, ...]
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int = 0
    traits: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


BASE_MODELS = (
    BaseModel("Llama-2 7B", _LLAMA, 4096, 11008, 32, 32, 32, 128,
              traits=("theta-small",)),
    BaseModel("Llama-2 13B", _LLAMA, 5120, 13824, 40, 40, 40, 128,
              traits=("theta-small",)),
    BaseModel("CodeLlama-13B", _LLAMA, 5120, 13824, 40, 40, 40, 128,
              traits=("theta-large",)),
    BaseModel("Llama-3.1 8B", _LLAMA, 4096, 14336, 32, 32, 8, 128,
              traits=("rope-llama3",)),
    BaseModel("Llama-3.1 70B", _LLAMA, 8192, 28672, 80, 64, 8, 128,
              traits=("rope-llama3",)),
    BaseModel("Llama-3.2 1B", _LLAMA, 2048, 8192, 16, 32, 8, 64),
    BaseModel("Llama-3.2 3B", _LLAMA, 3072, 8192, 28, 24, 8, 128),
    BaseModel("Llama-4 Scout-17B",
              ("Llama4ForConditionalGeneration", "Llama4ForCausalLM"),
              5120, 8192, 48, 40, 8, 128, 16),
    BaseModel("Llama-4 Maverick-17B",
              ("Llama4ForConditionalGeneration", "Llama4ForCausalLM"),
              5120, 8192, 48, 40, 8, 128, 128),
    BaseModel("Gemma-2 9B", ("Gemma2ForCausalLM",), 3584, 14336, 42, 16, 8, 256),
    BaseModel("Gemma-2 27B", ("Gemma2ForCausalLM",), 4608, 36864, 46, 32, 16, 128),
    BaseModel("Gemma-4 E4B", _GEMMA4, 2560, 10240, 42, 8, 2, 256),
    BaseModel("Gemma-4 26B-A4B", _GEMMA4, 2816, 2112, 30, 16, 8, 256, 128),
    BaseModel("Gemma-4 31B", _GEMMA4, 5376, 21504, 60, 32, 16, 256),
    BaseModel("Gemma-3 1B", _GEMMA3, 1152, 6912, 26, 4, 1, 256),
    BaseModel("Gemma-3 4B", _GEMMA3, 2560, 10240, 34, 8, 4, 256),
    BaseModel("MedGemma 4B", _GEMMA3, 2560, 10240, 34, 8, 4, 256),
    BaseModel("Gemma-3 12B", _GEMMA3, 3840, 15360, 48, 16, 8, 256),
    BaseModel("Gemma-3 27B", ("Gemma3ForConditionalGeneration",),
              5376, 21504, 62, 32, 16, 128),
    BaseModel("MedGemma 27B-text", ("Gemma3ForCausalLM",),
              5376, 21504, 62, 32, 16, 128),
    BaseModel("Qwen2 1.5B", _QWEN2, 1536, 8960, 28, 12, 2, 128),
    BaseModel("Qwen2.5 0.5B", _QWEN2, 896, 4864, 24, 14, 2, 64),
    BaseModel("Qwen2.5 1.5B", _QWEN2, 1536, 8960, 28, 12, 2, 128, hints=("qwen2.5",)),
    BaseModel("Qwen2.5 7B", _QWEN2, 3584, 18944, 28, 28, 4, 128),
    BaseModel("Qwen2.5 32B", _QWEN2, 5120, 27648, 64, 40, 8, 128),
    BaseModel("Qwen3 0.6B", _QWEN3, 1024, 3072, 28, 16, 8, 128),
    BaseModel("Qwen3 1.7B", _QWEN3, 2048, 6144, 28, 16, 8, 128),
    BaseModel("Qwen3 4B", _QWEN3, 2560, 9728, 36, 32, 8, 128),
    BaseModel("Qwen3 8B", _QWEN3, 4096, 12288, 36, 32, 8, 128),
    BaseModel("Qwen3 32B", _QWEN3, 5120, 25600, 64, 64, 8, 128),
    BaseModel("Qwen3-VL-8B", ("Qwen3VLForConditionalGeneration",),
              4096, 12288, 36, 32, 8, 128),
    BaseModel("Qwen3.5 9B", ("Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM"),
              4096, 12288, 32, 16, 4, 256),
    BaseModel("Qwen3-Coder-480B-A35B-Instruct", ("Qwen3MoeForCausalLM",),
              6144, 8192, 62, 96, 8, 128, 160),
    BaseModel("Qwen3-Next-80B-A3B-Instruct", _NEXT,
              2048, 5120, 48, 16, 2, 256, 512),
    BaseModel("Qwen3-Next-80B-A3B-Thinking", _NEXT,
              2048, 5120, 48, 16, 2, 256, 512, hints=("thinks",)),
    BaseModel("DeepSeek-V3", _DEEPSEEK, 7168, 18432, 61, 128, 128, 56, 256,
              traits=("plain-scales",)),
    BaseModel("DeepSeek-R1", _DEEPSEEK, 7168, 18432, 61, 128, 128, 56, 256,
              traits=("plain-scales",), hints=("thinks",)),
    BaseModel("DeepSeek-V3.1", _DEEPSEEK, 7168, 18432, 61, 128, 128, 56, 256,
              traits=("ue8m0",)),
    BaseModel("Mistral-7B-v0.1", _MISTRAL, 4096, 14336, 32, 32, 8, 128),
    BaseModel("Mistral-Nemo-Base-2407", _MISTRAL, 5120, 14336, 40, 32, 8, 128),
    BaseModel("Mixtral-8x7B-v0.1", ("MixtralForCausalLM",),
              4096, 14336, 32, 32, 8, 128, 8),
    BaseModel("Phi-4-reasoning", ("Phi3ForCausalLM",), 5120, 17920, 40, 40, 10, 128),
    BaseModel("gpt-oss 20B", ("GptOssForCausalLM",), 2880, 2880, 24, 64, 8, 64, 32),
    BaseModel("gpt-oss 120B", ("GptOssForCausalLM",), 2880, 2880, 36, 64, 8, 64, 128),
)  # fmt: skip
"""All of them. Those with the same dimensions stand together."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What a model is recognised by.

    Attributes:
        architecture: Its class.
        numbers: hidden_size, intermediate_size, layers, heads, kv_heads,
            head_dim and experts, in this order.
        rope: Rotary settings (rope_theta, rope_type, factor, …).
        evidence: Of "qwen2.5" (keys only Qwen2.5 writes), "ue8m0" (the scales'
            format) and "thinks" (the chat template does).
    """

    architecture: str
    numbers: tuple[int, ...]
    rope: Mapping[str, Any]
    evidence: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Match:
    """The outcome of a recognition.

    Attributes:
        name: The base model; empty if none matches.
        alike: Others that nothing tells apart from it.
    """

    name: str = ""
    alike: tuple[str, ...] = ()


_THETA_LARGE = 100_000
"""Llama-2 has 10 000, CodeLlama 1 000 000."""


def _has(trait: str, found: Dimensions) -> bool:
    if trait == "ue8m0":
        return "ue8m0" in found.evidence
    if trait == "plain-scales":
        return "ue8m0" not in found.evidence
    if trait == "rope-llama3":
        return found.rope.get("rope_type") == "llama3"
    theta = found.rope.get("rope_theta") or 10_000
    large = isinstance(theta, int | float) and theta > _THETA_LARGE
    return large if trait == "theta-large" else not large


def _fits(model: BaseModel, found: Dimensions) -> bool:
    numbers = (
        model.hidden_size,
        model.intermediate_size,
        model.layers,
        model.heads,
        model.kv_heads,
        model.head_dim,
        model.experts,
    )
    return (
        found.architecture in model.architectures
        and found.numbers == numbers
        and all(_has(trait, found) for trait in model.traits)
    )


def recognise(found: Dimensions) -> Match:
    """The listed base model that has these dimensions."""
    fitting = [model for model in BASE_MODELS if _fits(model, found)]
    if not fitting:
        return Match()
    hinted = [m for m in fitting if m.hints and set(m.hints) <= found.evidence]
    if hinted:
        return Match(hinted[0].name)
    return Match(fitting[0].name, tuple(model.name for model in fitting[1:]))
