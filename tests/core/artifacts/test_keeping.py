"""What a bucket's rules mean for replicas that read it themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from weightdrop.core.artifacts.keeping import Keeping, deletion
from weightdrop.core.artifacts.objects import ArtifactFile, ArtifactSet
from weightdrop.core.artifacts.safekeeping import judge

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
FILES = tuple(
    ArtifactFile(path, 1, 2, "", WHEN) for path in ("config.json", "m.safetensors")
)
DROP = ArtifactSet("models", "team/llama", FILES)
WEEK = 7 * 86400


def codes(keeping: Keeping) -> list[str]:
    """The codes of what is found, in order."""
    return [finding.code for finding in judge(DROP, keeping)]


@pytest.mark.parametrize(
    ("versioning", "soft", "expected"),
    [
        (True, 0, []),
        (True, WEEK, []),
        (False, WEEK, ["bucket-restores"]),
        (False, 0, ["bucket-forgets"]),
    ],
)
def test_what_is_replaced_is_kept_or_not(
    versioning: bool, soft: int, expected: list[str]
) -> None:
    """Versions are read where they are; soft delete must be restored by hand."""
    assert codes(Keeping(versioning, soft)) == expected


@pytest.mark.parametrize(
    ("condition", "live", "noncurrent"),
    [
        ({"age": 30}, True, True),
        ({}, True, True),
        ({"age": 30, "isLive": True}, True, False),
        ({"age": 30, "isLive": False}, False, True),
        ({"daysSinceNoncurrentTime": 3}, False, True),
        ({"numNewerVersions": 2}, False, True),
        ({"numNewerVersions": 0, "age": 1}, True, True),
        ({"noncurrentTimeBefore": "2026-01-01"}, False, True),
        ({"createdBefore": "2026-01-01"}, True, True),
        ({"matchesPrefix": ["team/"]}, True, True),
        ({"matchesPrefix": ["tmp/", "other/"]}, False, False),
        ({"matchesSuffix": [".safetensors"]}, True, True),
        ({"matchesSuffix": [".log"]}, False, False),
        ({"matchesPrefix": ["team/"], "matchesSuffix": [".log"]}, False, False),
    ],
)
def test_rules_that_delete_are_told_where_they_reach_the_drop(
    condition: dict[str, Any], live: bool, noncurrent: bool
) -> None:
    """With versions a live object is only made noncurrent; that is read still."""
    rule = deletion(condition)
    without = codes(Keeping(False, WEEK, (rule,)))
    versioned = codes(Keeping(True, WEEK, (rule,)))

    assert ("bucket-deletes" in without) is live
    assert ("bucket-deletes" in versioned) is noncurrent


def test_a_finding_says_which_rule_and_which_file() -> None:
    """So that whoever owns the bucket finds it."""
    rule = deletion({"age": 30, "matchesSuffix": [".safetensors"]})
    (found, _) = judge(DROP, Keeping(False, WEEK, (rule,)))

    assert "team/llama/m.safetensors" in found.detail
    assert "(age 30)" in found.detail
