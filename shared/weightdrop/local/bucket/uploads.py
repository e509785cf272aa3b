"""Uploads in one request: the bytes alone, or with metadata before them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from weightdrop.local.bucket.conditions import Conditions
from weightdrop.local.bucket.digest import verify
from weightdrop.local.bucket.http import Answer, Call, parse_object
from weightdrop.local.bucket.model import ObjectRow, editable, resource
from weightdrop.local.bucket.problems import ApiError
from weightdrop.local.bucket.related import parse
from weightdrop.local.bucket.sink import Sink
from weightdrop.local.bucket.store import Store, check_name

_DEFAULT_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Target:
    """What an upload is to become.

    Attributes:
        bucket: Where it goes.
        name: Object name.
        fields: What the client set (model.EDITABLE).
        conditions: What must hold when the upload ends.
        crc32c: Base64 the client expects, or empty.
        md5: Base64 the client expects, or empty.
    """

    bucket: str
    name: str
    fields: dict[str, Any]
    conditions: Conditions
    crc32c: str = ""
    md5: str = ""


def hashes(headers: Mapping[str, str]) -> dict[str, str]:
    """{"crc32c": …, "md5": …} as far as X-Goog-Hash and Content-MD5 say."""
    found = {"md5": headers.get("content-md5", "")}
    for item in headers.get("x-goog-hash", "").split(","):
        key, _, value = item.strip().partition("=")
        if key in {"crc32c", "md5"}:
            found[key] = value
    return found


def target_of(
    call: Call, bucket: str, shape: Mapping[str, Any], *, content_type: str
) -> Target:
    """The target that a JSON API upload names.

    Args:
        call: The request with its query and headers.
        bucket: From the path.
        shape: The resource the client sent.
        content_type: Of the bytes, if the resource does not say.
    """
    name = shape.get("name") or call.query.get("name", "")
    if not isinstance(name, str) or not name:
        raise ApiError(400, "Required: the object's name.")
    check_name(name)
    if "x-goog-encryption-key" in call.headers:
        raise ApiError(501, "Customer-supplied encryption keys are not kept here.")
    fields = editable(shape)
    fields.setdefault("contentType", content_type or _DEFAULT_TYPE)
    if encoding := call.query.get("contentEncoding"):
        fields.setdefault("contentEncoding", encoding)
    said = hashes(call.headers)
    return Target(
        bucket=bucket,
        name=name,
        fields=fields,
        conditions=Conditions.parse(call.query),
        crc32c=str(shape.get("crc32c") or said.get("crc32c", "")),
        md5=str(shape.get("md5Hash") or said.get("md5", "")),
    )


def store_sink(store: Store, sink: Sink, target: Target) -> ObjectRow:
    """Make a received body an object; blocking."""
    checksums = sink.finish()
    verify(checksums, crc32c=target.crc32c, md5=target.md5)
    return store.put(
        sink.path,
        checksums,
        bucket=target.bucket,
        name=target.name,
        fields=target.fields,
        conditions=target.conditions,
    )


async def receive(
    call: Call, store: Store, target: Target, *, media: AsyncIterator[bytes]
) -> ObjectRow:
    """Take a whole body and make it an object."""
    store.require_bucket(target.bucket)  # one stat: cheaper here than a thread
    sink = Sink(store.tree.stage(), executor=call.executor)
    try:
        async for chunk in media:
            await sink.write(chunk)
        await sink.join()
        return await call.run(store_sink, store, sink, target)
    except BaseException:
        await sink.abandon()
        raise


async def upload_media(call: Call, store: Store, bucket: str) -> Answer:
    """`uploadType=media`: the body is the object."""
    kind = call.headers.get("content-type", "")
    target = target_of(call, bucket, {}, content_type=kind)
    row = await receive(call, store, target, media=call.chunks)
    return shown(call, row)


async def upload_related(call: Call, store: Store, bucket: str) -> Answer:
    """`uploadType=multipart`: metadata, then bytes."""
    parts = await parse(call.headers.get("content-type", ""), call.chunks)
    shape = parse_object(parts.resource)
    target = target_of(call, bucket, shape, content_type=parts.content_type)
    row = await receive(call, store, target, media=parts.media)
    return shown(call, row)


def shown(call: Call, row: ObjectRow) -> Answer:
    """An object's resource as a response, with its ETag."""
    answer = Answer.json(resource(row, base_url=call.base_url))
    answer.headers["etag"] = row.etag
    answer.headers["x-goog-hash"] = goog_hash(row)
    return answer


def goog_hash(row: ObjectRow) -> str:
    """The checksums as the X-Goog-Hash header has them."""
    return f"crc32c={row.crc32c}" + (f",md5={row.md5}" if row.md5 else "")


def encode_target(target: Target) -> tuple[str, str]:
    """(resource, conditions) as JSON text, for a session that outlives us."""
    shape = target.fields | {"crc32c": target.crc32c, "md5Hash": target.md5}
    return (
        msgspec.json.encode(shape).decode(),
        msgspec.json.encode(target.conditions).decode(),
    )


def decode_target(bucket: str, name: str, shape: str, conditions: str) -> Target:
    """The reverse of `encode_target`."""
    fields = parse_object(shape.encode())
    return Target(
        bucket=bucket,
        name=name,
        crc32c=fields.pop("crc32c"),
        md5=fields.pop("md5Hash"),
        fields=fields,
        conditions=msgspec.json.decode(conditions, type=Conditions),
    )
