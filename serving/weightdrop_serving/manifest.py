"""The validated files, as the deploying side sends them.

See weightdrop/core/artifacts/manifest.py.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Final

from weightdrop_serving.storage import Source

_LARGEST: Final = 16 << 20  # bytes, once inflated; one variable holds 128 KiB


def decode(text: str) -> tuple[Source, ...]:
    """The files, sorted by path.

    Raises:
        ValueError: If it is not what the deploying side sends.
    """
    try:
        inflater = zlib.decompressobj()
        packed = base64.urlsafe_b64decode(text)
        rows = json.loads(inflater.decompress(packed, _LARGEST))
        found = [
            Source(path=str(path), size=int(size), crc32c=str(crc), generation=int(at))
            for path, size, crc, at in rows
        ]
    except (zlib.error, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"expected a list of validated files ({error})") from None
    return tuple(sorted(found, key=lambda file: file.path))
