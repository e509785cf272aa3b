"""Ids, triggers and settling: what follows from names and times alone."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.builders import NOON
from weightdrop.core.artifacts.objects import ArtifactFile, ArtifactSet
from weightdrop.core.deployment import naming
from weightdrop.core.deployment.settling import settles_at
from weightdrop.core.deployment.triggers import folder_of, is_config, may_belong

DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(st.text(min_size=1), st.text(), DIGESTS)
def test_ids_follow_the_rules_of_vertex_for_any_name(
    bucket: str, prefix: str, digest: str
) -> None:
    """At most 63 characters of the alphabet that each id may have."""
    deployment = naming.deployment_id(bucket, prefix)

    assert re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", deployment)
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", naming.endpoint_id(deployment))
    assert re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", naming.model_id(deployment, digest))
    assert re.fullmatch(r"[1-9][0-9]{9}", naming.deployed_model_id(digest))
    assert all(len(value) <= 63 for value in naming.labels(deployment, digest).values())


@given(DIGESTS, DIGESTS)
def test_a_user_label_never_hides_ours(first: str, second: str) -> None:
    """The sweep goes by our labels: nobody may forge them."""
    extra = (("weightdrop-deployment", "other"), ("weightdrop", "false"))

    labels = naming.labels(first[:20], second, extra)

    assert ("true", first[:20]) == (
        labels["weightdrop"],
        labels["weightdrop-deployment"],
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama/config.json", True),
        ("llama/model-00001-of-00002.safetensors", True),
        ("llama/model/model-00001-of-00002.safetensors", True),
        ("llama/chat_template.jinja", True),
        ("gcloud/tmp/parallel_composite_uploads/x/config.json", False),
        ("llama/README.md", False),
        ("llama/.gitattributes", False),
        ("llama/", False),
        ("llama//config.json", False),
        ("llama/../config.json", False),
        ("llama/con\x1bfig.json", False),
        ("x" * 1025 + "/config.json", False),
    ],
)
def test_which_objects_can_belong_to_a_drop(name: str, expected: bool) -> None:
    """Everything else costs nothing but a look at its name."""
    assert expected is may_belong(name)


@pytest.mark.parametrize(
    ("name", "folder", "config"),
    [
        ("config.json", "", True),
        ("a/b/config.json", "a/b", True),
        ("a/my-config.json", "a", False),
    ],
)
def test_a_drop_is_announced_by_its_config(
    name: str, folder: str, config: bool
) -> None:
    """The folder of config.json is the place of the deployment."""
    assert (folder, config) == (folder_of(name), is_config(name))


def dropped(*names: str) -> ArtifactSet:
    """A set whose files came one second after the other, in this order."""
    files = tuple(
        ArtifactFile(name, 1, 1, "crc", NOON + timedelta(seconds=second))
        for second, name in enumerate(names)
    )
    return ArtifactSet("bucket", "folder", files)


def test_a_first_drop_with_its_config_last_is_complete_at_once() -> None:
    """Nobody waits who keeps to the order."""
    assert settles_at(dropped("a.safetensors", "config.json"), first=True, quiet=9) is (
        None
    )


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (("config.json", "a.safetensors"), True),
        (("a.safetensors", "config.json"), False),
    ],
)
def test_any_other_order_needs_a_quiet_time(
    names: tuple[str, ...], first: bool
) -> None:
    """New shards over old ones look whole long before they are."""
    settles = settles_at(dropped(*names), first=first, quiet=9)

    assert NOON + timedelta(seconds=10) == settles


@given(st.permutations(["a", "b", "c"]))
def test_the_digest_goes_by_what_was_dropped_and_not_when(names: list[str]) -> None:
    """Copying the same bytes again, in any order, is the same drop."""
    files = {name: ArtifactFile(name, 1, 1, name, NOON) for name in names}
    later = [
        replace(files[name], generation=7, updated=NOON + timedelta(1))
        for name in sorted(names)
    ]
    ordered = [files[name] for name in sorted(names)]

    assert (
        ArtifactSet("x", "y", tuple(ordered)).digest
        == ArtifactSet("z", "", tuple(later)).digest
    )
