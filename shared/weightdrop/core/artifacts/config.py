"""config.json as a typed view: the dimensions that everything else asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from weightdrop.core.artifacts import model_codes
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import shown

_GEMMA3 = {
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
    "vocab_size": 262208, "max_position_embeddings": 131072,
    "tie_word_embeddings": True, "sliding_window": 4096,
    "num_hidden_layers": 26, "hidden_size": 2304, "intermediate_size": 9216,
}  # fmt: skip
_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma": {"tie_word_embeddings": True, "head_dim": 256},
    "gemma2": {"tie_word_embeddings": True, "head_dim": 256, "sliding_window": 4096},
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "gemma3n_text": {"tie_word_embeddings": True},
    "gemma4": {"tie_word_embeddings": True},
    "gemma4_text": {"tie_word_embeddings": True},
    "llama": {"max_position_embeddings": 2048},
    "llama4_text": {"head_dim": 128, "max_position_embeddings": 131072},
    "gpt_oss": {"head_dim": 64, "max_position_embeddings": 131072},
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "mixtral": {"num_key_value_heads": 8, "num_local_experts": 8},
    "phi3": {"tie_word_embeddings": False},
}
"""What transformers' config classes fill in for keys that are left out."""

_LIMITS = {
    "hidden_size": 2**17,
    "intermediate_size": 2**20,
    "num_hidden_layers": 1024,
    "num_attention_heads": 4096,
    "num_key_value_heads": 4096,
    "head_dim": 4096,
    "vocab_size": 2**22,
    "max_position_embeddings": 2**28,
    "num_local_experts": 4096,
    "num_experts": 4096,
    "n_routed_experts": 4096,
    "n_shared_experts": 64,
    "moe_intermediate_size": 2**20,
    "shared_expert_intermediate_size": 2**20,
    "intermediate_size_mlp": 2**20,
    "kv_lora_rank": 2**16,
    "q_lora_rank": 2**16,
    "qk_nope_head_dim": 4096,
    "qk_rope_head_dim": 4096,
    "v_head_dim": 4096,
    "sliding_window": 2**28,
    "attention_chunk_size": 2**28,
    "full_attention_interval": 1024,
    "linear_num_key_heads": 4096,
    "linear_num_value_heads": 4096,
    "linear_key_head_dim": 4096,
    "linear_value_head_dim": 4096,
    "linear_conv_kernel_dim": 64,
    "num_nextn_predict_layers": 16,
    "first_k_dense_replace": 1024,
    "interleave_moe_layer_step": 1024,
    "decoder_sparse_step": 1024,
    "num_experts_per_tok": 4096,
}
"""Largest value of each dimension that any model could have."""

_MAY_BE_ZERO = {
    "shared_expert_intermediate_size", "n_shared_experts", "first_k_dense_replace",
    "num_nextn_predict_layers", "num_experts", "num_local_experts",
    "n_routed_experts", "qk_rope_head_dim", "qk_nope_head_dim", "q_lora_rank",
    "kv_lora_rank", "v_head_dim", "moe_intermediate_size", "interleave_moe_layer_step",
    "decoder_sparse_step", "num_experts_per_tok", "sliding_window",
    "intermediate_size",
}  # fmt: skip
_ALIASES = {
    "hidden_size": ("n_embd", "d_model"),
    "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads"),
    "vocab_size": ("padded_vocab_size",),
    "max_position_embeddings": ("n_positions", "max_sequence_length", "seq_length"),
    "head_dim": ("kv_channels",),
}
"""How older architectures call the same things."""
_NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
_TEXT_KEYS = ("text_config", "llm_config", "language_config")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """config.json, with the language model's part flattened out.

    Attributes:
        raw: The whole document.
        text: The part that describes the language model, defaults filled in.
        architecture: The one class named; empty if none is.
        model_type: Of the whole.
        findings: What is wrong with the values.
        usable: Whether the dimensions can be worked with.
    """

    raw: dict[str, Any]
    text: dict[str, Any] = field(default_factory=dict)
    architecture: str = ""
    model_type: str = ""
    findings: tuple[Finding, ...] = ()
    usable: bool = False

    def number(self, name: str, default: int = 0) -> int:
        """A whole number of the language model; `default` where there is none."""
        value = self.text.get(name)
        return value if type(value) is int else default

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A truth value of the language model; `default` where there is none."""
        value = self.text.get(name)
        return value if isinstance(value, bool) else default

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return self.number("hidden_size")

    @property
    def layers(self) -> int:
        """Hidden layers."""
        return self.number("num_hidden_layers")

    @property
    def heads(self) -> int:
        """Query heads."""
        return self.number("num_attention_heads")

    @property
    def kv_heads(self) -> int:
        """Key and value heads; as many as query heads where not given."""
        return self.number("num_key_value_heads", self.heads)

    @property
    def head_dim(self) -> int:
        """Width of a head; an even share of the hidden size where not given."""
        share = self.hidden_size // self.heads if self.heads else 0
        return self.number("head_dim", share)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return self.number("vocab_size")

    @property
    def experts(self) -> int:
        """Routed experts; 0 for a dense model."""
        for name in ("n_routed_experts", "num_experts", "num_local_experts"):
            if self.number(name):
                return self.number(name)
        return 0

    @property
    def tied(self) -> bool:
        """Whether head and embedding are one tensor."""
        return self.flag("tie_word_embeddings")

    @property
    def multimodal(self) -> bool:
        """Whether there is a vision or audio tower beside the language model."""
        return any(
            isinstance(self.raw.get(key), dict)
            for key in ("vision_config", "audio_config", "sound_config")
        )

    @property
    def rope(self) -> dict[str, Any]:
        """Rotary settings, in the old keys' words, wherever they are kept."""
        found: dict[str, Any] = {"rope_theta": self.text.get("rope_theta")}
        for key in ("rope_scaling", "rope_parameters"):
            value = self.text.get(key)
            if isinstance(value, dict):
                nested = value.get("full_attention")
                value = nested if isinstance(nested, dict) else value
                found |= {k: v for k, v in value.items() if v is not None}
        if "rope_type" not in found and "type" in found:
            found["rope_type"] = found["type"]
        return found


def _flatten(raw: dict[str, Any]) -> dict[str, Any]:
    nested = next(
        (raw[key] for key in _TEXT_KEYS if isinstance(raw.get(key), dict)), None
    )
    if nested is None:
        return raw
    shared = {
        key: raw[key]
        for key in ("tie_word_embeddings", "dtype", "torch_dtype")
        if key in raw and key not in nested
    }
    return {**nested, **shared}


def _dimension_findings(text: dict[str, Any], *, lenient: bool) -> list[Finding]:
    findings = []
    for name, limit in _LIMITS.items():
        value = text.get(name)
        if value is None or (lenient and type(value) is not int):
            continue
        least = 0 if name in _MAY_BE_ZERO else 1
        if type(value) is not int or not least <= value <= limit:
            findings.append(
                model_codes.CONFIG_INVALID.found(
                    f"{name} is {shown(repr(value), 40)}, not a whole number from "
                    f"{least} to {limit}.",
                    file="config.json",
                )
            )
    return findings


def _agreement_findings(config: ModelConfig) -> list[Finding]:
    findings = []
    if config.kv_heads and config.heads % config.kv_heads:
        findings.append(
            f"num_attention_heads {config.heads} is no multiple of "
            f"num_key_value_heads {config.kv_heads}"
        )
    if not config.number("head_dim") and config.hidden_size % config.heads:
        findings.append(
            f"hidden_size {config.hidden_size} is no multiple of "
            f"num_attention_heads {config.heads}, and there is no head_dim"
        )
    if config.experts and config.number("num_experts_per_tok") > config.experts:
        findings.append(
            f"num_experts_per_tok {config.number('num_experts_per_tok')} is more than "
            f"the {config.experts} experts there are"
        )
    return [
        model_codes.DIMENSIONS_DISAGREE.found(f"{detail}.", file="config.json")
        for detail in findings
    ]


def _architecture(raw: dict[str, Any]) -> tuple[str, list[Finding]]:
    given = raw.get("architectures")
    if given is None or given == []:
        found = model_codes.ARCHITECTURE_MISSING.found(
            "config.json has no architectures.", file="config.json"
        )
        return "", [found]
    if (
        not isinstance(given, list)
        or len(given) != 1
        or not isinstance(given[0], str)
        or not given[0].isidentifier()
    ):
        found = model_codes.ARCHITECTURE_MISSING.found(
            f"architectures is {shown(repr(given))}, not a list of one class name.",
            file="config.json",
        )
        return "", [found]
    return given[0], []


def _aliased(text: dict[str, Any]) -> dict[str, Any]:
    named = {
        name: text[other]
        for name, others in _ALIASES.items()
        for other in others
        if other in text and name not in text
    }
    return {**text, **named}


def read_config(
    raw: dict[str, Any], *, known: frozenset[str] | None = None
) -> ModelConfig:
    """The typed view of a config.json; what is wrong is among its findings.

    Args:
        raw: The document.
        known: Architectures that are known in detail, or None for any. Others
            may spell things in their own way: dimensions per layer, and keys
            by other names.
    """
    architecture, findings = _architecture(raw)
    lenient = known is not None and architecture not in known
    model_type = raw.get("model_type")
    model_type = model_type if isinstance(model_type, str) else ""
    text = _flatten(raw)
    text_type = text.get("model_type")
    defaults = _DEFAULTS.get(text_type if isinstance(text_type, str) else model_type)
    if defaults is None and text is not raw:
        defaults = _DEFAULTS.get(model_type)
    text = {**(defaults or {}), **_aliased(text)}
    dimension_findings = _dimension_findings(text, lenient=lenient)
    findings += dimension_findings
    config = ModelConfig(raw, text, architecture, model_type)
    absent = [name for name in _NEEDED if not config.number(name)]
    if absent and architecture and not dimension_findings and not lenient:
        findings.append(
            model_codes.CONFIG_INVALID.found(
                f"config.json does not give {listed_names(absent)}.",
                file="config.json",
            )
        )
    usable = not dimension_findings and not absent
    if usable:
        findings += _agreement_findings(config)
    return ModelConfig(raw, text, architecture, model_type, tuple(findings), usable)


def listed_names(names: list[str]) -> str:
    """Names in words."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
