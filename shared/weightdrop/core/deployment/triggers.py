"""What sets the functions going: kinds of events, and which objects matter.

An event's kind and its object's name are looked at before anything is read.
"""

from __future__ import annotations

from weightdrop.core.artifacts.objects import CONFIG_NAME

FINALIZED = "google.cloud.storage.object.v1.finalized"
DELETED = "google.cloud.storage.object.v1.deleted"
MESSAGE_PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"
AUDIT_LOG = "google.cloud.audit.log.v1.written"

_SUFFIXES = (
    ".safetensors",
    ".bin",
    ".json",
    ".model",
    ".jinja",
    ".txt",
    ".gguf",
    ".py",
)
_TEMPORARY = ("gcloud/tmp/", ".tmp/")
MAX_NAME_BYTES = 1024


def folder_of(name: str) -> str:
    """The folder part of an object name, without a slash at its end."""
    return name.rpartition("/")[0]


def is_config(name: str) -> bool:
    """Whether this object announces a drop."""
    return name == CONFIG_NAME or name.endswith("/" + CONFIG_NAME)


def may_belong(name: str) -> bool:
    """Whether an object of this name can be part of an artifact set.

    Parallel composite uploads leave their parts below `gcloud/tmp/`; folder
    markers end in a slash; control characters have no place in a name.
    """
    if len(name.encode(errors="replace")) > MAX_NAME_BYTES or not name.isprintable():
        return False
    if any(part in {"", ".", ".."} for part in name.split("/")):
        return False
    if name.startswith(_TEMPORARY) or any(f"/{tmp}" in name for tmp in _TEMPORARY):
        return False
    base = name.rpartition("/")[2]
    return not base.startswith(".") and base.endswith(_SUFFIXES)
