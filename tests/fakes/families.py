"""The model families that Weightdrop deploys, as tiny random models.

Each has the structure of its family and a few hundred thousand parameters; what a
family insists on (attention sizes of DeepSeek, head sizes of Qwen3-Next, the
vocabulary of gpt-oss) is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from fakes.family_models import Config, Pictures, Recipe

_COMMON: Final = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
_HEADS: Final = {"head_dim": 32}
_WINDOW: Final = {"sliding_window": 64}
_EXPERTS: Final = {"num_experts_per_tok": 2, "moe_intermediate_size": 64}
_HARMONY_ROWS: Final = 201_088  # gpt-oss: conversations are written in these tokens


@dataclass(frozen=True)
class Family:
    """One family, served from one tiny model.

    Attributes:
        name: For people.
        bases: The listed base models that are served so.
        architecture: vLLM's class.
        recipe: How its tiny model is made.
        always: Whether every run of the tests serves it.
        exact: Whether vLLM computes in float32 and must say what transformers says,
            token by token; what cannot is compared token after token, see
            `Reference.distance`.
        parser: What reads its tool calls, as its files show.
    """

    name: str
    bases: str
    architecture: str
    recipe: Recipe
    always: bool = False
    exact: bool = True
    parser: str = ""

    @property
    def dtype(self) -> str:
        """The type that vLLM computes in."""
        return "float32" if self.exact else "bfloat16"


def _text(config: str, /, **options: Any) -> Recipe:
    return Recipe(config, {**_COMMON, **options})


def _routing(document: Config) -> None:
    document["topk_method"] = "noaux_tc"  # transformers 5 leaves it out


def _llama3(**options: Any) -> Recipe:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 512,
    }
    return _text("LlamaConfig", rope_parameters=rope, **_HEADS, **options)


_LLAMA4_TEXT: Final = {
    **_COMMON,
    **_HEADS,
    "num_hidden_layers": 4,
    "intermediate_size": 64,
    "intermediate_size_mlp": 256,
    "num_local_experts": 4,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 2,
}
_TOWER: Final = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_SIDE: Final = {"height": 28, "width": 28}
_LLAMA4: Final = Recipe(
    "Llama4Config",
    {
        "text_config": _LLAMA4_TEXT,
        "vision_config": {
            **_TOWER,
            "vision_output_dim": 64,
            "projector_input_dim": 64,
            "projector_output_dim": 64,
        },
    },
    pictures=Pictures(
        "Llama4Processor",
        "Llama4ImageProcessor",
        {"size": _SIDE, "max_patches": 1},
        {"patch_size": 14},
        tokens={
            "image_token": "<|image|>",
            "patch_token": "<|patch|>",
            "start_token": "<|image_start|>",
            "end_token": "<|image_end|>",
            "x_token": "<|tile_x_separator|>",
            "y_token": "<|tile_y_separator|>",
        },
        indexes={
            "image_token_index": "<|patch|>",
            "boi_token_index": "<|image_start|>",
            "eoi_token_index": "<|image_end|>",
        },
        mark="<|image|>",
        shown=False,  # oneDNN refuses the tower's strides, and the engine dies
    ),
)
_GEMMA3: Final = Recipe(
    "Gemma3Config",
    {
        "text_config": {**_COMMON, **_HEADS, **_WINDOW},
        "vision_config": {**_TOWER, "vision_use_head": False},
        "mm_tokens_per_image": 1,
    },
    pictures=Pictures(
        "Gemma3Processor",
        "Gemma3ImageProcessor",
        {"size": _SIDE},
        {"image_seq_length": 1},
        tokens={
            "image_token": "<image_soft_token>",
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
        },
        indexes={
            "image_token_index": "<image_soft_token>",
            "boi_token_index": "<start_of_image>",
            "eoi_token_index": "<end_of_image>",
        },
        mark="<start_of_image>",
        plain=tuple("\n" * count for count in (1, 2, 3, 4)),
    ),
)
_DEEPSEEK: Final = Recipe(
    "DeepseekV3Config",
    {
        **_COMMON,
        **_EXPERTS,
        "num_key_value_heads": 4,
        "kv_lora_rank": 512,
        "q_lora_rank": 64,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
        "n_routed_experts": 8,
        "n_shared_experts": 1,
        "n_group": 2,
        "topk_group": 1,
        "first_k_dense_replace": 1,
    },
    patch=_routing,
)
_GPT_OSS: Final = Recipe(
    "GptOssConfig",
    {
        **_COMMON,
        **_HEADS,
        **_WINDOW,
        "hidden_size": 64,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
    stored="bfloat16",
    vocabulary=_HARMONY_ROWS,
    calls=("<|channel|>", "<|call|>"),
    marks="tool",
)
_QWEN3_NEXT: Final = _text(
    "Qwen3NextConfig",
    **_HEADS,
    **_EXPERTS,
    num_hidden_layers=4,
    num_experts=4,
    shared_expert_intermediate_size=64,
    linear_key_head_dim=128,
    linear_value_head_dim=128,
    linear_num_key_heads=2,
    linear_num_value_heads=4,
)

FAMILIES: Final = (
    Family(
        "Llama 2",
        "Llama-2, CodeLlama",
        "LlamaForCausalLM",
        _text("LlamaConfig", **_HEADS, num_key_value_heads=4),
    ),
    Family("Llama 3.1", "Llama-3.1", "LlamaForCausalLM", _llama3(), always=True),
    Family(
        "Llama 3.2",
        "Llama-3.2, whose head is its embedding",
        "LlamaForCausalLM",
        _llama3(tie_word_embeddings=True),
    ),
    Family(
        "Llama 4",
        "Llama-4 Scout, Maverick",
        "Llama4ForConditionalGeneration",
        _LLAMA4,
    ),
    Family(
        "Llama 4, text alone",
        "Llama-4 fine-tunes saved without their eyes",
        "Llama4ForCausalLM",
        Recipe("Llama4TextConfig", _LLAMA4_TEXT),
    ),
    Family(
        "Gemma 2",
        "Gemma-2",
        "Gemma2ForCausalLM",
        _text("Gemma2Config", **_HEADS, **_WINDOW),
    ),
    Family(
        "Gemma 3, text",
        "Gemma-3 1B, MedGemma 27B-text",
        "Gemma3ForCausalLM",
        _text("Gemma3TextConfig", **_HEADS, **_WINDOW),
    ),
    Family(
        "Gemma 3",
        "Gemma-3 4B, 12B, 27B, MedGemma 4B, saved by transformers 5",
        "Gemma3ForConditionalGeneration",
        _GEMMA3,
        always=True,
    ),
    Family(
        "Qwen2",
        "Qwen2, Qwen2.5",
        "Qwen2ForCausalLM",
        _text("Qwen2Config", tie_word_embeddings=True),
    ),
    Family("Qwen3", "Qwen3", "Qwen3ForCausalLM", _text("Qwen3Config", **_HEADS)),
    Family(
        "Qwen3 MoE",
        "Qwen3-Coder-480B",
        "Qwen3MoeForCausalLM",
        replace(
            _text("Qwen3MoeConfig", **_HEADS, **_EXPERTS, num_experts=4),
            calls=("<tool_call>", "</tool_call>"),
            marks="<function=",
        ),
        always=True,
        parser="qwen3_coder",
    ),
    Family(
        "Qwen3-Next",
        "Qwen3-Next-80B Instruct, Thinking",
        "Qwen3NextForCausalLM",
        _QWEN3_NEXT,
        exact=False,  # its linear attention on a CPU is 16 bits wide
    ),
    Family(
        "DeepSeek V3",
        "DeepSeek-V3, R1, V3.1, in bfloat16",
        "DeepseekV3ForCausalLM",
        _DEEPSEEK,
        always=True,
        exact=False,  # its experts on a CPU are 16 bits wide
    ),
    Family(
        "Mistral",
        "Mistral-7B",
        "MistralForCausalLM",
        _text("MistralConfig", **_HEADS, **_WINDOW),
        always=True,
    ),
    Family(
        "Mistral Nemo",
        "Mistral-Nemo, whose heads are wider than their share",
        "MistralForCausalLM",
        _text("MistralConfig", head_dim=64, sliding_window=None),
    ),
    Family(
        "Mixtral",
        "Mixtral-8x7B",
        "MixtralForCausalLM",
        _text("MixtralConfig", num_local_experts=4),
    ),
    Family(
        "Phi-4",
        "Phi-4-reasoning",
        "Phi3ForCausalLM",
        _text("Phi3Config", num_key_value_heads=4),
    ),
    Family(
        "gpt-oss",
        "gpt-oss 20B, 120B, in bfloat16",
        "GptOssForCausalLM",
        _GPT_OSS,
        always=True,
        parser="openai",
    ),
)
