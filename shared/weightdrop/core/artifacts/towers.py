"""Shapes of the vision towers of the listed multimodal models."""

from __future__ import annotations

from typing import Any

from weightdrop.core.artifacts.config import ModelConfig

Shapes = dict[str, tuple[int, ...]]
MAX_LAYERS = 256
MAX_DIMENSION = 2**20


def _number(vision: dict[str, Any], name: str, default: int) -> int:
    value = vision.get(name)
    if type(value) is int and 0 < value <= MAX_DIMENSION:
        return value
    return default


def _affine(name: str, rows: int, columns: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def siglip(config: ModelConfig) -> Shapes:
    """Gemma 3's SigLIP tower and projector; defaults are SiglipVisionConfig's."""
    vision = config.raw.get("vision_config")
    vision = vision if isinstance(vision, dict) else {}
    width = _number(vision, "hidden_size", 768)
    wide = _number(vision, "intermediate_size", 3072)
    patch = _number(vision, "patch_size", 16)
    patches = (_number(vision, "image_size", 224) // patch) ** 2
    layers = min(_number(vision, "num_hidden_layers", 12), MAX_LAYERS)
    stem = "vision_tower.vision_model."
    shapes: Shapes = {
        f"{stem}embeddings.patch_embedding.weight": (width, 3, patch, patch),
        f"{stem}embeddings.patch_embedding.bias": (width,),
        f"{stem}embeddings.position_embedding.weight": (patches, width),
        **_norm(f"{stem}post_layernorm", width),
        "multi_modal_projector.mm_input_projection_weight": (
            width,
            config.hidden_size,
        ),
        "multi_modal_projector.mm_soft_emb_norm.weight": (width,),
    }
    for index in range(layers):
        layer = f"{stem}encoder.layers.{index}."
        shapes |= _norm(f"{layer}layer_norm1", width)
        shapes |= _norm(f"{layer}layer_norm2", width)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _affine(f"{layer}self_attn.{name}", width, width)
        shapes |= _affine(f"{layer}mlp.fc1", wide, width)
        shapes |= _affine(f"{layer}mlp.fc2", width, wide)
    return shapes


def llama4_vision(config: ModelConfig) -> Shapes:
    """Llama 4's tower and projector; defaults are Llama4VisionConfig's."""
    vision = config.raw.get("vision_config")
    vision = vision if isinstance(vision, dict) else {}
    width = _number(vision, "hidden_size", 768)
    wide = _number(vision, "intermediate_size", 5632)
    patch = _number(vision, "patch_size", 14)
    patches = (_number(vision, "image_size", 448) // patch) ** 2
    inner = _number(vision, "projector_input_dim", 4096)
    outer = _number(vision, "projector_output_dim", 4096)
    layers = min(_number(vision, "num_hidden_layers", 34), MAX_LAYERS)
    shapes: Shapes = {
        "vision_model.class_embedding": (width,),
        "vision_model.positional_embedding_vlm": (patches + 1, width),
        "vision_model.patch_embedding.linear.weight": (width, 3 * patch * patch),
        **_norm("vision_model.layernorm_pre", width),
        **_norm("vision_model.layernorm_post", width),
        "vision_model.vision_adapter.mlp.fc1.weight": (inner, wide),
        "vision_model.vision_adapter.mlp.fc2.weight": (outer, inner),
        "multi_modal_projector.linear_1.weight": (config.hidden_size, outer),
    }
    for index in range(layers):
        layer = f"vision_model.model.layers.{index}."
        shapes |= _norm(f"{layer}input_layernorm", width)
        shapes |= _norm(f"{layer}post_attention_layernorm", width)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes |= _affine(f"{layer}self_attn.{name}", width, width)
        shapes |= _affine(f"{layer}mlp.fc1", wide, width)
        shapes |= _affine(f"{layer}mlp.fc2", width, wide)
    return shapes
