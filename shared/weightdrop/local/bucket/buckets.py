"""The JSON API's calls on buckets. A bucket is a folder."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from weightdrop.local.bucket.http import Answer, Call
from weightdrop.local.bucket.model import stamp
from weightdrop.local.bucket.problems import ApiError
from weightdrop.local.bucket.store import Store
from weightdrop.local.bucket.tree import BUCKET

_KEPT = (
    *("labels", "lifecycle", "location", "softDeletePolicy", "storageClass"),
    "versioning",
)

_SOFT_DELETE = 7 * 86400
"""Seconds that Cloud Storage sets on a bucket which says nothing; here nothing is
kept, so that what it would do can only be read."""


class Buckets:
    """Create, get, list, patch and delete buckets, and what clients ask of them.

    Args:
        store: The objects.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def ensure(self, name: str) -> None:
        """Make a bucket if it is not there; blocking."""
        if not BUCKET.match(name):
            raise ApiError(400, f"Invalid bucket name: {name!r}.")
        (self._store.tree.root / name).mkdir(exist_ok=True)

    async def list(self, call: Call) -> Answer:
        """GET /b."""
        prefix = call.query.get("prefix", "")

        def find() -> list[dict[str, Any]]:
            folders = sorted(self._store.tree.root.iterdir())
            names = [path.name for path in folders if path.is_dir()]
            return [
                self._resource(name, call.base_url)
                for name in names
                if BUCKET.match(name) and name.startswith(prefix)
            ]

        return Answer.json({"kind": "storage#buckets", "items": await call.run(find)})

    async def insert(self, call: Call) -> Answer:
        """POST /b."""
        shape = await call.json()
        name = str(shape.get("name", ""))

        def make() -> dict[str, Any]:
            if (self._store.tree.root / name).is_dir() and BUCKET.match(name):
                raise ApiError(409, f"You already own the bucket {name}.")
            self.ensure(name)
            return self._keep(name, shape, call.base_url)

        return Answer.json(await call.run(make))

    async def get(self, call: Call, name: str) -> Answer:
        """GET /b/B."""
        return Answer.json(await call.run(self._resource, name, call.base_url))

    async def change(self, call: Call, name: str) -> Answer:
        """PATCH or PUT /b/B."""
        shape = await call.json()
        await call.run(self._store.require_bucket, name)
        return Answer.json(await call.run(self._keep, name, shape, call.base_url))

    async def delete(self, call: Call, name: str) -> Answer:
        """DELETE /b/B; only an empty one."""

        def remove() -> None:
            database = self._store.database
            with database.lock:
                self._store.require_bucket(name)
                sql = "SELECT 1 FROM objects WHERE bucket = ? LIMIT 1"
                if database.query(sql, (name,)):
                    raise ApiError(409, "The bucket you tried to delete is not empty.")
                self._remove_folders(name)
                with database.transaction() as transaction:
                    transaction.execute("DELETE FROM buckets WHERE name = ?", (name,))

        await call.run(remove)
        return Answer(204)

    async def part(self, call: Call, name: str, what: str) -> Answer:
        """GET /b/B/WHAT: the small resources that clients look at first."""
        await call.run(self._store.require_bucket, name)
        if what == "storageLayout":
            layout = {
                "kind": "storage#storageLayout",
                "bucket": name,
                "location": "US-CENTRAL1",
                "locationType": "region",
                "hierarchicalNamespace": {"enabled": False},
            }
            return Answer.json(layout)
        if what == "iam":
            return Answer.json({"kind": "storage#policy", "etag": "CAE=", "version": 1})
        empty = {"managedFolders", "folders", "notificationConfigs", "acl"}
        if what in empty | {"defaultObjectAcl", "anywhereCaches"}:
            return Answer.json({"kind": f"storage#{what}", "items": []})
        raise ApiError(501, f"The local bucket server has no {what} of a bucket.")

    def _remove_folders(self, name: str) -> None:
        root = self._store.tree.root / name
        folders = sorted(root.rglob("*"), key=lambda path: -len(path.parts))
        try:
            for folder in [*folders, root]:
                folder.rmdir()
        except NotADirectoryError:
            raise ApiError(409, "The bucket's folder holds files.") from None

    def _keep(self, name: str, shape: dict[str, Any], base_url: str) -> dict[str, Any]:
        now = time.time_ns() // 1000
        found = self._row(name)
        created, meta, old = (
            (found[0], found[2] + 1, found[3]) if found else (now, 1, {})
        )
        fields = old | {key: shape[key] for key in _KEPT if key in shape}
        with self._store.database.transaction() as transaction:
            transaction.execute(
                "INSERT OR REPLACE INTO buckets VALUES (?, ?, ?, ?, ?)",
                (name, created, now, meta, msgspec.json.encode(fields).decode()),
            )
        return self._resource(name, base_url)

    def _row(self, name: str) -> tuple[int, int, int, dict[str, Any]] | None:
        rows = self._store.database.query(
            "SELECT created, updated, metageneration, fields FROM buckets"
            " WHERE name = ?",
            (name,),
        )
        if not rows:
            return None
        created, updated, metageneration, fields = rows[0]
        return created, updated, metageneration, msgspec.json.decode(fields)

    def _resource(self, name: str, base_url: str) -> dict[str, Any]:
        self._store.require_bucket(name)
        made = (self._store.tree.root / name).stat().st_ctime_ns // 1000
        created, updated, meta, fields = self._row(name) or (made, made, 1, {})
        return {
            "kind": "storage#bucket",
            "id": name,
            "name": name,
            "selfLink": f"{base_url}/storage/v1/b/{name}",
            "projectNumber": "0",
            "metageneration": str(meta),
            "location": "US-CENTRAL1",
            "locationType": "region",
            "storageClass": "STANDARD",
            "etag": f"CA{meta}=",
            "timeCreated": stamp(created),
            "updated": stamp(updated),
            "softDeletePolicy": {"retentionDurationSeconds": str(_SOFT_DELETE)},
            "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
        } | fields
