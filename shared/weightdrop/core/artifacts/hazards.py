"""Keys in JSON documents that would make an engine load or run something.

Each rule names the incident it comes from. The pinned engine (vLLM 0.32 with
transformers 5.19) has fixed most; the rules stay because an image can be
replaced and a bucket cannot be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weightdrop.core.artifacts import model_codes
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import shown

ACTIVATIONS = frozenset({
    "gelu", "gelu_fast", "gelu_new", "gelu_pytorch_tanh", "relu", "relu2", "silu",
    "swish", "quick_gelu", "tanh", "sigmoid", "xielu", "swiglu", "geglu",
})  # fmt: skip
"""vLLM 0.32's activation registry, and the two gated names of older configs.

A name beyond it makes older engines import a class (CVE-2026-41523).
"""
_ACTIVATION_KEYS = (
    "hidden_act", "hidden_activation", "activation_function", "projector_hidden_act",
    "activation", "hidden_activation_function",
)  # fmt: skip
_IMPLEMENTATIONS = (
    "_attn_implementation_internal", "attn_implementation", "_attn_implementation",
    "experts_implementation", "_experts_implementation", "kernel_config",
    "use_kernels", "kernels",
)  # fmt: skip
"""Keys through which transformers loads kernels from a hub (CVE-2026-4372)."""
_HARMLESS = frozenset({
    "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention",
    "grouped_mm", "batched_mm",
})  # fmt: skip
_MAX_VISITS = 100_000
_INERT = ("tokenizer_config.json", "generation_config.json")
"""Where saving leaves trust_remote_code behind and nothing reads it."""


def _members(document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(path, key, value) of every member at any depth, without recursion."""
    pending: list[tuple[str, Any]] = [("", document)]
    visits = 0
    while pending and visits < _MAX_VISITS:
        path, value = pending.pop()
        if isinstance(value, dict):
            for key, member in value.items():
                visits += 1
                yield f"{path}{key}", key, member
                if isinstance(member, dict | list):
                    pending.append((f"{path}{key}.", member))
        elif isinstance(value, list):
            visits += len(value)
            pending += [(path, item) for item in value if isinstance(item, dict | list)]


def _harmless(value: Any) -> bool:
    return value in (None, False, {}, []) or (
        isinstance(value, str) and value in _HARMLESS
    )


def _one(path: str, key: str, value: Any, file: str) -> Finding | None:
    where = shown(path)
    if key == "trust_remote_code" and value not in (False, None):
        # CVE-2026-5241: read from the document instead of from the caller.
        code = (
            model_codes.REMOTE_CODE_IGNORED
            if file in _INERT
            else model_codes.REMOTE_CODE
        )
        return code.found(
            f"{file} sets {where}: the model asks for its own code to be run.",
            file=file,
        )
    if key in _IMPLEMENTATIONS and not _harmless(value):
        return model_codes.KERNEL_HOOK.found(
            f"{file} sets {where} to {shown(repr(value), 60)}, which names an "
            "implementation to be loaded.",
            file=file,
        )
    if key == "_name_or_path" and isinstance(value, str) and "://" in value:
        return model_codes.URL_IN_CONFIG.found(
            f"{file} names the address {shown(value, 60)} in {where}.", file=file
        )
    if key in _ACTIVATION_KEYS and isinstance(value, str | list | dict):
        known = isinstance(value, str) and value.lower() in ACTIVATIONS
        if not known:
            return model_codes.ACTIVATION_UNKNOWN.found(
                f"{where} is {shown(repr(value), 60)}.", file=file
            )
    return None


def findings(document: dict[str, Any], file: str, *, built_in: bool) -> list[Finding]:
    """What a document asks for that it must not have.

    Args:
        document: Its members.
        file: Its path.
        built_in: Whether the engine has the model's architecture built in, so
            that auto_map (CVE-2025-66448, CVE-2026-22807) leads nowhere.
    """
    found: list[Finding] = []
    for path, key, value in _members(document):
        if key == "auto_map" and value:
            code = (
                model_codes.REMOTE_CODE_IGNORED if built_in else model_codes.REMOTE_CODE
            )
            found.append(
                code.found(f"{file} has {shown(path)}, which names code.", file=file)
            )
        elif finding := _one(path, key, value, file):
            found.append(finding)
    return found
