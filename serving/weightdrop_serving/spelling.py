"""Names of tensors that the pinned vLLM reads under another spelling.

transformers 5 saves Gemma 3's vision tower without the level that vLLM 0.32 has
between the tower and its parts; vLLM then refuses to start. The deploying side
accepts both spellings (`weightdrop.core.artifacts.shapes`), and here the newer one
becomes the older.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_GEMMA3_TOWER: Final = re.compile(
    r"((?:model\.)?vision_tower\.)(?=(?:embeddings|encoder|post_layernorm)\.)"
)


def speller(architecture: str) -> Callable[[str], str]:
    """What turns a stored name into the one that vLLM knows.

    Args:
        architecture: The first of config.json's `architectures`.
    """
    if architecture == "Gemma3ForConditionalGeneration":
        return _gemma3
    return str  # a name as it is


def _gemma3(name: str) -> str:
    found = _GEMMA3_TOWER.match(name)
    return f"{found[0]}vision_model.{name[found.end() :]}" if found else name
