"""What is known of one object, and how Cloud Storage writes it down."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

# The parts of an object's resource that a client may set.
EDITABLE = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "contexts",
    "customTime",
    "eventBasedHold",
    "metadata",
    "storageClass",
    "temporaryHold",
)


@dataclass(frozen=True, slots=True)
class Checksums:
    """Length and checksums of some bytes, base64 as Cloud Storage has them.

    Attributes:
        size: Length in bytes.
        crc32c: Of the big-endian CRC-32C.
        md5: Empty for composed objects, which have none.
    """

    size: int
    crc32c: str
    md5: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one state of a file from another without reading it."""

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, stat: os.stat_result) -> Identity:
        """The identity of the file that `stat` describes."""
        return cls(stat.st_ino, stat.st_size, stat.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One live object, in the order of the table's columns.

    Attributes:
        bucket: Bucket name.
        name: Object name.
        generation: Microseconds at which it was made, made unique.
        metageneration: Starts at 1, grows with each change of metadata.
        size: Length in bytes.
        crc32c: Base64.
        md5: Base64 or empty.
        components: Number of composed parts; 0 if it was not composed.
        created: Microseconds since 1970.
        updated: Microseconds since 1970.
        fields: JSON object of what clients set (EDITABLE).
        path: Where the bytes are, relative to the root folder.
        inode: Of that file.
        mtime_ns: Of that file.
        ctime_ns: Of that file when it was last looked at.
    """

    bucket: str
    name: str
    generation: int
    metageneration: int
    size: int
    crc32c: str
    md5: str
    components: int
    created: int
    updated: int
    fields: str
    path: str
    inode: int
    mtime_ns: int
    ctime_ns: int

    @property
    def identity(self) -> Identity:
        """Which file state holds these bytes."""
        return Identity(self.inode, self.size, self.mtime_ns)

    @property
    def etag(self) -> str:
        """Changes with generation and metageneration."""
        text = f"{self.generation}/{self.metageneration}"
        return base64.b64encode(text.encode()).decode()

    def settings(self) -> dict[str, Any]:
        """What clients set, parsed."""
        decoded: dict[str, Any] = msgspec.json.decode(self.fields)
        return decoded


COLUMNS = ", ".join(ObjectRow.__dataclass_fields__)


def stamp(microseconds: int) -> str:
    """RFC 3339 with milliseconds, as Cloud Storage writes times."""
    moment = datetime.fromtimestamp(microseconds / 1e6, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def editable(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a client's resource that are kept."""
    return {key: resource[key] for key in EDITABLE if resource.get(key) is not None}


def resource(row: ObjectRow, *, base_url: str) -> dict[str, Any]:
    """The object as the JSON API shows it."""
    path = f"/storage/v1/b/{row.bucket}/o/{quote(row.name, safe='')}"
    updated, created = stamp(row.updated), stamp(row.created)
    shown: dict[str, Any] = {
        "kind": "storage#object",
        "id": f"{row.bucket}/{row.name}/{row.generation}",
        "selfLink": base_url + path,
        "mediaLink": f"{base_url}/download{path}?generation={row.generation}&alt=media",
        "name": row.name,
        "bucket": row.bucket,
        "generation": str(row.generation),
        "metageneration": str(row.metageneration),
        "storageClass": "STANDARD",
        "size": str(row.size),
        "crc32c": row.crc32c,
        "etag": row.etag,
        "timeCreated": created,
        "updated": updated,
        "timeFinalized": created,
        "timeStorageClassUpdated": created,
    }
    if row.md5:
        shown["md5Hash"] = row.md5
    if row.components:
        shown["componentCount"] = row.components
    return shown | row.settings()
