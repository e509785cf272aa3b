"""When a folder that is being copied counts as complete.

A drop says "complete" by its config.json: in a first drop where it is the
newest object, nothing else is to come. In any other order, and always where
new bytes are copied over a folder that was admitted before (where old and new
shards would make a mixture that looks whole), a quiet time says it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from weightdrop.core.artifacts.objects import CONFIG_NAME, ArtifactSet


def settles_at(artifacts: ArtifactSet, *, first: bool, quiet: float) -> datetime | None:
    """When `artifacts` counts as settled; None if it does already.

    Args:
        artifacts: The set as listed, with a config.json in it.
        first: Whether nothing was ever admitted at this place.
        quiet: Seconds without a change that are needed.
    """
    config = artifacts.get(CONFIG_NAME)
    newest = max(file.updated for file in artifacts.files)
    if first and config and config.updated >= newest:
        return None
    return newest + timedelta(seconds=quiet)
