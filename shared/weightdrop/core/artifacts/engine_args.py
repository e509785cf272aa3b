"""The engine arguments a folder may ask for.

An allow-list: whatever it does not name is refused, because most arguments of
an engine open files, load code or listen somewhere. Names and values are those
of vLLM 0.32. Model, name and port are the server's to set.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from weightdrop.core.catalogue import parsers

MAX_DIGITS = 12


def _between(low: float, high: float) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            value = float(text)
        except ValueError:
            return False
        return low <= value <= high

    return check


def _count(high: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        digits = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
        return digits and 1 <= int(text) <= high

    return check


def _any_of(*words: str) -> Callable[[str], bool]:
    return lambda text: text in words


def _per_prompt(text: str) -> bool:
    return re.fullmatch(r'\{"(image|video|audio)": ?\d{1,3}\}', text) is not None


FLAGS = frozenset({
    "--enable-prefix-caching", "--no-enable-prefix-caching",
    "--enable-chunked-prefill", "--no-enable-chunked-prefill",
    "--enable-auto-tool-choice", "--enforce-eager", "--language-model-only",
    "--disable-log-stats", "--enable-log-requests", "--disable-sliding-window",
    "--enable-expert-parallel", "--async-scheduling", "--no-async-scheduling",
})  # fmt: skip
"""Arguments that take no value."""

VALUES: dict[str, Callable[[str], bool]] = {
    "--max-model-len": _count(2**24),
    "--max-num-seqs": _count(65_536),
    "--max-num-batched-tokens": _count(2**24),
    "--max-num-queued-reqs": _count(10**6),
    "--gpu-memory-utilization": _between(0.1, 0.98),
    "--kv-cache-dtype": _any_of("auto", "fp8", "fp8_e4m3", "fp8_e5m2", "bfloat16"),
    "--dtype": _any_of("auto", "bfloat16", "float16", "half", "float32"),
    "--block-size": _any_of("8", "16", "32", "64", "128"),
    "--seed": _count(2**31),
    "--tool-call-parser": _any_of(parsers.NONE, *parsers.TOOL),
    "--reasoning-parser": _any_of(parsers.NONE, *parsers.REASONING),
    "--generation-config": _any_of("auto", "vllm"),
    "--limit-mm-per-prompt": _per_prompt,
    "--tensor-parallel-size": _any_of("1", "2", "4", "8", "16"),
    "--optimization-level": _any_of("0", "1", "2", "3"),
    "--shutdown-timeout": _between(0, 3600),
    "--uvicorn-log-level": _any_of("debug", "info", "warning", "error", "critical"),
}
"""Arguments that take one value, and what it may be."""


def faults(arguments: tuple[str, ...]) -> list[str]:
    """What is wrong with the arguments, one sentence each; empty if nothing.

    Each argument is one word: `--name`, its value after it or behind "=".
    """
    found: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name in FLAGS:
            if equals:
                found.append(f"{name} takes no value.")
            continue
        if name not in VALUES:
            found.append(f"{word[:80]!r} is not on the list of allowed arguments.")
            continue
        if not equals:
            if not words or words[0].startswith("--"):
                found.append(f"{name} needs a value.")
                continue
            value = words.pop(0)
        if not VALUES[name](value):
            found.append(f"{name} cannot be {value[:80]!r}.")
    return found
