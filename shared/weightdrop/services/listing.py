"""What belongs to a drop, of all that lies below its prefix."""

from __future__ import annotations

from dataclasses import replace

from weightdrop.core.artifacts.objects import ArtifactSet, artifact_set
from weightdrop.core.deployment.triggers import folder_of, is_config
from weightdrop.ports import Artifacts

MAX_OBJECTS = 5_000
"""Objects below one drop that are looked at; more are a finding."""


def list_drop(store: Artifacts, bucket: str, prefix: str) -> ArtifactSet:
    """The artifact set at a place: its folder, without drops that lie below it.

    Raises:
        NotFoundError: If the bucket does not exist.
    """
    listing = store.list(bucket, prefix, limit=MAX_OBJECTS)
    whole = artifact_set(bucket, prefix, listing.objects, truncated=listing.truncated)
    inner = tuple(
        folder_of(file.path) + "/"
        for file in whole.files
        if is_config(file.path) and folder_of(file.path)
    )
    files = tuple(file for file in whole.files if not file.path.startswith(inner))
    return replace(whole, files=files)
