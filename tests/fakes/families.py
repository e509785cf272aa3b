"""Tiny random models of the families that Weightdrop deploys.

Each has the structure of its family and a few hundred thousand parameters; what a
family insists on (attention sizes of DeepSeek, head sizes of Qwen3-Next) is kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from weightdrop.local.tiny_model import make_tiny_llama

_TOKENIZER: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
_COMMON: Final = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
_HEADS: Final = {"head_dim": 32}
_EXPERTS: Final = {"num_experts_per_tok": 2, "moe_intermediate_size": 64}


@dataclass(frozen=True)
class Family:
    """How to make a tiny model of one family.

    Attributes:
        name: For people.
        config: Name of transformers' config class.
        options: Beyond what all have in common.
        patch: Changes config.json after it was saved.
        always: Whether every run of the tests serves it.
        exact: Whether vLLM must say what transformers says, token by token; it is
            served in float32 then, else in the type of most published weights.
        chat: Whether its conversations can be asked here; those of gpt-oss need a
            vocabulary that is fetched from the network.
    """

    name: str
    config: str
    options: dict[str, Any] = field(default_factory=dict)
    patch: Callable[[dict[str, Any]], None] = lambda _: None
    always: bool = False
    exact: bool = True
    chat: bool = True

    @property
    def dtype(self) -> str:
        """The type that vLLM computes in; its experts on a CPU know no float32."""
        return "float32" if self.exact else "bfloat16"

    def make(self, folder: Path) -> None:
        """Write the model into `folder`."""
        import torch  # noqa: PLC0415  # seconds that other tests should not pay
        import transformers  # noqa: PLC0415

        make_tiny_llama(folder / "base")
        torch.manual_seed(0)
        words = json.loads((folder / "base" / "config.json").read_text())["vocab_size"]
        options = {"vocab_size": words, **_COMMON, **self.options}
        config = getattr(transformers, self.config)(**options)
        model = transformers.AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0, 0.08)  # far apart: no ties between tokens
        model.to(torch.float32).save_pretrained(folder, max_shard_size="1MB")
        for name in _TOKENIZER:
            shutil.copy(folder / "base" / name, folder / name)
        shutil.rmtree(folder / "base")
        path = folder / "config.json"
        document = json.loads(path.read_text())
        self.patch(document)
        path.write_text(json.dumps(document, indent=2))


def says(folder: Path, prompt: str, tokens: int) -> str:
    """What transformers generates greedily from the weights in `folder`."""
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32
    )
    given = tokenizer(prompt, return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(
            **given, do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens
        )
    new = ids[0][given["input_ids"].shape[1] :]
    return str(tokenizer.decode(new, skip_special_tokens=True))


def _routing(document: dict[str, Any]) -> None:
    document["topk_method"] = "noaux_tc"  # transformers 5 leaves it out


FAMILIES: Final = (
    Family("Llama", "LlamaConfig", _HEADS, always=True),
    Family("Llama, tied embeddings", "LlamaConfig", {"tie_word_embeddings": True}),
    Family("Mistral", "MistralConfig", {**_HEADS, "sliding_window": 64}, always=True),
    Family("Mixtral", "MixtralConfig", {"num_local_experts": 4}),
    Family("Phi-4", "Phi3Config", {"num_key_value_heads": 4}),
    Family("Qwen2", "Qwen2Config"),
    Family("Qwen3", "Qwen3Config", _HEADS),
    Family(
        "Qwen3 MoE",
        "Qwen3MoeConfig",
        {**_HEADS, **_EXPERTS, "num_experts": 4},
        always=True,
    ),
    Family("Gemma 2", "Gemma2Config", {**_HEADS, "sliding_window": 64}),
    Family(
        "Gemma 3",
        "Gemma3TextConfig",
        {**_HEADS, "sliding_window": 64},
        always=True,
    ),
    Family(
        "gpt-oss, bf16",
        "GptOssConfig",
        {
            **_HEADS,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": 64,
        },
        always=True,
        exact=False,
        chat=False,
    ),
    Family(
        "DeepSeek V3",
        "DeepseekV3Config",
        {
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
            **_EXPERTS,
        },
        patch=_routing,
        always=True,
        exact=False,
    ),
)
