"""Run while the image is built: what vLLM would find out again at every start.

The first time vLLM meets an architecture it starts a process of its own to look at
the class, which takes seconds. The result depends on vLLM's source alone. gpt-oss
needs a vocabulary besides, which must be in the image: nothing is fetched at a start.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

# vLLM's classes for the model families that Weightdrop deploys.
ARCHITECTURES: Final = (
    "DeepseekV2ForCausalLM",
    "DeepseekV3ForCausalLM",
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "Gemma3ForConditionalGeneration",
    "GptOssForCausalLM",
    "Llama4ForCausalLM",
    "Llama4ForConditionalGeneration",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "Phi3ForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
    "Qwen3NextForCausalLM",
)


def main(cache: Path) -> int:
    """Fill `cache` for every architecture; how much of it could not be done."""
    os.environ["VLLM_CACHE_ROOT"] = str(cache / "vllm")
    from vllm.model_executor.models.registry import (  # noqa: PLC0415  # after its root
        ModelRegistry,
    )

    failed = int(not has_vocabulary())
    for name in ARCHITECTURES:
        try:
            ModelRegistry.models[name].inspect_model_cls()
        except Exception as error:  # noqa: BLE001  # each class fails in its own way
            failed += 1
            sys.stderr.write(f"{name}: {error}\n")
    return failed


def has_vocabulary() -> bool:
    """Whether conversations with gpt-oss can be written down without a network."""
    from openai_harmony import (  # noqa: PLC0415  # it comes with vLLM
        HarmonyEncodingName,
        load_harmony_encoding,
    )

    try:
        load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
    except Exception as error:  # noqa: BLE001  # of any kind: it tried to fetch it
        sys.stderr.write(f"the vocabulary of gpt-oss is not here: {error}\n")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
