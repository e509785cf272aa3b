"""Resource names as we write them: always with the project's id, never its number.

Vertex AI takes both and answers with the number; a name that we derived and a
name that we read must be equal.
"""

from __future__ import annotations

import re

from weightdrop.errors import PermanentError

_NAME = re.compile(r"^projects/[^/]+/locations/(?P<region>[^/]+)/(?P<rest>.+)$")


def region_of(name: str) -> str:
    """The region that a resource name is in.

    Raises:
        PermanentError: It is no resource name.
    """
    match = _NAME.match(name)
    if match is None:
        raise PermanentError(
            f"{name!r} is no Vertex AI resource name: expected "
            "projects/PROJECT/locations/REGION/…"
        )
    return match["region"]


def ours(name: str, project: str) -> str:
    """`name` with our project's id in it; "" stays ""."""
    match = _NAME.match(name)
    if match is None:
        return name
    return f"projects/{project}/locations/{match['region']}/{match['rest']}"


def last(name: str) -> str:
    """The last segment of a resource name."""
    return name.rpartition("/")[2]
