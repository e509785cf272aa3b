"""Which of the engine's parsers read what a model writes: shown by its own files.

The engine refuses to start with a parser whose tokens the tokenizer lacks, and one
that does not fit hides the answer. So a parser is chosen only where the chat template
writes its marks and the tokenizer has its tokens; a base model gets none. gpt-oss'
reasoning parser is the engine's own choice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from weightdrop.core.artifacts.exchange import Template


@dataclass(frozen=True, slots=True)
class Parsers:
    """Names of the engine's parsers; empty where nothing shows one."""

    tool: str = ""
    reasoning: str = ""


NO_PARSERS = Parsers()
"""Of a config alone, which shows none."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """When a parser of tool calls is the right one: everything must hold.

    Attributes:
        parser: Its name.
        families: How the architecture's name begins.
        marks: What the chat template writes.
        tokens: Which tokens the parser cannot do without.
    """

    parser: str
    families: tuple[str, ...]
    marks: tuple[str, ...]
    tokens: tuple[str, ...]


_DEEPSEEK_TOKENS = tuple(
    f"<\uff5ctool▁{what}▁{end}\uff5c>"
    for what in ("calls", "call")
    for end in ("begin", "end")
)
_MISTRAL = ("[TOOL_CALLS]",)
_TOOLS = (
    # Of two that could fit, the one with more marks stands first.
    _Rule("qwen3_coder", ("Qwen3",), ("<tool_call>", "<function="), ("<tool_call>",)),
    _Rule("hermes", ("Qwen2", "Qwen3"), ("<tool_call>",), ("<tool_call>",)),
    _Rule("llama3_json", ("LlamaFor",), ("ipython", "tool"), ("<|python_tag|>",)),
    _Rule("llama4_pythonic", ("Llama4For",), ("[func_name",), ("<|python_start|>",)),
    _Rule("mistral", ("MistralFor", "MixtralFor"), _MISTRAL, _MISTRAL),
    _Rule("deepseek_v3", ("DeepseekV3",), ("tool▁sep", "```json"), _DEEPSEEK_TOKENS),
    _Rule("deepseek_v31", ("DeepseekV3",), ("tool▁sep",), _DEEPSEEK_TOKENS),
    _Rule("openai", ("GptOss",), ("<|channel|>", "tool"), ("<|channel|>", "<|call|>")),
)  # fmt: skip
_OPENS_THINKING = re.compile(
    r"add_generation_prompt.{0,400}<think>(\\n|\n)['\"]", re.DOTALL
)
"""A template that begins every answer with a thought. Those of models that choose
whether to think close it again, or leave it to them."""
_THINKING = {"Qwen3": "qwen3", "DeepseekV3": "deepseek_r1"}
_THOUGHT = frozenset({"<think>", "</think>"})


def added_tokens(documents: Mapping[str, Any]) -> frozenset[str]:
    """Texts of the tokens that were added to a tokenizer's vocabulary.

    Args:
        documents: tokenizer_config.json and what was read of tokenizer.json, by path.
    """
    config = documents.get("tokenizer_config.json")
    whole = documents.get("tokenizer.json")
    decoder = config.get("added_tokens_decoder") if isinstance(config, dict) else None
    listed = whole.get("added_tokens") if isinstance(whole, dict) else None
    entries = [*(decoder.values() if isinstance(decoder, dict) else ())]
    entries += listed if isinstance(listed, list) else []
    texts = (entry.get("content") for entry in entries if isinstance(entry, dict))
    return frozenset(text for text in texts if isinstance(text, str))


def choose(
    architecture: str, templates: tuple[Template, ...], tokens: AbstractSet[str]
) -> Parsers:
    """The parsers that the files show.

    Args:
        architecture: The model's class.
        templates: Its chat templates.
        tokens: Its added tokens.
    """
    text = "\n".join(template.text for template in templates)
    tool = next(
        (rule.parser for rule in _TOOLS if _holds(rule, architecture, text, tokens)), ""
    )
    reasoning = ""
    if _OPENS_THINKING.search(text) and tokens >= _THOUGHT:
        names = (
            name for start, name in _THINKING.items() if architecture.startswith(start)
        )
        reasoning = next(names, "")
    return Parsers(tool, reasoning)


def _holds(rule: _Rule, architecture: str, text: str, tokens: AbstractSet[str]) -> bool:
    return (
        architecture.startswith(rule.families)
        and all(mark in text for mark in rule.marks)
        and tokens >= set(rule.tokens)
    )
