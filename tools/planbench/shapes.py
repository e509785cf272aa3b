"""The tensor table of a model, written down from its config.json.

The planner reads tensor tables out of real headers. The models it is scored
on are far too large to keep here, so their tables are rebuilt from the
dimensions; a test holds the sums against the published parameter counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, prod
from typing import Any

from weightdrop.core.artifacts.config import ModelConfig
from weightdrop.core.artifacts.model import Tensor

_BYTES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "U8": 1, "I8": 1, "I32": 4}
_BLOCK = 128  # values of float8 along each side that share a scale
_MX_BLOCK = 32  # values of mxfp4 that share a scale

Shape = tuple[int, ...]
Named = Iterator[tuple[str, Shape]]


def tensor_table(config: ModelConfig, *, form: str = "") -> tuple[Tensor, ...]:
    """The tensors of a checkpoint with this config.

    Args:
        config: A usable config.json.
        form: How linear layers are stored: "" as in the config, "fp8-block",
            "mxfp4", "w8" (one byte and one scale per row) or "w4" (half a
            byte and a scale per 128 values).
    """
    stored = str(config.raw.get("torch_dtype") or config.text.get("torch_dtype"))
    plain = {"float32": "F32", "float16": "F16"}.get(stored, "BF16")
    prefix = "language_model." if config.multimodal else ""
    names = [(prefix + name, shape) for name, shape in _language(config)]
    if config.multimodal:
        names += list(_tower(config))
    tensors: list[Tensor] = []
    for name, shape in names:
        tensors.extend(_stored(name, shape, plain=plain, form=form))
    return tuple(tensors)


def _tensor(name: str, dtype: str, shape: Shape) -> Tensor:
    return Tensor(
        name=name,
        dtype=dtype,
        shape=shape,
        nbytes=prod(shape) * _BYTES[dtype],
        file="model.safetensors",
    )


def _stored(name: str, shape: Shape, *, plain: str, form: str) -> list[Tensor]:
    """One weight in the form it is stored in, with its scales."""
    linear = (
        len(shape) > 1
        and name.endswith("weight")
        and ".layers." in name
        and "vision" not in name
        and ".gate.weight" not in name
    )
    if form == "mxfp4" and ".experts." in name and name.endswith("_proj"):
        experts, inner, outer = shape
        blocks = ceil(inner / _MX_BLOCK)
        return [
            _tensor(f"{name}_blocks", "U8", (experts, outer, blocks, _MX_BLOCK // 2)),
            _tensor(f"{name}_scales", "U8", (experts, outer, blocks)),
        ]
    if not linear or form in {"", "mxfp4"}:
        return [_tensor(name, plain, shape)]
    rows, columns = shape
    if form == "fp8-block":
        scales = (ceil(rows / _BLOCK), ceil(columns / _BLOCK))
        return [
            _tensor(name, "F8_E4M3", shape),
            _tensor(f"{name}_scale_inv", "F32", scales),
        ]
    if form == "w8":
        return [
            _tensor(name, "I8", shape),
            _tensor(f"{name}_scale", plain, (rows, 1)),
        ]
    packed = _tensor(f"{name}_packed", "I32", (rows, columns // 8))
    return [packed, _tensor(f"{name}_scale", plain, (rows, columns // _BLOCK))]


def _language(config: ModelConfig) -> Named:
    hidden, vocab = config.hidden_size, config.vocab_size
    yield "model.embed_tokens.weight", (vocab, hidden)
    if not config.tied or config.text.get("stores_tied_head"):
        yield "lm_head.weight", (vocab, hidden)
    yield "model.norm.weight", (hidden,)
    if config.model_type == "phi":
        yield "model.norm.bias", (hidden,)
        yield "lm_head.bias", (vocab,)
    layers = config.layers + config.number("num_nextn_predict_layers")
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for name, shape in _layer(config, layer):
            yield prefix + name, shape
        if layer >= config.layers:
            yield prefix + "eh_proj.weight", (hidden, 2 * hidden)
            yield prefix + "embed_tokens.weight", (vocab, hidden)
            yield prefix + "shared_head.head.weight", (vocab, hidden)


def _layer(config: ModelConfig, layer: int) -> Named:
    hidden = config.hidden_size
    yield "input_layernorm.weight", (hidden,)
    if config.model_type != "phi":
        yield "post_attention_layernorm.weight", (hidden,)
    if config.model_type.startswith(("gemma2", "gemma3")):
        yield "pre_feedforward_layernorm.weight", (hidden,)
        yield "post_feedforward_layernorm.weight", (hidden,)
    interval = config.number("full_attention_interval")
    if interval and (layer + 1) % interval:
        yield from _delta_net(config)
    elif config.number("kv_lora_rank"):
        yield from _latent_attention(config)
    else:
        yield from _attention(config)
    yield from _feed_forward(config, layer)


def _attention(config: ModelConfig) -> Named:
    hidden, dim = config.hidden_size, config.head_dim
    queries, keys = config.heads * dim, config.kv_heads * dim
    if config.model_type == "phi3":
        yield "self_attn.qkv_proj.weight", (queries + 2 * keys, hidden)
        yield "self_attn.o_proj.weight", (hidden, queries)
        return
    gated = 2 if config.number("full_attention_interval") else 1
    yield "self_attn.q_proj.weight", (queries * gated, hidden)
    yield "self_attn.k_proj.weight", (keys, hidden)
    yield "self_attn.v_proj.weight", (keys, hidden)
    yield "self_attn.o_proj.weight", (hidden, queries)
    biased = config.model_type in {"qwen2", "qwen2_moe", "phi", "gpt_oss"}
    if biased:
        yield "self_attn.q_proj.bias", (queries,)
        yield "self_attn.k_proj.bias", (keys,)
        yield "self_attn.v_proj.bias", (keys,)
    if config.model_type in {"phi", "gpt_oss"}:
        yield "self_attn.o_proj.bias", (hidden,)
    if config.model_type == "gpt_oss":
        yield "self_attn.sinks", (config.heads,)
    if config.model_type.startswith(("qwen3", "gemma3")):
        yield "self_attn.q_norm.weight", (dim,)
        yield "self_attn.k_norm.weight", (dim,)


def _latent_attention(config: ModelConfig) -> Named:
    hidden, heads = config.hidden_size, config.heads
    latent, rope = config.number("kv_lora_rank"), config.number("qk_rope_head_dim")
    plain, value = config.number("qk_nope_head_dim"), config.number("v_head_dim")
    query_rank = config.number("q_lora_rank")
    if query_rank:
        yield "self_attn.q_a_proj.weight", (query_rank, hidden)
        yield "self_attn.q_a_layernorm.weight", (query_rank,)
        yield "self_attn.q_b_proj.weight", (heads * (plain + rope), query_rank)
    else:
        yield "self_attn.q_proj.weight", (heads * (plain + rope), hidden)
    yield "self_attn.kv_a_proj_with_mqa.weight", (latent + rope, hidden)
    yield "self_attn.kv_a_layernorm.weight", (latent,)
    yield "self_attn.kv_b_proj.weight", (heads * (plain + value), latent)
    yield "self_attn.o_proj.weight", (hidden, heads * value)


def _delta_net(config: ModelConfig) -> Named:
    hidden = config.hidden_size
    keys = config.number("linear_num_key_heads") * config.number("linear_key_head_dim")
    heads = config.number("linear_num_value_heads")
    values = heads * config.number("linear_value_head_dim")
    yield "linear_attn.in_proj_qkvz.weight", (2 * keys + 2 * values, hidden)
    yield "linear_attn.in_proj_ba.weight", (2 * heads, hidden)
    kernel = config.number("linear_conv_kernel_dim")
    yield "linear_attn.conv1d.weight", (2 * keys + values, 1, kernel)
    yield "linear_attn.A_log", (heads,)
    yield "linear_attn.dt_bias", (heads,)
    yield "linear_attn.norm.weight", (config.number("linear_value_head_dim"),)
    yield "linear_attn.out_proj.weight", (hidden, values)


def _feed_forward(config: ModelConfig, layer: int) -> Named:
    if not config.experts or not _has_experts(config, layer):
        width = config.number("intermediate_size_mlp") or config.number(
            "intermediate_size"
        )
        yield from _dense(config, "mlp", width)
        return
    kind = config.text.get("model_type", config.model_type)
    if kind == "llama4_text":
        yield from _fused_experts(config, "feed_forward")
        yield from _dense(
            config, "feed_forward.shared_expert", config.number("intermediate_size")
        )
    elif kind == "gpt_oss":
        yield from _fused_experts(config, "mlp")
    elif kind == "mixtral":
        yield "block_sparse_moe.gate.weight", (config.experts, config.hidden_size)
        for expert in range(config.experts):
            yield from _dense(
                config,
                f"block_sparse_moe.experts.{expert}",
                config.number("intermediate_size"),
            )
    else:
        yield from _separate_experts(config)


def _has_experts(config: ModelConfig, layer: int) -> bool:
    step = config.number("interleave_moe_layer_step", 1) or 1
    return layer >= config.number("first_k_dense_replace") and not (layer + 1) % step


def _separate_experts(config: ModelConfig) -> Named:
    hidden, width = config.hidden_size, config.number("moe_intermediate_size")
    yield "mlp.gate.weight", (config.experts, hidden)
    for expert in range(config.experts):
        yield from _dense(config, f"mlp.experts.{expert}", width)
    shared = config.number("shared_expert_intermediate_size")
    if shared:
        yield "mlp.shared_expert_gate.weight", (1, hidden)
        yield from _dense(config, "mlp.shared_expert", shared)
    count = config.number("n_shared_experts")
    if count:
        yield from _dense(config, "mlp.shared_experts", count * width)


def _fused_experts(config: ModelConfig, name: str) -> Named:
    hidden, width = config.hidden_size, config.number("intermediate_size")
    experts = config.experts
    yield f"{name}.router.weight", (experts, hidden)
    yield f"{name}.experts.gate_up_proj", (experts, hidden, 2 * width)
    yield f"{name}.experts.down_proj", (experts, width, hidden)
    if config.model_type == "gpt_oss":
        yield f"{name}.router.bias", (experts,)
        yield f"{name}.experts.gate_up_proj_bias", (experts, 2 * width)
        yield f"{name}.experts.down_proj_bias", (experts, hidden)


def _dense(config: ModelConfig, name: str, width: int) -> Named:
    hidden = config.hidden_size
    if config.model_type == "phi":
        yield f"{name}.fc1.weight", (width, hidden)
        yield f"{name}.fc1.bias", (width,)
        yield f"{name}.fc2.weight", (hidden, width)
        yield f"{name}.fc2.bias", (hidden,)
        return
    if config.model_type == "phi3":
        yield f"{name}.gate_up_proj.weight", (2 * width, hidden)
    else:
        yield f"{name}.gate_proj.weight", (width, hidden)
        yield f"{name}.up_proj.weight", (width, hidden)
    yield f"{name}.down_proj.weight", (hidden, width)


def _tower(config: ModelConfig) -> Named:
    """The vision tower and what joins it to the language model."""
    vision: dict[str, Any] = config.raw["vision_config"]
    hidden, width = vision["hidden_size"], vision["intermediate_size"]
    patch = vision["patch_size"]
    name = "vision_tower.vision_model"
    if vision["model_type"] == "llama4_vision_model":
        yield f"{name}.patch_embedding.linear.weight", (hidden, 3 * patch * patch)
        yield f"{name}.class_embedding", (hidden,)
    else:
        yield f"{name}.embeddings.patch_embedding.weight", (hidden, 3, patch, patch)
        yield f"{name}.embeddings.patch_embedding.bias", (hidden,)
    yield f"{name}.embeddings.position_embedding.weight", (_positions(vision), hidden)
    for layer in range(vision["num_hidden_layers"]):
        prefix = f"{name}.encoder.layers.{layer}."
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield f"{prefix}self_attn.{part}.weight", (hidden, hidden)
            yield f"{prefix}self_attn.{part}.bias", (hidden,)
        yield f"{prefix}mlp.fc1.weight", (width, hidden)
        yield f"{prefix}mlp.fc1.bias", (width,)
        yield f"{prefix}mlp.fc2.weight", (hidden, width)
        yield f"{prefix}mlp.fc2.bias", (hidden,)
        for norm in ("layer_norm1", "layer_norm2"):
            yield f"{prefix}{norm}.weight", (hidden,)
            yield f"{prefix}{norm}.bias", (hidden,)
    for norm in _outer_norms(vision):
        yield f"{name}.{norm}.weight", (hidden,)
        yield f"{name}.{norm}.bias", (hidden,)
    yield from _projector(config, vision)


def _positions(vision: dict[str, Any]) -> int:
    if "init_pos_emb_height" in vision:
        return int(vision["init_pos_emb_height"]) * int(vision["init_pos_emb_width"])
    side = int(vision["image_size"]) // int(vision["patch_size"])
    return side * side + int(vision["model_type"] == "llama4_vision_model")


def _outer_norms(vision: dict[str, Any]) -> tuple[str, ...]:
    if vision["model_type"] == "llama4_vision_model":
        return ("layernorm_pre", "layernorm_post")
    return ("post_layernorm",)


def _projector(config: ModelConfig, vision: dict[str, Any]) -> Named:
    hidden, seen = config.hidden_size, int(vision["hidden_size"])
    if vision["model_type"] == "llama4_vision_model":
        wide = int(vision["projector_output_dim"])
        adapter = "vision_tower.vision_adapter.mlp"
        patches = int(vision["intermediate_size"])
        yield f"{adapter}.fc1.weight", (int(vision["projector_input_dim"]), patches)
        yield f"{adapter}.fc2.weight", (wide, int(vision["projector_input_dim"]))
        yield "multi_modal_projector.linear_1.weight", (hidden, wide)
    elif config.model_type == "gemma3":
        yield "multi_modal_projector.mm_input_projection_weight", (seen, hidden)
        yield "multi_modal_projector.mm_soft_emb_norm.weight", (seen,)
    else:
        merged = seen * 4
        inner = merged if config.model_type == "kimi_vl" else hidden
        yield "multi_modal_projector.linear_1.weight", (inner, merged)
        yield "multi_modal_projector.linear_1.bias", (inner,)
        yield "multi_modal_projector.linear_2.weight", (hidden, inner)
        yield "multi_modal_projector.linear_2.bias", (hidden,)
