"""The bucket that Vertex AI manages: copies of uploaded artifacts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from weightdrop.local.vertex.faults import ApiError, invalid, precondition

_CONFLICT = 409
_NOT_FOUND = 404
_OK = 200
_TRIES = 5
_SIDE_BY_SIDE = 4
_MOST_OBJECTS = 100_000


@dataclass(frozen=True, slots=True)
class Folder:
    """A gs:// folder; the prefix has no slashes at its ends."""

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        """As a gs:// URI."""
        return f"gs://{self.bucket}/{self.prefix}".rstrip("/")


def folder(uri: str) -> Folder:
    """The folder of a gs:// URI; ApiError INVALID_ARGUMENT if it is none."""
    if not uri.startswith("gs://") or not uri[5:].strip("/"):
        raise invalid(
            f'Invalid artifact URI "{uri}": expected gs://bucket/folder of Cloud '
            "Storage."
        )
    bucket, _, prefix = uri[5:].partition("/")
    return Folder(bucket=bucket, prefix=prefix.strip("/"))


class ManagedBucket:
    """Copies folders into the managed bucket, without reading their bytes.

    Args:
        endpoint: Base URL of the Cloud Storage JSON API; empty when there is none.
        bucket: Name of the managed bucket.
        project: Whose bucket it is.
        client: Sends the requests.
    """

    def __init__(
        self, *, endpoint: str, bucket: str, project: str, client: httpx.AsyncClient
    ) -> None:
        self._base = f"{endpoint.rstrip('/')}/storage/v1/b" if endpoint else ""
        self._bucket = bucket
        self._project = project
        self._client = client

    async def copy(self, uri: str, name: str) -> str:
        """Copy a folder to `name` in the managed bucket; safe to repeat.

        What an earlier copy left there, and this folder does not have, goes.

        Returns:
            The copy's gs:// URI.

        Raises:
            ApiError: FAILED_PRECONDITION when the folder cannot be read or is
                empty, UNAVAILABLE when the bucket server does not answer.
        """
        source = folder(uri)
        if not self._base:
            raise precondition(
                f"Cannot read {uri}: the stand-in was started without "
                "--storage-endpoint."
            )
        await self._create()
        names = [item async for item in self._list(source)]
        if not names:
            raise precondition(
                f"The artifact directory {uri} is empty or does not exist."
            )
        target = Folder(bucket=self._bucket, prefix=name)
        kept = {f"{name}/{_below(source, item)}" for item in names}
        await self._remove(target, kept=kept)
        gate = asyncio.Semaphore(_SIDE_BY_SIDE)
        await asyncio.gather(
            *(self._rewrite(source, target, item, gate) for item in names)
        )
        return target.uri

    async def delete(self, uri: str) -> None:
        """Delete a copy; what is not there is fine."""
        if not self._base or not uri:
            return
        target = folder(uri)
        if target.bucket != self._bucket:
            return
        await self._remove(target, kept=frozenset())

    async def _remove(self, target: Folder, *, kept: AbstractSet[str]) -> None:
        names = [item async for item in self._list(target) if item not in kept]
        for name in names:
            path = f"/{quote(target.bucket, safe='')}/o/{quote(name, safe='')}"
            await self._send("DELETE", path, allowed=(204, _NOT_FOUND))

    async def _create(self) -> None:
        await self._send(
            "POST",
            f"?project={quote(self._project)}",
            json={"name": self._bucket},
            allowed=(_CONFLICT,),
        )

    async def _list(self, source: Folder) -> AsyncIterator[str]:
        params = {"prefix": f"{source.prefix}/" if source.prefix else ""}
        count = 0
        while True:
            query = httpx.QueryParams({**params, "fields": "items(name),nextPageToken"})
            answer = await self._send(
                "GET",
                f"/{quote(source.bucket, safe='')}/o?{query}",
                allowed=(_NOT_FOUND,),
            )
            if answer.status_code == _NOT_FOUND:
                raise precondition(
                    f"The bucket of {source.uri} does not exist or Vertex AI's "
                    "service agent may not read it."
                )
            page = answer.json()
            for item in page.get("items", ()):
                count += 1
                if count > _MOST_OBJECTS:
                    raise precondition(
                        f"{source.uri} has more than {_MOST_OBJECTS} objects."
                    )
                yield item["name"]
            if not page.get("nextPageToken"):
                return
            params["pageToken"] = page["nextPageToken"]

    async def _rewrite(
        self, source: Folder, target: Folder, name: str, gate: asyncio.Semaphore
    ) -> None:
        to = quote(f"{target.prefix}/{_below(source, name)}", safe="")
        path = (
            f"/{quote(source.bucket, safe='')}/o/{quote(name, safe='')}"
            f"/rewriteTo/b/{target.bucket}/o/{to}"
        )
        token = ""
        async with gate:
            while True:
                query = f"?rewriteToken={quote(token)}" if token else ""
                answer = await self._send("POST", path + query, json={})
                body = answer.json()
                if body.get("done", True):
                    return
                token = body["rewriteToken"]

    async def _send(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        allowed: tuple[int, ...] = (),
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        trouble = ""
        for attempt in range(_TRIES):
            try:
                answer = await self._client.request(
                    method, self._base + path, json=json, headers=headers, timeout=60
                )
            except httpx.TransportError as error:
                trouble = repr(error)
            else:
                if answer.status_code in (_OK, *allowed):
                    return answer
                trouble = f"HTTP {answer.status_code}: {answer.text[:300]}"
                if answer.status_code < 500:  # noqa: PLR2004
                    raise precondition(
                        f"Cloud Storage refused {method} {path}: {trouble}"
                    )
            await asyncio.sleep(0.1 * 2**attempt)
        raise ApiError(
            "UNAVAILABLE", f"Cloud Storage did not answer {method} {path}: {trouble}"
        )


def _below(source: Folder, name: str) -> str:
    """An object's name relative to its folder."""
    return name[len(source.prefix) :].lstrip("/")
