"""The pinned files of an artifact set as one word of text.

The serving container is given it where it reads the bucket itself, and reads
nothing else: weightdrop_serving.manifest takes it apart.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable

from weightdrop.core.artifacts.objects import ArtifactFile


def encode(files: Iterable[ArtifactFile]) -> str:
    """URL-safe base64 of compressed JSON: `[[path, size, crc32c, generation], …]`."""
    rows = [[file.path, file.size, file.crc32c, file.generation] for file in files]
    text = json.dumps(rows, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(zlib.compress(text, 9)).decode()
