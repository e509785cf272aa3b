"""Tokenizer files: which suffice, and whether they can belong to the model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weightdrop.core.artifacts import codes, model_codes
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import Layout, shown

_SENTENCEPIECE = (
    "LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM",
    "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration",
    "GemmaForCausalLM", "InternLM2ForCausalLM", "BaichuanForCausalLM",
)  # fmt: skip
"""Architectures whose tokenizer is built from tokenizer.model alone."""
_BYTE_PAIRS = (
    "Qwen2ForCausalLM", "Qwen2MoeForCausalLM", "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM", "Qwen3NextForCausalLM", "Phi3ForCausalLM",
    "GPT2LMHeadModel", "OPTForCausalLM", "Qwen3VLForConditionalGeneration",
)  # fmt: skip
"""Architectures whose tokenizer is built from vocab.json and merges.txt."""
_TEKKEN = (
    "MistralForCausalLM", "MixtralForCausalLM", "Mistral3ForConditionalGeneration",
    "PixtralForConditionalGeneration", "Ministral3ForCausalLM",
)  # fmt: skip
_CLASS = re.compile(r"[A-Z][A-Za-z0-9]*(Tokenizer|TokenizerFast|TokenizersBackend)")
_BACKENDS = frozenset({
    "TokenizersBackend", "SentencePieceBackend", "PythonBackend", "TikTokenTokenizer",
    "MistralCommonBackend", "MistralCommonTokenizer",
})  # fmt: skip
HEAD_BYTES = 2 * 1024 * 1024
"""Read of a large tokenizer.json: its added tokens lie well within (Gemma 3,
which has the most, needs 1.3 MB)."""
TAIL_BYTES = 64


@dataclass(frozen=True, slots=True)
class TokenizerChoice:
    """Which tokenizer files there are.

    Attributes:
        files: Those that are served.
        missing: What would have to come.
        findings: What is missing, in words.
    """

    files: tuple[str, ...]
    missing: tuple[str, ...]
    findings: tuple[Finding, ...]


def choose(layout: Layout, architecture: str) -> TokenizerChoice:
    """Whether the tokenizer files that are there suffice."""
    tekken = architecture in _TEKKEN and layout.has("tekken.json")
    enough = (
        layout.has("tokenizer.json")
        or tekken
        or (architecture in _SENTENCEPIECE and layout.has("tokenizer.model"))
        or (
            architecture in _BYTE_PAIRS
            and layout.has("vocab.json")
            and layout.has("merges.txt")
        )
    )
    missing: list[str] = []
    findings: list[Finding] = []
    if not enough:
        missing.append("tokenizer.json")
        other = _alternatives(architecture)
        findings.append(
            codes.TOKENIZER_MISSING.found(
                f"There is no tokenizer.json{other}.",
                fix=f"Upload tokenizer.json{other.replace(' nor', ' or')}.",
            )
        )
    if not layout.has("tokenizer_config.json") and not tekken:
        missing.append("tokenizer_config.json")
        findings.append(
            codes.TOKENIZER_CONFIG_MISSING.found("There is no tokenizer_config.json.")
        )
    present = tuple(
        path
        for path in (
            "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
            "tekken.json", "vocab.json", "merges.txt", "added_tokens.json",
            "special_tokens_map.json",
        )
        if layout.has(path)
    )  # fmt: skip
    return TokenizerChoice(present, tuple(missing), tuple(findings))


def _alternatives(architecture: str) -> str:
    words = []
    if architecture in _SENTENCEPIECE:
        words.append("tokenizer.model")
    if architecture in _BYTE_PAIRS:
        words.append("vocab.json with merges.txt")
    if architecture in _TEKKEN:
        words.append("tekken.json")
    return "".join(f" nor {word}" for word in words)


def class_findings(document: Mapping[str, Any]) -> list[Finding]:
    """Whether tokenizer_config.json names a class that comes with the engine."""
    name = document.get("tokenizer_class")
    if name is None:
        return []
    if isinstance(name, str) and (_CLASS.fullmatch(name) or name in _BACKENDS):
        return []
    return [
        model_codes.TOKENIZER_CLASS.found(
            f"tokenizer_class is {shown(repr(name), 60)}.", file="tokenizer_config.json"
        )
    ]


_NEVER_TYPED = frozenset({"<image_soft_token>"})
"""Gemma 3's tokenizer has it at every size, the text models no embedding for it."""
_MAX_DIGITS = 12


def _ids(entries: Any) -> list[int]:
    """Token ids of an added_tokens list, its decoder table, or a vocabulary."""
    if isinstance(entries, list):
        pairs = [(e.get("id"), e.get("content")) for e in entries if _is_table(e)]
    elif isinstance(entries, dict):
        pairs = [
            (int(key), value.get("content")) if _is_number(key) else (None, None)
            for key, value in entries.items()
            if _is_table(value)
        ] or [(value, key) for key, value in entries.items()]
    else:
        return []
    return [
        number
        for number, text in pairs
        if type(number) is int and not (isinstance(text, str) and text in _NEVER_TYPED)
    ]


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def highest_id(documents: Mapping[str, Any]) -> tuple[int, str]:
    """The highest token id that any tokenizer file gives out, and which file.

    Args:
        documents: tokenizer_config.json, added_tokens.json and what was read of
            tokenizer.json, by path.
    """
    best = (-1, "")
    config = documents.get("tokenizer_config.json")
    if isinstance(config, dict):
        ids = _ids(config.get("added_tokens_decoder"))
        best = max(best, (max(ids, default=-1), "tokenizer_config.json"))
    ids = _ids(documents.get("added_tokens.json"))
    best = max(best, (max(ids, default=-1), "added_tokens.json"))
    whole = documents.get("tokenizer.json")
    if isinstance(whole, dict):
        ids = _ids(whole.get("added_tokens"))
        model = whole.get("model")
        vocab = model.get("vocab") if isinstance(model, dict) else None
        if isinstance(vocab, dict):
            ids += [value for value in vocab.values() if type(value) is int]
        elif isinstance(vocab, list):
            ids.append(len(vocab) - 1)
        best = max(best, (max(ids, default=-1), "tokenizer.json"))
    return best


def vocabulary_findings(documents: Mapping[str, Any], rows: int) -> list[Finding]:
    """Whether every token id has a row in the embedding."""
    top, file = highest_id(documents)
    if rows <= 0 or top < rows:
        return []
    return [
        model_codes.TOKENIZER_TOO_LARGE_VOCABULARY.found(
            f"{file} gives out ids up to {top}; the model has {rows} embeddings.",
            file=file,
        )
    ]


_ADDED = re.compile(r'"added_tokens"\s*:\s*(?=\[)')


def head_of(data: bytes) -> dict[str, Any]:
    """What can be told of a tokenizer.json from its beginning alone."""
    text = data.decode("utf-8", "ignore")
    found = _ADDED.search(text)
    if found is None:
        return {}
    try:
        value, _ = json.JSONDecoder().raw_decode(text, found.end())
    except (ValueError, RecursionError):
        return {}
    return {"added_tokens": value}


def ends_findings(head: bytes, tail: bytes) -> list[Finding]:
    """Whether a large tokenizer.json begins and ends as it must."""
    if head.lstrip()[:1] == b"{" and tail.rstrip()[-1:] == b"}":
        return []
    what = "end" if head.lstrip()[:1] == b"{" else "begin"
    return [
        model_codes.TOKENIZER_INVALID.found(
            f"tokenizer.json does not {what} as a JSON object does.",
            file="tokenizer.json",
            offset=0 if what == "begin" else None,
        )
    ]
