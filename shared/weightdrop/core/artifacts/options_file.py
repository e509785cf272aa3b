"""weightdrop.json, read into FolderOptions; whatever is wrong is a finding."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from weightdrop.core.artifacts import engine_args, model_codes
from weightdrop.core.artifacts.documents import DocumentError, parse_object
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import shown
from weightdrop.core.artifacts.objects import OPTIONS_NAME
from weightdrop.core.artifacts.options import FolderOptions

WHOLE = 100
MAX_REPLICAS = 1000
MAX_NAME = 128
"""Characters of a display name, as Vertex AI allows."""
MAX_WORDS = 64
MAX_WORD = 256
MAX_TTL = 10 * 365 * 86400
"""Ten years, in seconds."""
MAX_LABELS = 32
"""Vertex AI allows 64 labels on a resource; ours come on top."""
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_REGION = re.compile(r"[a-z]+-[a-z]+\d{1,2}")
_MACHINE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+){1,4}")
_ACCELERATOR = re.compile(r"[A-Z][A-Z0-9_]{1,63}")


class WrongValueError(ValueError):
    """A value cannot be used; the message says what it should be."""


def _text(pattern: re.Pattern[str], what: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise WrongValueError(what)
        return value

    return convert


def _name(value: Any) -> str:
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= MAX_NAME
        or (not value.isprintable())
    ):
        raise WrongValueError("a text of 1 to 128 printable characters")
    return value


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise WrongValueError(f"a whole number from {low} to {high}")
        return value

    return convert


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongValueError("true or false")
    return value


def _price(value: Any) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or not 0 <= value <= 10**6:
        raise WrongValueError("a price in US dollars that is not negative")
    return float(value)


def _words(value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or len(value) > MAX_WORDS
        or not all(isinstance(word, str) and len(word) <= MAX_WORD for word in value)
    ):
        raise WrongValueError(
            "a list of at most 64 texts, each one word of the command"
        )
    return tuple(value)


def _labels(value: Any) -> tuple[tuple[str, str], ...]:
    if (
        not isinstance(value, dict)
        or len(value) > MAX_LABELS
        or not all(
            isinstance(text, str)
            and _LABEL_KEY.fullmatch(key)
            and _LABEL_VALUE.fullmatch(text)
            and not key.startswith("weightdrop")
            for key, text in value.items()
        )
    ):
        raise WrongValueError(
            f"at most {MAX_LABELS} labels of lower-case letters, digits, - and _, "
            "none beginning with weightdrop"
        )
    return tuple(sorted(value.items()))


_READERS: dict[str, Callable[[Any], Any]] = {
    "model_id": _text(_MODEL_ID, "letters, digits and . _ / - (at most 128)"),
    "model_display_name": _name,
    "endpoint_display_name": _name,
    "region": _text(_REGION, 'a region such as "us-central1"'),
    "machine_type": _text(_MACHINE, 'a machine type such as "g2-standard-12"'),
    "accelerator_type": _text(_ACCELERATOR, 'such as "NVIDIA_L4"'),
    "accelerator_count": _whole(1, 16),
    "min_replica_count": _whole(0, MAX_REPLICAS),
    "max_replica_count": _whole(1, MAX_REPLICAS),
    "scale_to_zero": _truth,
    "spot": _truth,
    "max_model_len": _whole(1, 2**24),
    "vllm_args": _words,
    "traffic": _whole(0, 100),
    "ttl": _whole(0, MAX_TTL),
    "max_hourly_usd": _price,
    "labels": _labels,
}


def read_value(key: str, value: Any) -> Any:
    """The value of one option, as FolderOptions holds it.

    Raises:
        KeyError: If there is no such option.
        WrongValueError: If it cannot have this value.
    """
    return _READERS[key](value)


def conflicts(given: Mapping[str, Any]) -> list[str]:
    """What contradicts itself among options that were read, as sentences."""
    found = []
    triple = ("machine_type", "accelerator_type", "accelerator_count")
    chosen = [key for key in triple if key in given]
    if chosen and len(chosen) < len(triple):
        absent = ", ".join(key for key in triple if key not in given)
        found.append(f"{' and '.join(chosen)} without {absent}: give all three or none")
    low, high = given.get("min_replica_count", 1), given.get("max_replica_count")
    if high is not None and low > high:
        found.append(f"min_replica_count {low} is more than max_replica_count {high}")
    if given.get("scale_to_zero") and given.get("traffic", WHOLE) < WHOLE:
        found.append("traffic below 100 needs two models, scale_to_zero holds one")
    if low == 0 and not given.get("scale_to_zero"):
        found.append("min_replica_count 0 needs scale_to_zero")
    return found


def read_options(data: bytes) -> tuple[FolderOptions, list[Finding]]:
    """The options, as far as they are good, and what is wrong with the rest."""
    try:
        document = parse_object(data)
    except DocumentError as error:
        found = model_codes.OPTIONS_INVALID.found(
            f"{OPTIONS_NAME} cannot be read: {error}.",
            file=OPTIONS_NAME,
            offset=error.offset,
        )
        return FolderOptions(), [found]
    findings: list[Finding] = []
    given: dict[str, Any] = {}
    for key, value in document.items():
        reader = _READERS.get(key)
        if reader is None:
            findings.append(
                model_codes.OPTIONS_UNKNOWN.found(
                    f"{shown(key, 60)!r} is no option.", file=OPTIONS_NAME
                )
            )
            continue
        try:
            given[key] = reader(value)
        except WrongValueError as wrong:
            findings.append(
                model_codes.OPTIONS_INVALID.found(
                    f"{key} is {shown(repr(value), 60)}; it must be {wrong}.",
                    file=OPTIONS_NAME,
                )
            )
    findings += [
        model_codes.OPTIONS_CONFLICT.found(f"{text}.", file=OPTIONS_NAME)
        for text in conflicts(given)
    ]
    findings += [
        model_codes.ENGINE_ARGUMENT.found(text, file=OPTIONS_NAME)
        for text in engine_args.faults(given.get("vllm_args", ()))
    ]
    if given.get("min_replica_count", 1) > given.get("max_replica_count", 1) and (
        "max_replica_count" not in given
    ):
        given["max_replica_count"] = given["min_replica_count"]
    return FolderOptions(**given), findings
