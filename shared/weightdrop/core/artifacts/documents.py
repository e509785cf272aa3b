"""JSON documents from strangers: bounded before they are parsed.

Python's parser is lenient where the engine's is not (duplicate keys, NaN) and
its result can take twenty times the memory of its text. So the worst case is
estimated from the text first, and what is ambiguous is refused.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn

CONTAINER_BYTES = 80
"""CPython's empty dict with its pointer and its pair of the pairs hook."""
VALUE_BYTES = 72
"""A short string or int with its pointers; text beyond that is counted."""
MEMORY_BYTES = 220 * 1024 * 1024
"""Most memory one document may take while it is parsed."""


class DocumentError(ValueError):
    """The document cannot be used.

    Args:
        message: Why.
        offset: Byte offset of the fault, where known.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key in counts if counts[key] > 1)
        raise DocumentError(f"the key {twice[:100]!r} appears twice in one object")
    return members


def _no_constant(name: str) -> NoReturn:
    raise DocumentError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise DocumentError(f"the number {text[:40]} is out of range")
    return value


def _integer(text: str) -> int:
    if text == "-0":
        raise DocumentError("-0 is not an integer")
    return int(text)


_STRICT = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_constant=_no_constant,
    parse_float=_finite,
    parse_int=_integer,
)
_QUICK = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
"""Three times as fast; takes the last of two equal keys, and -0 for 0."""


def _decode(text: str, colons: int, *, negative_zero: bool) -> Any:
    """The value, by the quick decoder if that can be shown to be right.

    Every key is followed by a colon. So if the members of the outer object and
    of those right in it are as many as there are colons, then there are no
    other objects, and no key was there twice.
    """
    if not negative_zero:
        value = _QUICK.decode(text)
        if type(value) is dict:
            inner = (len(v) for v in value.values() if type(v) is dict)
            if len(value) + sum(inner) == colons:
                return value
    return _STRICT.decode(text)


def _memory(data: bytes) -> int:
    containers = data.count(b"{") + data.count(b"[")
    values = containers + data.count(b",") + data.count(b":")
    text = len(data) * (2 if data.isascii() else 8)
    return containers * CONTAINER_BYTES + values * VALUE_BYTES + text


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError("it is not UTF-8", error.start) from None


def parse(data: bytes) -> Any:
    """The value of a JSON document.

    Args:
        data: The whole document; its size is the caller's to bound.

    Raises:
        DocumentError: If it is not UTF-8, not JSON, holds a key twice, NaN or
            numbers beyond any use, is nested too deep, or would take too much
            memory.
    """
    if _memory(data) > MEMORY_BYTES:
        raise DocumentError("it has more values than any model needs")
    text = _text(data)
    try:
        return _decode(text, data.count(b":"), negative_zero=b"-0" in data)
    except DocumentError:
        raise
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode("utf-8", "surrogatepass"))
        raise DocumentError(f"it is not JSON: {error.msg}", offset) from None
    except RecursionError:
        raise DocumentError("it is nested too deep") from None
    except ValueError as error:
        raise DocumentError(f"it is not JSON: {error}") from None


def parse_object(data: bytes) -> dict[str, Any]:
    """The members of a JSON document that is an object.

    Raises:
        DocumentError: As `parse`, and if it is anything but an object.
    """
    value = parse(data)
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a string", type(None): "null"}
        found = kind.get(type(value), "a number or a truth value")
        raise DocumentError(f"it holds {found} instead of an object", 0)
    return value


def well_formed(text: str) -> bool:
    """Whether a string has no lone surrogates, which JSON can smuggle in."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
