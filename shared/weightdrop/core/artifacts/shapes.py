"""The tensors each listed architecture is made of, with their shapes.

Worked out from the model classes of transformers and vLLM 0.32; the tests hold
them to the parameter counts that the base models are published with.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from weightdrop.core.artifacts import towers
from weightdrop.core.artifacts.blocks import Shapes, layer_kinds
from weightdrop.core.artifacts.config import ModelConfig

_SKIPPED = re.compile(
    r".*(rotary_emb\.(inv_freq|cos_cached|sin_cached)|\.masked_bias)$"
)
"""Buffers that the engine's loader passes over for every model."""
_NEVER = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Expected:
    """What a checkpoint of one config holds.

    Attributes:
        required: Shape by name; all of them must be there.
        optional: Shape by name; right where they are there.
        prefixes: Other spellings of the same names: (as stored, as above).
        skipped: Names the engine passes over.
    """

    required: Shapes
    optional: Shapes
    prefixes: tuple[tuple[str, str], ...] = ()
    skipped: re.Pattern[str] = _NEVER

    def canonical(self, name: str) -> str:
        """The name as it stands in the tables."""
        for stored, ours in self.prefixes:
            if name.startswith(stored):
                return ours + name[len(stored) :]
        return name

    def skips(self, name: str) -> bool:
        """Whether the engine passes over a tensor of this name."""
        return bool(_SKIPPED.match(name) or self.skipped.match(name))


def _language_model(config: ModelConfig, prefix: str = "") -> tuple[Shapes, Shapes]:
    """(required, optional) of embedding, layers, last norm and head."""
    hidden, rows = config.hidden_size, config.vocab_size
    required: Shapes = {
        f"{prefix}model.embed_tokens.weight": (rows, hidden),
        f"{prefix}model.norm.weight": (hidden,),
    }
    optional: Shapes = {}
    head = optional if config.tied else required
    head[f"{prefix}lm_head.weight"] = (rows, hidden)
    for index, shapes in enumerate(layer_kinds(config)):
        stem = f"{prefix}model.layers.{index}."
        required.update({stem + name: shape for name, shape in shapes.items()})
    return required, optional


def _plain(config: ModelConfig) -> Expected:
    required, optional = _language_model(config)
    return Expected(required, optional)


def _next(config: ModelConfig) -> Expected:
    required, optional = _language_model(config)
    return Expected(required, optional, skipped=re.compile(r"mtp\."))


def _deepseek(config: ModelConfig) -> Expected:
    required, optional = _language_model(config)
    extra = config.number("num_nextn_predict_layers")
    layers = "|".join(str(config.layers + i) for i in range(extra))
    skipped = re.compile(rf"model\.layers\.({layers})\.") if extra else _NEVER
    return Expected(required, optional, skipped=skipped)


_TOWER = "vision_tower.vision_model."
_GEMMA3_PREFIXES = (
    *(
        (f"{stem}vision_tower.{part}.", f"{_TOWER}{part}.")
        for stem in ("", "model.")
        for part in ("embeddings", "encoder", "post_layernorm")
    ),
    ("model.language_model.", "language_model.model."),
    ("model.vision_tower.", "vision_tower."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    ("lm_head.", "language_model.lm_head."),
)
"""Gemma3ForConditionalGeneration.hf_to_vllm_mapper of vLLM 0.32, after the tower's
parts as transformers 5 names them, which the serving image's loader renames."""


def _gemma3_mm(config: ModelConfig) -> Expected:
    required, optional = _language_model(config, "language_model.")
    required |= towers.siglip(config)
    return Expected(required, optional, prefixes=_GEMMA3_PREFIXES)


_LLAMA4_PREFIXES = (
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)
"""What Llama4ForConditionalGeneration of vLLM 0.32 renames while loading."""


def _llama4_mm(config: ModelConfig) -> Expected:
    required, optional = _language_model(config, "language_model.")
    required |= towers.llama4_vision(config)
    return Expected(required, optional, prefixes=_LLAMA4_PREFIXES)


def _llama4_text(config: ModelConfig) -> Expected:
    return _plain(config)


_FAMILIES: dict[str, Callable[[ModelConfig], Expected]] = {
    "LlamaForCausalLM": _plain,
    "MistralForCausalLM": _plain,
    "MixtralForCausalLM": _plain,
    "Qwen2ForCausalLM": _plain,
    "Qwen3ForCausalLM": _plain,
    "Qwen3MoeForCausalLM": _plain,
    "Qwen3NextForCausalLM": _next,
    "Phi3ForCausalLM": _plain,
    "Gemma2ForCausalLM": _plain,
    "Gemma3ForCausalLM": _plain,
    "Gemma3ForConditionalGeneration": _gemma3_mm,
    "GptOssForCausalLM": _plain,
    "DeepseekV3ForCausalLM": _deepseek,
    "Llama4ForCausalLM": _llama4_text,
    "Llama4ForConditionalGeneration": _llama4_mm,
}

KNOWN = frozenset(_FAMILIES)
"""Architectures whose tensors are known one by one."""


MAX_EXPECTED = 1_000_000
"""Tensors of which a table is made. DeepSeek-V3 takes 102 000 by this count."""
_PER_LAYER = 24
_PER_EXPERT = 6


def is_sane(config: ModelConfig) -> bool:
    """Whether a config calls for a number of tensors that any model could have."""
    most = config.layers * (_PER_LAYER + config.experts * _PER_EXPERT)
    return most <= MAX_EXPECTED


def expected_tensors(config: ModelConfig) -> Expected | None:
    """The tensors of a model; None if its architecture is not known, or not sane."""
    family = _FAMILIES.get(config.architecture)
    if family is None or not config.usable or not is_sane(config):
        return None
    return family(config)
