"""Which handler answers which path."""

from __future__ import annotations

from weightdrop.local.bucket.admin import Admin
from weightdrop.local.bucket.batch import Batch
from weightdrop.local.bucket.buckets import Buckets
from weightdrop.local.bucket.copies import Copies, Ends
from weightdrop.local.bucket.http import Answer, Call
from weightdrop.local.bucket.objects import Objects
from weightdrop.local.bucket.problems import ApiError
from weightdrop.local.bucket.xml import Xml

_JSON = ("storage", "v1")
_UPLOADS = (("upload", *_JSON), ("resumable", "upload", *_JSON))
_DOWNLOAD = ("download", *_JSON)
_BATCHES = (("batch", *_JSON), ("batch",))


class Router:
    """Sends each call where it belongs; paths are Cloud Storage's."""

    def __init__(
        self,
        *,
        admin: Admin,
        buckets: Buckets,
        objects: Objects,
        copies: Copies,
        xml: Xml,
    ) -> None:
        self._admin = admin
        self._buckets = buckets
        self._objects = objects
        self._copies = copies
        self._xml = xml
        self._batch = Batch(self.handle)

    async def handle(self, call: Call) -> Answer:
        """Answer one call."""
        path = call.segments
        if path[0] == "_weightdrop":
            return await self._admin.handle(call)
        if path in _BATCHES:
            return await self._batch.handle(call)
        for prefix in _UPLOADS:
            if path[: len(prefix)] == prefix:
                return await self._upload(call, path[len(prefix) :])
        if path[: len(_DOWNLOAD)] == _DOWNLOAD:
            return await self._storage(call, path[len(_DOWNLOAD) :])
        if path[: len(_JSON)] == _JSON:
            return await self._storage(call, path[len(_JSON) :])
        return await self._xml.handle(call)

    async def _upload(self, call: Call, path: tuple[str, ...]) -> Answer:
        match path:
            case ("b", bucket, "o") if call.method in {"POST", "PUT", "DELETE"}:
                return await self._objects.insert(call, bucket)
        raise _unknown(call)

    async def _storage(  # noqa: C901, PLR0911  (a table of routes)
        self, call: Call, path: tuple[str, ...]
    ) -> Answer:
        match (call.method, *path):
            case ("GET", "b"):
                return await self._buckets.list(call)
            case ("POST", "b"):
                return await self._buckets.insert(call)
            case ("GET", "b", bucket):
                return await self._buckets.get(call, bucket)
            case ("PATCH" | "PUT", "b", bucket):
                return await self._buckets.change(call, bucket)
            case ("DELETE", "b", bucket):
                return await self._buckets.delete(call, bucket)
            case ("GET", "b", bucket, "iam", "testPermissions"):
                asked = call.query.get("permissions", "")
                return Answer.json({"permissions": [asked] if asked else []})
            case ("GET", "projects", _, "serviceAccount"):
                return Answer.json({"email_address": "service@local.invalid"})
            case (_, "b", bucket, "o", *rest):
                return await self._object(call, bucket, tuple(rest))
            case ("GET", "b", bucket, what):
                return await self._buckets.part(call, bucket, what)
            case (_, "b", _, what, *_):
                raise _not_kept(what)
        raise _unknown(call)

    async def _object(  # noqa: PLR0911  (a table of routes)
        self, call: Call, bucket: str, rest: tuple[str, ...]
    ) -> Answer:
        match (call.method, *rest):
            case ("GET",) | ("GET", ""):
                return await self._objects.list(call, bucket)
            case ("POST", name, "compose"):
                return await self._copies.compose(call, bucket, name)
            case ("POST", name, "rewriteTo", "b", to_bucket, "o", to_name):
                return await self._copies.rewrite(
                    call, Ends(bucket, name, to_bucket, to_name)
                )
            case ("POST", name, "copyTo", "b", to_bucket, "o", to_name):
                return await self._copies.copy(
                    call, Ends(bucket, name, to_bucket, to_name)
                )
            case ("POST", name, "moveTo", "o", to_name):
                return await self._copies.move(
                    call, Ends(bucket, name, bucket, to_name)
                )
            case ("GET", _, "acl"):
                return Answer.json({"kind": "storage#objectAccessControls"})
            # People write slashes in curl commands without encoding them.
            case ("GET" | "HEAD", *parts):
                return await self._objects.get(call, bucket, "/".join(parts))
            case ("PATCH" | "PUT", *parts):
                return await self._objects.change(call, bucket, "/".join(parts))
            case ("DELETE", *parts):
                return await self._objects.delete(call, bucket, "/".join(parts))
        raise _unknown(call)


def _not_kept(what: str) -> ApiError:
    words = f"The local bucket server keeps no {what} of a bucket."
    if what == "notificationConfigs":
        words += " It posts the events of watched buckets: --watch and --notify."
    return ApiError(501, words)


def _unknown(call: Call) -> ApiError:
    path = "/".join(call.segments)
    return ApiError(404, f"The bucket server has no {call.method} /{path}")
