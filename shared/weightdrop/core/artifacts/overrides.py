"""Options that an order lays over those in the folder's `weightdrop.json`.

They are kept in the record, so that whatever is dropped there later is planned
with them too, and they are part of what identifies a revision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from weightdrop.core.artifacts.objects import ArtifactSet

Override = bool | int | str | tuple[tuple[str, str], ...]
Overrides = tuple[tuple[str, Override], ...]
"""Names of options with their values, in order of the names."""


def overrides_of(given: Mapping[str, Any]) -> Overrides:
    """Options that were read (see `options_file.read_value`), as a value."""
    return tuple(sorted(given.items()))


def identity(artifacts: ArtifactSet, overrides: Overrides) -> str:
    """The digest of a revision: of its files, and of what was laid over them.

    Without overrides it is the digest of the files alone.
    """
    if not overrides:
        return artifacts.digest
    laid = json.dumps(overrides, separators=(",", ":"))
    return hashlib.sha256(f"{artifacts.digest}\0{laid}".encode()).hexdigest()
