"""Shapes of one hidden layer, for each listed architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from weightdrop.core.artifacts.config import ModelConfig
from weightdrop.core.artifacts.quantization import FP8, MXFP4

Shapes = dict[str, tuple[int, ...]]

FP8_BLOCK = 128
"""Side of the squares that share a scale in DeepSeek's form of fp8."""
MXFP4_BLOCK = 32
"""Values that share a scale in gpt-oss's form of mxfp4, two to a byte."""


def form_of(config: ModelConfig) -> str:
    """The published quantised form that a config declares, or empty."""
    settings = config.raw.get("quantization_config")
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    return method if method in (FP8, MXFP4) else ""


def _linear(name: str, rows: int, columns: int, *, bias: bool = False) -> Shapes:
    shapes: Shapes = {f"{name}.weight": (rows, columns)}
    if bias:
        shapes[f"{name}.bias"] = (rows,)
    return shapes


def _attention(
    config: ModelConfig, *, bias: bool = False, out_bias: bool = False, gate: int = 1
) -> Shapes:
    hidden, width = config.hidden_size, config.head_dim
    queries, keys = config.heads * width, config.kv_heads * width
    return {
        **_linear("self_attn.q_proj", queries * gate, hidden, bias=bias),
        **_linear("self_attn.k_proj", keys, hidden, bias=bias),
        **_linear("self_attn.v_proj", keys, hidden, bias=bias),
        **_linear("self_attn.o_proj", hidden, queries, bias=out_bias),
    }


def _head_norms(config: ModelConfig) -> Shapes:
    return {
        "self_attn.q_norm.weight": (config.head_dim,),
        "self_attn.k_norm.weight": (config.head_dim,),
    }


def _gated(stem: str, hidden: int, width: int, *, bias: bool = False) -> Shapes:
    return {
        **_linear(f"{stem}.gate_proj", width, hidden, bias=bias),
        **_linear(f"{stem}.up_proj", width, hidden, bias=bias),
        **_linear(f"{stem}.down_proj", hidden, width, bias=bias),
    }


def _norms(config: ModelConfig, *names: str) -> Shapes:
    return {f"{name}.weight": (config.hidden_size,) for name in names}


_TWO = ("input_layernorm", "post_attention_layernorm")
_FOUR = (*_TWO, "pre_feedforward_layernorm", "post_feedforward_layernorm")


def _experts(config: ModelConfig, stem: str, width: int) -> Shapes:
    shapes: Shapes = {}
    for expert in range(config.experts):
        shapes |= _gated(f"{stem}.experts.{expert}", config.hidden_size, width)
    return shapes


def _llama(config: ModelConfig, _: int) -> Shapes:
    bias = config.flag("attention_bias")
    return {
        **_norms(config, *_TWO),
        **_attention(config, bias=bias, out_bias=bias),
        **_gated(
            "mlp",
            config.hidden_size,
            config.number("intermediate_size"),
            bias=config.flag("mlp_bias"),
        ),
    }


def _qwen2(config: ModelConfig, _: int) -> Shapes:
    return {
        **_norms(config, *_TWO),
        **_attention(config, bias=True),
        **_gated("mlp", config.hidden_size, config.number("intermediate_size")),
    }


def _qwen3(config: ModelConfig, index: int) -> Shapes:
    return {**_llama(config, index), **_head_norms(config)}


def _gemma2(config: ModelConfig, _: int) -> Shapes:
    return {
        **_norms(config, *_FOUR),
        **_attention(config),
        **_gated("mlp", config.hidden_size, config.number("intermediate_size")),
    }


def _gemma3(config: ModelConfig, index: int) -> Shapes:
    return {**_gemma2(config, index), **_head_norms(config)}


def _phi3(config: ModelConfig, _: int) -> Shapes:
    hidden, width = config.hidden_size, config.head_dim
    wide = config.number("intermediate_size")
    queries = config.heads * width
    fused = queries + 2 * config.kv_heads * width
    return {
        **_norms(config, *_TWO),
        **_linear("self_attn.qkv_proj", fused, hidden),
        **_linear("self_attn.o_proj", hidden, queries),
        **_linear("mlp.gate_up_proj", 2 * wide, hidden),
        **_linear("mlp.down_proj", hidden, wide),
    }


def _mixtral(config: ModelConfig, _: int) -> Shapes:
    hidden, wide = config.hidden_size, config.number("intermediate_size")
    shapes = {
        **_norms(config, *_TWO),
        **_attention(config),
        **_linear("block_sparse_moe.gate", config.experts, hidden),
    }
    for expert in range(config.experts):
        stem = f"block_sparse_moe.experts.{expert}"
        shapes |= _linear(f"{stem}.w1", wide, hidden)
        shapes |= _linear(f"{stem}.w2", hidden, wide)
        shapes |= _linear(f"{stem}.w3", wide, hidden)
    return shapes


def _sparse(config: ModelConfig, index: int) -> bool:
    """Whether a Qwen layer has experts (Qwen3MoeConfig)."""
    dense = config.text.get("mlp_only_layers")
    step = config.number("decoder_sparse_step", 1)
    only = isinstance(dense, list) and index in dense
    return not only and config.experts > 0 and step > 0 and (index + 1) % step == 0


def _qwen_mlp(config: ModelConfig, index: int) -> Shapes:
    hidden = config.hidden_size
    if not _sparse(config, index):
        return _gated("mlp", hidden, config.number("intermediate_size"))
    shapes = {
        **_linear("mlp.gate", config.experts, hidden),
        **_experts(config, "mlp", config.number("moe_intermediate_size")),
    }
    shared = config.number("shared_expert_intermediate_size")
    if shared and config.architecture != "Qwen3MoeForCausalLM":
        shapes |= _gated("mlp.shared_expert", hidden, shared)
        shapes |= _linear("mlp.shared_expert_gate", 1, hidden)
    return shapes


def _qwen3_moe(config: ModelConfig, index: int) -> Shapes:
    bias = config.flag("attention_bias")
    return {
        **_norms(config, *_TWO),
        **_attention(config, bias=bias, out_bias=bias),
        **_head_norms(config),
        **_qwen_mlp(config, index),
    }


def _delta_net(config: ModelConfig) -> Shapes:
    heads = config.number("linear_num_value_heads")
    keys = config.number("linear_num_key_heads") * config.number("linear_key_head_dim")
    values = heads * config.number("linear_value_head_dim")
    hidden = config.hidden_size
    mixed = 2 * keys + values
    return {
        **_linear("linear_attn.in_proj_qkvz", mixed + values, hidden),
        **_linear("linear_attn.in_proj_ba", 2 * heads, hidden),
        "linear_attn.conv1d.weight": (
            mixed,
            1,
            config.number("linear_conv_kernel_dim"),
        ),
        "linear_attn.dt_bias": (heads,),
        "linear_attn.A_log": (heads,),
        "linear_attn.norm.weight": (config.number("linear_value_head_dim"),),
        **_linear("linear_attn.out_proj", hidden, values),
    }


def _qwen3_next(config: ModelConfig, index: int) -> Shapes:
    kinds = config.text.get("layer_types")
    if isinstance(kinds, list) and len(kinds) == config.layers:
        full = kinds[index] == "full_attention"
    else:
        full = (index + 1) % config.number("full_attention_interval", 4) == 0
    mixer = (
        {**_attention(config, gate=2), **_head_norms(config)}
        if full
        else _delta_net(config)
    )
    return {**_norms(config, *_TWO), **mixer, **_qwen_mlp(config, index)}


def _scaled(shapes: Shapes) -> Shapes:
    """The same with a scale for each square of each linear layer."""
    scales: Shapes = {}
    for name, shape in shapes.items():
        if name.endswith(("_proj.weight", "_mqa.weight")):
            rows, columns = shape
            scales[f"{name}_scale_inv"] = (
                -(-rows // FP8_BLOCK),
                -(-columns // FP8_BLOCK),
            )
    return {**shapes, **scales}


def _deepseek(config: ModelConfig, index: int) -> Shapes:
    hidden, heads = config.hidden_size, config.heads
    nope, rope = config.number("qk_nope_head_dim"), config.number("qk_rope_head_dim")
    latent, value = config.number("kv_lora_rank"), config.number("v_head_dim")
    low = config.number("q_lora_rank")
    shapes = {
        **_norms(config, *_TWO),
        **_linear("self_attn.kv_a_proj_with_mqa", latent + rope, hidden),
        "self_attn.kv_a_layernorm.weight": (latent,),
        **_linear("self_attn.kv_b_proj", heads * (nope + value), latent),
        **_linear("self_attn.o_proj", hidden, heads * value),
    }
    if low:
        shapes |= _linear("self_attn.q_a_proj", low, hidden)
        shapes["self_attn.q_a_layernorm.weight"] = (low,)
        shapes |= _linear("self_attn.q_b_proj", heads * (nope + rope), low)
    else:
        shapes |= _linear("self_attn.q_proj", heads * (nope + rope), hidden)
    step = config.number("moe_layer_freq", 1) or 1
    if index < config.number("first_k_dense_replace") or index % step:
        shapes |= _gated("mlp", hidden, config.number("intermediate_size"))
    else:
        width = config.number("moe_intermediate_size")
        shapes |= _linear("mlp.gate", config.experts, hidden)
        if config.text.get("topk_method") == "noaux_tc":
            shapes["mlp.gate.e_score_correction_bias"] = (config.experts,)
        shapes |= _experts(config, "mlp", width)
        shared = config.number("n_shared_experts")
        if shared:
            shapes |= _gated("mlp.shared_experts", hidden, width * shared)
    return _scaled(shapes) if form_of(config) == FP8 else shapes


def _gpt_oss(config: ModelConfig, _: int) -> Shapes:
    hidden, wide = config.hidden_size, config.number("intermediate_size")
    count = config.experts
    shapes = {
        **_norms(config, *_TWO),
        **_attention(config, bias=True, out_bias=True),
        "self_attn.sinks": (config.heads,),
        **_linear("mlp.router", count, hidden, bias=True),
        "mlp.experts.gate_up_proj_bias": (count, 2 * wide),
        "mlp.experts.down_proj_bias": (count, hidden),
    }
    if form_of(config) != MXFP4:
        shapes["mlp.experts.gate_up_proj"] = (count, hidden, 2 * wide)
        shapes["mlp.experts.down_proj"] = (count, wide, hidden)
        return shapes
    half = MXFP4_BLOCK // 2
    for name, rows, columns in (
        ("gate_up_proj", 2 * wide, hidden),
        ("down_proj", hidden, wide),
    ):
        blocks = columns // MXFP4_BLOCK
        shapes[f"mlp.experts.{name}_blocks"] = (count, rows, blocks, half)
        shapes[f"mlp.experts.{name}_scales"] = (count, rows, blocks)
    return shapes


def _llama4(config: ModelConfig, index: int) -> Shapes:
    hidden, wide = config.hidden_size, config.number("intermediate_size")
    bias = config.flag("attention_bias")
    shapes = {
        **_norms(config, *_TWO),
        **_attention(config, bias=bias, out_bias=bias),
    }
    given = config.text.get("moe_layers")
    step = config.number("interleave_moe_layer_step", 1)
    sparse = (
        index in given
        if isinstance(given, list)
        else (step > 0 and (index + 1) % step == 0)
    )
    if not sparse:
        dense = config.number("intermediate_size_mlp", wide)
        return {**shapes, **_gated("feed_forward", hidden, dense)}
    return {
        **shapes,
        "feed_forward.experts.gate_up_proj": (config.experts, hidden, 2 * wide),
        "feed_forward.experts.down_proj": (config.experts, wide, hidden),
        **_linear("feed_forward.router", config.experts, hidden),
        **_gated("feed_forward.shared_expert", hidden, wide),
    }


_LAYERS: dict[str, Callable[[ModelConfig, int], Shapes]] = {
    "LlamaForCausalLM": _llama,
    "MistralForCausalLM": _llama,
    "MixtralForCausalLM": _mixtral,
    "Qwen2ForCausalLM": _qwen2,
    "Qwen3ForCausalLM": _qwen3,
    "Qwen3MoeForCausalLM": _qwen3_moe,
    "Qwen3NextForCausalLM": _qwen3_next,
    "Phi3ForCausalLM": _phi3,
    "Gemma2ForCausalLM": _gemma2,
    "Gemma3ForCausalLM": _gemma3,
    "Gemma3ForConditionalGeneration": _gemma3,
    "GptOssForCausalLM": _gpt_oss,
    "DeepseekV3ForCausalLM": _deepseek,
    "Llama4ForCausalLM": _llama4,
    "Llama4ForConditionalGeneration": _llama4,
}


def layer_kinds(config: ModelConfig) -> Iterator[Shapes]:
    """The shapes of each hidden layer, first to last."""
    layer = _LAYERS[config.architecture]
    return (layer(config, index) for index in range(config.layers))
