"""How the layers of each family remember, read from the config.

Sources: the attention layers of vLLM 0.32's model classes, and transformers'
config classes for what a config leaves out.
"""

from __future__ import annotations

from weightdrop.core.artifacts.config import ModelConfig
from weightdrop.core.artifacts.model import Attention

LLAMA4_GLOBAL_EVERY = 4
"""Llama4TextConfig: every fourth layer has no rotary embedding and sees all."""
GEMMA3_FULL_EVERY = 6
"""Gemma3TextConfig.sliding_window_pattern."""
_ALWAYS_WINDOWED = ("Mistral", "Mixtral", "Phi3")
STATE_BYTES = 4
"""Linear attention keeps its recurrent state in float32."""
CONV_BYTES = 2
"""… and its short convolution's inputs in the model's own type."""


def _from_layer_types(config: ModelConfig) -> tuple[int, int, int] | None:
    """(full, windowed, linear) if the config lists each layer's kind."""
    kinds = config.text.get("layer_types")
    if not isinstance(kinds, list) or len(kinds) != config.layers:
        return None
    full = sum(kind == "full_attention" for kind in kinds)
    windowed = sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds)
    linear = sum(kind == "linear_attention" for kind in kinds)
    return (full, windowed, linear) if full + windowed + linear == len(kinds) else None


def _split(config: ModelConfig) -> tuple[int, int, int]:
    """(full, windowed, linear) layers."""
    given = _from_layer_types(config)
    if given:
        return given
    layers, family = config.layers, config.architecture
    if config.number("full_attention_interval"):
        full = layers // config.number("full_attention_interval")
        return full, 0, layers - full
    full = layers
    if family in ("Gemma2ForCausalLM", "GptOssForCausalLM"):
        full = layers // 2
    elif family.startswith("Gemma3For"):
        full = layers // (config.number("sliding_window_pattern") or GEMMA3_FULL_EVERY)
    elif family.startswith("Llama4For"):
        full = _llama4(config)
    elif config.number("sliding_window") and config.flag(
        "use_sliding_window", default=family.startswith(_ALWAYS_WINDOWED)
    ):
        first = config.number("max_window_layers") if family.startswith("Qwen") else 0
        full = min(first, layers)
    return full, layers - full, 0


def _llama4(config: ModelConfig) -> int:
    """Layers without rotary embedding, which see everything."""
    given = config.text.get("no_rope_layers")
    if isinstance(given, list) and len(given) == config.layers:
        return sum(1 for rotary in given if not rotary)
    every = config.number("no_rope_layer_interval") or LLAMA4_GLOBAL_EVERY
    return config.layers // every


def _linear_state(config: ModelConfig) -> int:
    """Bytes one sequence keeps in a gated delta net layer."""
    keys = config.number("linear_num_key_heads") * config.number("linear_key_head_dim")
    value_heads = config.number("linear_num_value_heads")
    values = value_heads * config.number("linear_value_head_dim")
    kernel = config.number("linear_conv_kernel_dim")
    conv = (2 * keys + values) * max(kernel - 1, 0) * CONV_BYTES
    recurrent = values * config.number("linear_key_head_dim") * STATE_BYTES
    return conv + recurrent


def attention_of(config: ModelConfig) -> Attention:
    """How the layers of a model remember."""
    full, windowed, linear = _split(config)
    window = config.number("sliding_window") or config.number("attention_chunk_size")
    if windowed and not window:
        full, windowed = full + windowed, 0
    latent = config.number("kv_lora_rank")
    return Attention(
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        full_layers=full,
        windowed_layers=windowed,
        window=window if windowed else 0,
        linear_layers=linear,
        linear_state_bytes=_linear_state(config) if linear else 0,
        mla_width=latent + config.number("qk_rope_head_dim") if latent else 0,
    )


def rotary_values(config: ModelConfig) -> int:
    """Values in the rotary tables the engine builds; see ModelFacts."""
    rope = config.rope
    partial = rope.get("partial_rotary_factor") or config.text.get(
        "partial_rotary_factor"
    )
    width = config.number("qk_rope_head_dim") or config.head_dim
    if isinstance(partial, float) and 0 < partial < 1:
        width = int(width * partial)
    rows = config.number("max_position_embeddings")
    kind, factor = rope.get("rope_type"), rope.get("factor")
    scaled = rows
    if isinstance(factor, int | float) and 1 <= factor <= 1024:  # noqa: PLR2004
        original = rope.get("original_max_position_embeddings")
        if kind == "linear":
            scaled = int(rows * factor)
        elif kind == "yarn" and type(original) is int:
            scaled = int(original * factor)
    local = rows if config.architecture.startswith("Gemma3For") else 0
    return (scaled + local) * width


def image_values_per_token(config: ModelConfig) -> int:
    """Pixel values (three colours) that become one image token; 0 if unknown."""
    vision = config.raw.get("vision_config")
    if not isinstance(vision, dict):
        return 0
    side, patch = vision.get("image_size"), vision.get("patch_size")
    if type(side) is not int or type(patch) is not int or patch < 1 or side < patch:
        return 0
    tokens = config.raw.get("mm_tokens_per_image")
    if type(tokens) is int and tokens > 0:
        return side * side * 3 // tokens
    ratio = vision.get("pixel_shuffle_ratio")
    if isinstance(ratio, float) and 0 < ratio <= 1:
        return int(patch * patch * 3 / (ratio * ratio))
    if config.model_type.startswith("llava"):
        return patch * patch * 3
    return 0
