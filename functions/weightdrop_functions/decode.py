"""From what arrives to values: nothing that an event says is trusted."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from weightdrop.core.deployment.tracing import ATTRIBUTE
from weightdrop.core.deployment.triggers import DELETED, FINALIZED, MESSAGE_PUBLISHED
from weightdrop.errors import PermanentError

PLATFORM = "aiplatform.googleapis.com"
"""Whose audit log is listened to: Vertex AI's."""

_AUDIT = "//cloudaudit.googleapis.com/"
_ENDPOINT = re.compile(r"projects/[^/]+/locations/[^/]+/endpoints/wd-([a-z0-9-]{1,60})")
_DEPLOYMENT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_BUCKETS = "//storage.googleapis.com/projects/_/buckets/"
MAX_REQUEST_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """An object that was finalized or deleted.

    Attributes:
        bucket: Its bucket.
        name: Its full name.
        size: Bytes; 0 when deleted.
        crc32c: As Cloud Storage gives it; may be empty.
        deleted: Whether it is gone.
    """

    bucket: str
    name: str
    size: int
    crc32c: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """Where to look."""

    deployment: str
    digest: str


def object_change(
    attributes: Mapping[str, object], data: object, *, buckets: tuple[str, ...]
) -> ObjectChange:
    """The change of an object that an event tells of.

    Raises:
        PermanentError: If it is no such event, or not of a watched bucket.
    """
    kind = attributes.get("type")
    if kind not in {FINALIZED, DELETED} or not isinstance(data, Mapping):
        raise PermanentError(f"not an object's event: type {kind!r}")
    bucket, name = data.get("bucket"), data.get("name")
    if not isinstance(bucket, str) or not isinstance(name, str) or not name:
        raise PermanentError("an object's event without bucket and name")
    if bucket not in buckets or attributes.get("source") != _BUCKETS + bucket:
        raise PermanentError(f"an event of a bucket that is not watched: {bucket!r}")
    crc32c = data.get("crc32c")
    try:
        size = int(str(data.get("size") or 0))
    except ValueError as error:
        raise PermanentError("an object's event with a size of no number") from error
    return ObjectChange(
        bucket=bucket,
        name=name,
        size=size,
        crc32c=crc32c if isinstance(crc32c, str) else "",
        deleted=kind == DELETED,
    )


def deploy_request(attributes: Mapping[str, object], data: object) -> DeployRequest:
    """The deploy request in a Pub/Sub message.

    Raises:
        PermanentError: If there is none in it.
    """
    # Imported here: an object's event that is ignored does not pay for it.
    from weightdrop.core.deployment.events import REQUESTS_TOPIC  # noqa: PLC0415

    if attributes.get("type") != MESSAGE_PUBLISHED or not isinstance(data, Mapping):
        raise PermanentError(f"not a message: type {attributes.get('type')!r}")
    if not str(attributes.get("source")).endswith(f"/topics/{REQUESTS_TOPIC}"):
        raise PermanentError(f"not our topic: source {attributes.get('source')!r}")
    message = data.get("message")
    text = message.get("data") if isinstance(message, Mapping) else None
    if not isinstance(text, str) or len(text) > MAX_REQUEST_BYTES:
        raise PermanentError("a message without data, or with too much of it")
    try:
        body = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise PermanentError("a message whose data is not JSON") from error
    deployment = body.get("deployment") if isinstance(body, dict) else None
    digest = body.get("digest") if isinstance(body, dict) else None
    if not isinstance(deployment, str) or not isinstance(digest, str):
        raise PermanentError("a request that names no deployment")
    if not _DEPLOYMENT.fullmatch(deployment):
        # A slash in it would lead to another document of the database.
        raise PermanentError(f"a request of no possible id: {deployment[:100]!r}")
    return DeployRequest(deployment=deployment, digest=digest)


def trace_of(data: object) -> object:
    """What a Pub/Sub message says about its trace; anything, or None."""
    message = data.get("message") if isinstance(data, Mapping) else None
    attributes = message.get("attributes") if isinstance(message, Mapping) else None
    return attributes.get(ATTRIBUTE) if isinstance(attributes, Mapping) else None


def operated(attributes: Mapping[str, object], data: object) -> str:
    """The deployment on whose endpoint an operation ended; empty if none did.

    An entry of Vertex AI's audit log says where to look a little earlier than the
    next tick would; nothing depends on it. Operations usually leave one entry
    when they begin and one when they end, which is not promised: whatever is not
    said to be the first of several is looked at.
    """
    told = data if isinstance(data, Mapping) else {}
    entry, operation = told.get("protoPayload"), told.get("operation")
    source = attributes.get("source")
    if not isinstance(entry, Mapping) or entry.get("serviceName") != PLATFORM:
        return ""
    if not isinstance(source, str) or not source.startswith(_AUDIT):
        return ""
    begins = isinstance(operation, Mapping) and operation.get("first") is True
    ends = isinstance(operation, Mapping) and operation.get("last") is True
    name = entry.get("resourceName")
    match = _ENDPOINT.fullmatch(name) if isinstance(name, str) else None
    return match[1] if match and (ends or not begins) else ""
