"""Every id Weightdrop gives away, derived and never drawn.

The same place always has the same deployment id and endpoint id, the same
bytes the same model id: a step that is taken twice finds its own work.
"""

from __future__ import annotations

import hashlib
import re

SLUG_LENGTH = 32
LABEL = "weightdrop"


def slug(text: str) -> str:
    """`text` as lower-case letters, digits and hyphens, starting with a letter."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not words or not words[0].isalpha():
        words = f"m-{words}".strip("-")
    return words[:SLUG_LENGTH].strip("-")


def _hex(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def deployment_id(bucket: str, prefix: str) -> str:
    """The id of what lives at `bucket` and `prefix`: never changes."""
    place = f"{bucket}/{prefix}"
    return f"{slug(prefix.rpartition('/')[2] or bucket)}-{_hex(place, 8)}"


def endpoint_id(deployment: str) -> str:
    """The Vertex AI endpoint id of a deployment (63 characters at most)."""
    return f"wd-{deployment}"


def model_id(deployment: str, digest: str) -> str:
    """The Vertex AI model id of one revision (63 characters at most)."""
    return f"wd-{deployment.rpartition('-')[0]}-{digest[:12]}"


def deployed_model_id(digest: str) -> str:
    """Ten digits that name the deployed model, the first of them not zero."""
    number = int(digest[:16], 16) % (9 * 10**9) + 10**9
    return str(number)


def event_id(deployment: str, digest: str, phase: str, *, detail: str = "") -> str:
    """The id by which a consumer drops repeats of one event."""
    return _hex(f"{deployment}\0{digest}\0{phase}\0{detail}", 32)


def labels(
    deployment: str, digest: str, extra: tuple[tuple[str, str], ...] = ()
) -> dict[str, str]:
    """The labels of every resource we make (values are at most 63 characters)."""
    ours = {LABEL: "true", f"{LABEL}-deployment": deployment[:63]}
    if digest:
        ours[f"{LABEL}-digest"] = digest[:63]
    return {**dict(extra), **ours}
