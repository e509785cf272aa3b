"""What the platform is asked for, and what the container is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest

from fakes.builders import NOON, make_deployment, make_revision
from functions.test_openapi import PLAN
from weightdrop.core.artifacts.objects import ArtifactFile
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.transitions import add
from weightdrop.services import specs
from weightdrop.settings import Settings, Weights
from weightdrop_serving import environment

FILES = tuple(
    ArtifactFile(path, number, 2 * number, "AAAAAA==", NOON)
    for number, path in enumerate(("a.safetensors", "config.json"), 7)
)
DIRECT = Settings(weights=Weights.DIRECT)


def uploaded(settings: Settings, prefix: str = "team/llama", **fields: Any) -> Any:
    """The spec of a revision's model."""
    options = FolderOptions(model_id="llama")
    revision = make_revision(plan=PLAN, files=FILES, options=options, **fields)
    deployment = make_deployment(revisions=(revision,), prefix=prefix)
    return specs.model(deployment, revision, settings)


def test_by_default_the_platform_copies_the_folder() -> None:
    """The container is told what the copy must be."""
    spec = uploaded(Settings())

    assert spec.artifact_uri == "gs://models/team/llama"
    assert dict(spec.server.env) == {"WEIGHTDROP_DIGEST": f"{1:064x}"}


@pytest.mark.parametrize("prefix", ["team/llama", "a b/#1?x=$(HOME)%41", ""])
def test_direct_replicas_read_what_was_validated(prefix: str) -> None:
    """The serving side understands where, and exactly which generations."""
    spec = uploaded(DIRECT, prefix)

    env = environment.load(dict(spec.server.env))
    assert spec.artifact_uri == ""
    assert "$" not in env.source
    assert unquote(env.source) == f"gs://models/{prefix}".rstrip("/")
    assert [(it.path, it.size, it.generation, it.crc32c) for it in env.files] == [
        (it.path, it.size, it.generation, it.crc32c) for it in FILES
    ]


def test_a_revision_on_its_way_keeps_its_files() -> None:
    """A newer drop must not take them before the model is made."""
    settled = make_revision(1, phase=Phase.READY, files=FILES)
    on_its_way = make_revision(2, phase=Phase.UPLOADING, files=FILES)
    deployment = make_deployment(revisions=(settled, on_its_way))

    newer = add(deployment, make_revision(3))

    assert [one.files for one in newer.revisions] == [(), FILES, ()]


def test_one_that_comes_back_is_found_by_its_digest() -> None:
    """Its generations are forgotten: the container takes what has the digest."""
    spec = uploaded(DIRECT, content="c" * 64)
    forgotten = specs.model(
        make_deployment(prefix="team/llama"),
        replace(make_revision(), plan=PLAN, content="c" * 64),
        DIRECT,
    )

    assert dict(spec.server.env)["WEIGHTDROP_DIGEST"] == "c" * 64
    assert set(dict(forgotten.server.env)) == {"WEIGHTDROP_DIGEST", "WEIGHTDROP_SOURCE"}
