"""The engine's arguments: what a user's say, and what a plan's become."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from weightdrop.core.catalogue import parsers

# Arguments that change the arithmetic: taken out of the user's list and
# given back by the plan, so that none is said twice.
_PLANNED = frozenset(
    {
        "dtype",
        "gpu-memory-utilization",
        "max-model-len",
        "max-num-batched-tokens",
        "max-num-seqs",
        "tensor-parallel-size",
    }
)
_PARSERS = ("reasoning-parser", "tool-call-parser")
_SUFFIXES = {"k": 1000, "K": 1024, "m": 10**6, "M": 2**20}


@dataclass(frozen=True, slots=True)
class UserArguments:
    """What the user's engine arguments mean for the plan.

    Attributes:
        max_model_len: Context length; 0 when not given.
        max_num_seqs: Sequences admitted; 0 when not given.
        max_num_batched_tokens: Tokens of one pass; 0 when not given.
        gpu_memory_utilization: Share of the GPU; 0 when not given.
        tensor_parallel_size: Ranks; 0 when not given.
        dtype: Type computed in; empty when not given.
        cache_dtype_bytes: Bytes of one cached value; 0 is the model's type.
        enforce_eager: Whether CUDA graphs are off.
        language_only: Whether towers are left out.
        rest: The arguments to hand on as they are.
        wrong: Arguments whose value cannot be read.
    """

    max_model_len: int = 0
    max_num_seqs: int = 0
    max_num_batched_tokens: int = 0
    gpu_memory_utilization: float = 0.0
    tensor_parallel_size: int = 0
    dtype: str = ""
    cache_dtype_bytes: int = 0
    enforce_eager: bool = False
    language_only: bool = False
    rest: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


def user_arguments(words: Sequence[str]) -> UserArguments:
    """Read a user's engine arguments."""
    planned: dict[str, str] = {}
    rest: list[str] = []
    other: dict[str, str] = {}
    for name, value in _pairs(words):
        if name in _PLANNED:
            planned[name] = value or ""
            continue
        other[name] = value or ""
        rest.append(f"--{name}" if name else "")
        if value is not None:
            rest.append(value)
    numbers: dict[str, int] = {}
    wrong: list[str] = []
    for name in (
        "max-model-len",
        "max-num-seqs",
        "max-num-batched-tokens",
        "tensor-parallel-size",
    ):
        number = _integer(planned.get(name, "0"))
        numbers[name] = number or 0
        if number is None or number < 0:
            wrong.append(f"--{name} {planned[name]}")
            numbers[name] = 0
    share = _share(planned.get("gpu-memory-utilization", ""))
    if share is None:
        wrong.append(f"--gpu-memory-utilization {planned['gpu-memory-utilization']}")
    return UserArguments(
        max_model_len=numbers["max-model-len"],
        max_num_seqs=numbers["max-num-seqs"],
        max_num_batched_tokens=numbers["max-num-batched-tokens"],
        tensor_parallel_size=numbers["tensor-parallel-size"],
        gpu_memory_utilization=share or 0.0,
        dtype=planned.get("dtype", "").replace("half", "float16"),
        cache_dtype_bytes=1 if other.get("kv-cache-dtype", "").startswith("fp8") else 0,
        enforce_eager="enforce-eager" in other
        or other.get("optimization-level") == "0",
        language_only="language-model-only" in other,
        rest=tuple(word for word in rest if word),
        wrong=tuple(wrong),
    )


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Names without dashes and values, from both written forms."""
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("--"):
            yield "", word
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("_", "-")
        if equals:
            yield name, value
        elif position < len(words) and not words[position].startswith("--"):
            yield name, words[position]
            position += 1
        else:
            yield name, None


def _integer(text: str) -> int | None:
    """A whole number, with the engine's suffixes; None when it is none."""
    factor = _SUFFIXES.get(text[-1:], 1)
    digits = text[:-1] if factor != 1 else text
    try:
        return round(float(digits) * factor) if factor != 1 else int(digits)
    except (ValueError, OverflowError):
        return None


def _share(text: str) -> float | None:
    """A share between 0 and 1; 0 when not given, None when it is none."""
    if not text:
        return 0.0
    try:
        share = float(text)
    except ValueError:
        return None
    return share if 0 < share <= 1 else None


def with_parsers(rest: Sequence[str], *, tool: str, reasoning: str) -> tuple[str, ...]:
    """A user's arguments, and the parsers that a model's own files show.

    Args:
        rest: The user's, as `user_arguments` leaves them; they win, and
            `parsers.NONE` takes a parser away.
        tool: Parser of tool calls, or empty.
        reasoning: Parser of thinking, or empty.
    """
    own = {name: value for name, value in _pairs(rest) if name}
    kept: list[str] = []
    for name, value in _pairs(rest):
        if name in _PARSERS and value == parsers.NONE:
            continue
        kept += [f"--{name}" if name else "", value or ""]
    if reasoning and "reasoning-parser" not in own:
        kept += ["--reasoning-parser", reasoning]
    if tool and "tool-call-parser" not in own:
        kept += ["--tool-call-parser", tool]
        if "enable-auto-tool-choice" not in own:
            kept.append("--enable-auto-tool-choice")
    return tuple(word for word in kept if word)


def engine_arguments(
    *,
    dtype: str,
    max_model_len: int,
    tensor_parallel_size: int,
    gpu_memory_utilization: float,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    rest: Sequence[str] = (),
) -> tuple[str, ...]:
    """The arguments a plan starts the engine with, one word each."""
    return (
        "--dtype",
        dtype,
        "--max-model-len",
        str(max_model_len),
        "--tensor-parallel-size",
        str(tensor_parallel_size),
        "--gpu-memory-utilization",
        f"{gpu_memory_utilization:g}",
        "--max-num-seqs",
        str(max_num_seqs),
        "--max-num-batched-tokens",
        str(max_num_batched_tokens),
        *rest,
    )
