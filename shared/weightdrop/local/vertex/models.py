"""Models and their versions."""

from __future__ import annotations

from typing import Any

from weightdrop.local.vertex import names
from weightdrop.local.vertex.faults import exists, invalid, not_found, precondition
from weightdrop.local.vertex.managed import ManagedBucket, folder
from weightdrop.local.vertex.names import Place
from weightdrop.local.vertex.operations import EMPTY, Operations, Work, typed
from weightdrop.local.vertex.rules import check_model
from weightdrop.local.vertex.schema import mask_fields
from weightdrop.local.vertex.store import Store, now

JSON = dict[str, Any]
DEFAULT = "default"
_MUTABLE = {"displayName", "description", "labels", "versionDescription"}
_SHOWN_ONLY = (
    "name",
    "versionId",
    "createTime",
    "updateTime",
    "versionCreateTime",
    "versionUpdateTime",
    "deployedModels",
    "supportedDeploymentResourcesTypes",
    "etag",
)


class Models:
    """The model registry.

    Args:
        store: Where models are kept.
        operations: Runs uploads and deletions.
        managed: Where artifacts are copied to.
    """

    def __init__(
        self, store: Store, *, operations: Operations, managed: ManagedBucket
    ) -> None:
        self._store = store
        self._operations = operations
        self._managed = managed
        operations.handle("upload_model", self.create)
        operations.handle("delete_model", self._delete)

    def upload(self, place: Place, request: JSON, version: str) -> JSON:
        """Start to create a model or a new version of one."""
        with self._store.transaction():
            wanted = self.check_new(place, request)
            return self._operations.start(
                "upload_model",
                parent=place.model(wanted["id"]),
                message="UploadModelOperationMetadata",
                version=version,
                request=wanted,
            )

    def check_new(self, place: Place, request: JSON) -> JSON:
        """What `create` needs for an UploadModelRequest; ApiError if it may not be."""
        model = {
            key: value
            for key, value in request.get("model", {}).items()
            if key not in _SHOWN_ONLY
        }
        check_model(model)
        parent = request.get("parentModel", "")
        if parent:
            model_id = names.last(parent).partition("@")[0]
            self.versions(place, model_id)
        else:
            model_id = names.model_id(request.get("modelId", ""))
            self._refuse_taken(place, model_id)
        if model.get("artifactUri"):
            folder(model["artifactUri"])
        return {
            "location": place.location,
            "project": place.project,
            "id": model_id,
            "number": self._next_number(place, model_id),
            "model": model,
        }

    def _next_number(self, place: Place, model_id: str) -> int:
        """The number of the next version: those still being made count too."""
        made = [
            int(item["resource"]["versionId"])
            for item in self._records(place, model_id)
        ]
        coming = [
            item["number"]
            for item in self._operations.pending("upload_model")
            if (item["location"], item["id"]) == (place.location, model_id)
        ]
        return 1 + max(made + coming, default=0)

    async def discard(self, place: Place, model_id: str) -> None:
        """Remove a model with its copies at once; none is fine."""
        for record in self._records(place, model_id):
            await self._managed.delete(record["storage"])
            number = int(record["resource"]["versionId"])
            key = f"{place.location}/{model_id}/{number:06d}"
            self._store.delete("model", key)

    def get(self, place: Place, reference: str) -> JSON:
        """A model by `id`, `id@version` or `id@alias`, as the API shows it."""
        return self._shown(place, self.record(place, reference)["resource"])

    def record(self, place: Place, reference: str) -> JSON:
        """A model's document: `resource` and `storage`."""
        model_id, _, wanted = reference.partition("@")
        records = self._records(place, model_id)
        for record in records:
            resource: JSON = record["resource"]
            known = {resource["versionId"], *resource.get("versionAliases", ())}
            if (wanted or DEFAULT) in known:
                return record
        raise not_found("Model", place.model(reference))

    def every(self, place: Place) -> list[JSON]:
        """All models in their default version, newest first."""
        found = [
            self._shown(place, record["resource"])
            for _, record in self._store.scan("model", f"{place.location}/")
            if DEFAULT in record["resource"].get("versionAliases", ())
        ]
        return sorted(found, key=lambda item: item["createTime"], reverse=True)

    def versions(self, place: Place, model_id: str) -> list[JSON]:
        """All versions of a model, oldest first."""
        records = self._records(place, model_id)
        if not records:
            raise not_found("Model", place.model(model_id))
        return [self._shown(place, record["resource"]) for record in records]

    def update(self, place: Place, reference: str, body: JSON, mask: str) -> JSON:
        """Change what may be changed of a model."""
        record = self.record(place, reference)
        wanted = {path.partition(".")[0] for path in mask_fields(mask)}
        if wanted - _MUTABLE:
            fixed = ", ".join(sorted(wanted - _MUTABLE))
            raise invalid(f"Model fields that are immutable: {fixed}.")
        for field in wanted or set(body) & _MUTABLE:
            record["resource"][field] = body.get(field, {} if field == "labels" else "")
        check_model(record["resource"])
        record["resource"]["updateTime"] = now()
        self._put(place, record)
        return self._shown(place, record["resource"])

    def merge_aliases(self, place: Place, reference: str, aliases: list[str]) -> JSON:
        """Give a version aliases (`-name` takes one away); each names one version."""
        record = self.record(place, reference)
        chosen: JSON = record["resource"]
        add = [alias for alias in aliases if not alias.startswith("-")]
        drop = {alias[1:] for alias in aliases if alias.startswith("-")}
        if DEFAULT in drop:
            raise invalid('The alias "default" can only be moved to another version.')
        with self._store.transaction():
            for other in self._records(place, names.last(chosen["name"])):
                kept = other["resource"].get("versionAliases", [])
                other["resource"]["versionAliases"] = [
                    alias for alias in kept if alias not in add
                ]
                self._put(place, other)
            own = [a for a in chosen.get("versionAliases", []) if a not in drop]
            chosen["versionAliases"] = sorted({*own, *add})
            self._put(place, record)
        return self._shown(place, chosen)

    def delete(self, place: Place, reference: str, version: str) -> JSON:
        """Start to delete a model, or one version given as `id@version`."""
        model_id, _, number = reference.partition("@")
        if number:
            doomed = [self.record(place, reference)["resource"]]
            if DEFAULT in doomed[0].get("versionAliases", ()):
                raise precondition(
                    "The default version cannot be deleted: delete the model, or "
                    "make another version the default first."
                )
        else:
            doomed = self.versions(place, model_id)
        self._refuse_busy(place, doomed)
        return self._operations.start(
            "delete_model",
            parent=place.model(model_id),
            message="DeleteOperationMetadata",
            version=version,
            request={
                "location": place.location,
                "project": place.project,
                "id": model_id,
                "versions": [item["versionId"] for item in doomed],
            },
        )

    def _records(self, place: Place, model_id: str) -> list[JSON]:
        prefix = f"{place.location}/{model_id}/"
        return [record for _, record in self._store.scan("model", prefix)]

    def _put(self, place: Place, record: JSON) -> None:
        resource = record["resource"]
        number = int(resource["versionId"])
        key = f"{place.location}/{names.last(resource['name'])}/{number:06d}"
        self._store.put("model", key, record)

    def _refuse_taken(self, place: Place, model_id: str) -> None:
        pending = any(
            (item["location"], item["id"]) == (place.location, model_id)
            for item in self._operations.pending("upload_model")
        )
        if pending or self._records(place, model_id):
            raise exists("Model", place.model(model_id))

    def _users(self, place: Place, resource: JSON) -> list[JSON]:
        """The deployed models (references) that run a version."""
        own = f"{resource['name']}@{resource['versionId']}"
        return [
            {
                "endpoint": place.endpoint(key.split("/")[1]),
                "deployedModelId": record["deployedModel"]["id"],
            }
            for key, record in self._store.scan("deployment", f"{place.location}/")
            if own == record["version_name"]
        ]

    def _refuse_busy(self, place: Place, doomed: list[JSON]) -> None:
        for resource in doomed:
            users = self._users(place, resource)
            if users:
                where = ", ".join(user["endpoint"] for user in users)
                raise precondition(
                    f'The Model "{resource["name"]}" is deployed or being deployed '
                    f"at the following Endpoint(s): {where}."
                )

    def _shown(self, place: Place, resource: JSON) -> JSON:
        users = self._users(place, resource)
        return {**resource, "deployedModels": users} if users else resource

    async def create(self, work: Work) -> JSON:
        """Do what `upload` wrote down: copy the artifacts, add the version."""
        request = work.request
        place = Place(request["project"], request["location"])
        earlier = self._records(place, request["id"])
        done = [rec for rec in earlier if rec.get("operation") == work.number]
        record = done[0] if done else await self._create(work, place, earlier)
        body = {
            "model": record["resource"]["name"],
            "modelVersionId": record["resource"]["versionId"],
        }
        return typed("UploadModelResponse", work.version, body)

    async def _create(self, work: Work, place: Place, earlier: list[JSON]) -> JSON:
        request, model = work.request, work.request["model"]
        number = request["number"]
        storage = ""
        if model.get("artifactUri"):
            name = f"{place.location}/{request['id']}/{number}"
            storage = await self._managed.copy(model["artifactUri"], name)
        time = now()
        aliases = model.pop("versionAliases", [])
        first = earlier[0]["resource"] if earlier else None
        record: JSON = {
            "storage": storage,
            "operation": work.number,
            "resource": {
                **model,
                "name": place.model(request["id"]),
                "versionId": str(number),
                "versionAliases": [a for a in aliases if a != DEFAULT],
                "versionCreateTime": time,
                "versionUpdateTime": time,
                "createTime": first["createTime"] if first else time,
                "updateTime": time,
                "supportedDeploymentResourcesTypes": ["DEDICATED_RESOURCES"],
                "modelSourceInfo": {"sourceType": "CUSTOM"},
                "etag": work.number,
            },
        }
        with self._store.transaction():
            self._put(place, record)
            if not earlier or DEFAULT in aliases:
                self.merge_aliases(place, f"{request['id']}@{number}", [DEFAULT])
        return record

    async def _delete(self, work: Work) -> JSON:
        request = work.request
        place = Place(request["project"], request["location"])
        for record in self._records(place, request["id"]):
            number = record["resource"]["versionId"]
            if number in request["versions"]:
                await self._managed.delete(record["storage"])
                key = f"{place.location}/{request['id']}/{int(number):06d}"
                self._store.delete("model", key)
        return EMPTY
