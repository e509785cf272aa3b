"""Preconditions on generation and metageneration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weightdrop.local.bucket.model import ObjectRow
from weightdrop.local.bucket.problems import ApiError

_UNMET = "At least one of the pre-conditions you specified did not hold."


def integer(values: Mapping[str, str], key: str) -> int | None:
    """The number at `key`, None if absent; 400 if it is none."""
    text = values.get(key)
    if text is None or text == "":
        return None
    try:
        return int(text)
    except ValueError:
        raise ApiError(
            400, f"Invalid value {text!r} for {key}: not a number."
        ) from None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold of an object for a call to go ahead; None asks nothing.

    `generation` 0 asks that there be no live object.
    """

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None

    @classmethod
    def parse(cls, values: Mapping[str, str], *, prefix: str = "if") -> Conditions:
        """From query parameters; `prefix` is "ifSource" for a copy's source."""
        return cls(
            integer(values, f"{prefix}GenerationMatch"),
            integer(values, f"{prefix}GenerationNotMatch"),
            integer(values, f"{prefix}MetagenerationMatch"),
            integer(values, f"{prefix}MetagenerationNotMatch"),
        )

    @classmethod
    def headers(cls, values: Mapping[str, str]) -> Conditions:
        """From the XML API's request headers."""
        return cls(
            generation=integer(values, "x-goog-if-generation-match"),
            metageneration=integer(values, "x-goog-if-metageneration-match"),
        )

    def check(self, row: ObjectRow | None, *, reading: bool = False) -> None:
        """Raise 412, or 304 for an unchanged object that is being read."""
        generation = row.generation if row else 0
        metageneration = row.metageneration if row else None
        if self.generation is not None and self.generation != generation:
            raise ApiError(412, _UNMET)
        if self.metageneration is not None and self.metageneration != metageneration:
            raise ApiError(412, _UNMET)
        same = self.not_generation == generation
        if self.not_metageneration is not None and row is not None:
            same = same or self.not_metageneration == metageneration
        if same:
            raise ApiError(304 if reading else 412, _UNMET)
