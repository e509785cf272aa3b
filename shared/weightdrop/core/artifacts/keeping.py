"""How a bucket keeps what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NONCURRENT = ("daysSinceNoncurrentTime", "noncurrentTimeBefore", "numNewerVersions")
"""Conditions that only a generation which was replaced or deleted can meet."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A lifecycle rule that deletes objects.

    Attributes:
        live: Whether it can take generations that nobody replaced.
        noncurrent: Whether it can take those that were.
        prefixes: Names it is limited to begin with one of these; empty for all.
        suffixes: The same of their ends.
        words: Its conditions, for a person.
    """

    live: bool
    noncurrent: bool
    prefixes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    words: str = ""

    def takes(self, name: str) -> bool:
        """Whether an object of this name is among those it is for."""
        return (not self.prefixes or name.startswith(self.prefixes)) and (
            not self.suffixes or name.endswith(self.suffixes)
        )


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a bucket keeps what is in it.

    Attributes:
        versioning: Whether a generation outlives its replacement.
        soft_delete_seconds: How long what is gone can be restored; 0 for not.
        deletions: Lifecycle rules that delete.
    """

    versioning: bool
    soft_delete_seconds: int
    deletions: tuple[Deletion, ...] = ()


def deletion(condition: Mapping[str, Any]) -> Deletion:
    """The rule that deletes under a condition, as Cloud Storage's JSON has it.

    https://cloud.google.com/storage/docs/lifecycle#conditions
    """
    late = any(condition.get(name) for name in _NONCURRENT)
    scopes = {"matchesPrefix", "matchesSuffix"}
    return Deletion(
        live=condition.get("isLive") is not False and not late,
        noncurrent=condition.get("isLive") is not True,
        prefixes=tuple(condition.get("matchesPrefix", ())),
        suffixes=tuple(condition.get("matchesSuffix", ())),
        words=", ".join(
            f"{name} {value}" for name, value in condition.items() if name not in scopes
        ),
    )
