"""Differential fuzzing: whatever the safetensors library refuses, we refuse.

    python tools/header_fuzz.py --count 5000000 --seed 7

Prints what was tried and exits with 1 at a file that only we would accept; the
file is written beside the name that --keep gives.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, deserialize

from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.policy import Policy
from weightdrop.core.artifacts.safetensors import (
    BITS,
    PREFIX_BYTES,
    header_length,
    parse_header,
)

POLICY = Policy()
NUMBERS = (
    "0", "1", "2", "3", "4", "8", "-0", "-1", "1.0", "1e0", "0.5", "true", "null",
    "NaN", "Infinity", "-Infinity", "01", "+1", "0x1", '"1"', "[1]", "{}", "1e999",
    "4294967296", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709551616", "340282366920938463463374607431",
    "1" + "0" * 400,
)  # fmt: skip
DTYPES = (*BITS, "F128", "C128", "f32", "U4", "", "BF16 ")
TOKENS = (
    "{", "}", "[", "]", ",", ":", '"', "\\", "\\u0000", "\\ud800", "\\ud83d\\ude00",
    "\\/", " ", "\n", "\t", "\r", "\x0b", "\x00", "\ufeff", "\u2028", "é", "😀",
    "//", "/**/", "'", '"__metadata__":{},', '"__metadata__":null,',
    '"__metadata__":{"a":1},', '"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},',
    '"dtype":"U8",', '"shape":[],', '"x":0,', "[" * 200,
)  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What a run found.

    Attributes:
        tried: Files.
        both_accept: Files both took.
        both_refuse: Files neither took.
        stricter: Files only we refuse.
        looser: Files only we accept: faults.
        example: One of them.
    """

    tried: int = 0
    both_accept: int = 0
    both_refuse: int = 0
    stricter: int = 0
    looser: int = 0
    example: bytes = field(default=b"", repr=False)


def we_refuse(data: bytes) -> bool:
    """Whether our reader finds fault with a whole file."""
    size = len(data)
    length = header_length(
        data[:PREFIX_BYTES], file="x.safetensors", size=size, policy=POLICY
    )
    if isinstance(length, Finding):
        return True
    header = parse_header(
        data[PREFIX_BYTES : PREFIX_BYTES + length],
        file="x.safetensors",
        size=size,
        policy=POLICY,
    )
    return bool(header.findings)


def they_refuse(data: bytes) -> bool:
    """Whether the format's own reader refuses a whole file."""
    try:
        deserialize(data)  # type: ignore[no-untyped-call,unused-ignore]
    except (SafetensorError, ValueError, OverflowError):
        return True
    return False


def _sound(rng: random.Random) -> tuple[str, int]:
    """The header of a sound file, and the bytes of its data."""
    entries: dict[str, object] = {}
    if rng.random() < 0.3:  # noqa: PLR2004
        entries["__metadata__"] = {"format": "pt"}
    offset = 0
    for at in range(rng.randint(0, 4)):
        dtype = rng.choice(list(BITS))
        shape = [rng.choice((0, 1, 2, 3, 4, 8)) for _ in range(rng.randint(0, 3))]
        count = 1
        for dim in shape:
            count *= dim
        if count * BITS[dtype] % 8:
            dtype = "U8"
        size = count * BITS[dtype] // 8
        entries[f"t{at}"] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [offset, offset + size],
        }
        offset += size
    return json.dumps(entries, separators=(",", ":")), offset


def _number(rng: random.Random, text: str) -> str:
    places = [at for at, char in enumerate(text) if char.isdigit()]
    if not places:
        return text
    start = end = rng.choice(places)
    while end < len(text) and text[end].isdigit():
        end += 1
    return text[:start] + rng.choice(NUMBERS) + text[end:]


def _dtype(rng: random.Random, text: str) -> str:
    old = rng.choice(list(BITS))
    return text.replace(f'"{old}"', f'"{rng.choice(DTYPES)}"', 1)


def _token(rng: random.Random, text: str) -> str:
    at = rng.randint(0, len(text))
    return text[:at] + rng.choice(TOKENS) + text[at:]


def _drop(rng: random.Random, text: str) -> str:
    start = rng.randint(0, len(text))
    return text[:start] + text[start + rng.randint(1, 12) :]


def _repeat(rng: random.Random, text: str) -> str:
    start = rng.randint(0, len(text))
    piece = text[start : start + rng.randint(1, 60)]
    at = rng.randint(0, len(text))
    return text[:at] + piece + text[at:]


def _rename(rng: random.Random, text: str) -> str:
    names = ("t0", "t1", "__metadata__", "", "é", "a" * 300, "\\u0000", "t\\u0030")
    return text.replace(f'"t{rng.randint(0, 3)}"', f'"{rng.choice(names)}"', 1)


def _pad(rng: random.Random, text: str) -> str:
    return text + rng.choice((" ", "\n", "\t", "\x00", ",", "{}", "x")) * rng.randint(
        1, 9
    )


MUTATIONS: tuple[Callable[[random.Random, str], str], ...] = (
    _number, _number, _number, _dtype, _token, _drop, _repeat, _rename, _pad,
)  # fmt: skip


def mutated(rng: random.Random) -> bytes:
    """A file made from a sound one by a few changes."""
    text, size = _sound(rng)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3))):
        text = rng.choice(MUTATIONS)(rng, text)
    header = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.1 and header:  # noqa: PLR2004
        flipped = bytearray(header)
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        header = bytes(flipped)
    length = len(header)
    kind = rng.random()
    if kind < 0.05:  # noqa: PLR2004
        length += rng.choice((-1, 1, -8, 8, 2**32, 2**63 - length))
    elif kind < 0.15:  # noqa: PLR2004
        size = max(0, size + rng.choice((-1, 1, -4, 4, 64)))
    return struct.pack("<Q", length % 2**64) + header + b"\0" * size


def run(count: int, seed: int) -> Outcome:
    """Try `count` files; stops at the first that only we accept."""
    rng = random.Random(seed)  # noqa: S311  # repeatable, not secret
    outcome = Outcome()
    for _ in range(count):
        data = mutated(rng)
        outcome.tried += 1
        ours, theirs = we_refuse(data), they_refuse(data)
        outcome.both_accept += not ours and not theirs
        outcome.both_refuse += ours and theirs
        outcome.stricter += ours and not theirs
        if theirs and not ours:
            outcome.looser += 1
            outcome.example = data
            break
    return outcome


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("looser.safetensors"))
    options = parser.parse_args()
    start = time.perf_counter()
    outcome = run(options.count, options.seed)
    seconds = time.perf_counter() - start
    print(f"{outcome} in {seconds:.1f} s", file=sys.stderr)
    if outcome.looser:
        options.keep.write_bytes(outcome.example)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
