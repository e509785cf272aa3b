"""The JSON API's calls on objects."""

from __future__ import annotations

from typing import Any

from weightdrop.local.bucket.conditions import Conditions, integer
from weightdrop.local.bucket.downloads import download
from weightdrop.local.bucket.http import Answer, Call
from weightdrop.local.bucket.listing import Query, list_objects
from weightdrop.local.bucket.model import EDITABLE, editable, resource
from weightdrop.local.bucket.problems import ApiError
from weightdrop.local.bucket.resumable import Resumables
from weightdrop.local.bucket.store import Store
from weightdrop.local.bucket.uploads import shown, upload_media, upload_related


class Objects:
    """GET, list, insert, patch, update and delete.

    Args:
        store: The objects.
        resumables: Upload sessions.
    """

    def __init__(self, store: Store, resumables: Resumables) -> None:
        self._store = store
        self._resumables = resumables

    async def insert(self, call: Call, bucket: str) -> Answer:
        """POST or PUT under /upload/…: the three ways to send bytes."""
        session = call.query.get("upload_id", "")
        if session:
            if call.method == "DELETE":
                return await self._resumables.cancel(call, session)
            return await self._resumables.proceed(call, session)
        kind = call.query.get("uploadType", "")
        if kind == "media":
            return await upload_media(call, self._store, bucket)
        if kind == "multipart":
            return await upload_related(call, self._store, bucket)
        if kind == "resumable":
            return await self._resumables.begin(call, bucket)
        raise ApiError(400, f"Unknown uploadType {kind!r}.")

    async def list(self, call: Call, bucket: str) -> Answer:
        """GET /b/B/o."""
        query = Query.parse(call.query)
        await call.run(self._store.require_bucket, bucket)
        if call.query.get("softDeleted") == "true":
            return Answer.json({"kind": "storage#objects"})
        found = await call.run(list_objects, self._store.database, bucket, query)
        page: dict[str, Any] = {"kind": "storage#objects"}
        if found.rows:
            page["items"] = [
                resource(row, base_url=call.base_url) for row in found.rows
            ]
        if found.prefixes:
            page["prefixes"] = list(found.prefixes)
        if found.token:
            page["nextPageToken"] = found.token
        return Answer.json(page)

    async def get(self, call: Call, bucket: str, name: str) -> Answer:
        """GET /b/B/o/O: metadata, or bytes with alt=media."""
        if call.query.get("alt") == "media":
            return await download(call, self._store, bucket, name=name)
        generation = integer(call.query, "generation")
        row = await call.run(self._store.get, bucket, name, generation)
        Conditions.parse(call.query).check(row, reading=True)
        return shown(call, row)

    async def change(self, call: Call, bucket: str, name: str) -> Answer:
        """PATCH keeps what is not named; PUT does not."""
        shape = await call.json()
        merge = call.method == "PATCH"

        def apply(old: dict[str, Any]) -> dict[str, Any]:
            return _merge(old, shape) if merge else editable(shape)

        row = await call.run(
            self._store.patch,
            bucket,
            name,
            generation=integer(call.query, "generation"),
            conditions=Conditions.parse(call.query),
            change=apply,
        )
        return shown(call, row)

    async def delete(self, call: Call, bucket: str, name: str) -> Answer:
        """DELETE /b/B/o/O."""
        await call.run(
            self._store.delete,
            bucket,
            name,
            generation=integer(call.query, "generation"),
            conditions=Conditions.parse(call.query),
        )
        return Answer(204)


def _merge(old: dict[str, Any], shape: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key in EDITABLE:
        if key not in shape:
            continue
        value = shape[key]
        if key == "metadata" and isinstance(value, dict):
            value = {**(old.get(key) or {}), **value}
            value = {name: text for name, text in value.items() if text is not None}
        merged[key] = value
    return editable(merged)
