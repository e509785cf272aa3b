"""Endpoints: create, get, list, patch, delete, and how their traffic is split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weightdrop.local.vertex import names
from weightdrop.local.vertex.faults import exists, invalid, not_found, precondition
from weightdrop.local.vertex.names import Place
from weightdrop.local.vertex.operations import EMPTY, Operations, Work, typed
from weightdrop.local.vertex.rules import check_split
from weightdrop.local.vertex.schema import mask_fields
from weightdrop.local.vertex.store import Store, now

JSON = dict[str, Any]
DEPLOYED = "DEPLOYED"
BEING_DEPLOYED = "BEING_DEPLOYED"
BEING_UNDEPLOYED = "BEING_UNDEPLOYED"
_SHOWN_ONLY = (
    "name",
    "createTime",
    "updateTime",
    "deployedModels",
    "dedicatedEndpointDns",
    "etag",
    "trafficSplit",
)
_MUTABLE = {
    "displayName",
    "description",
    "labels",
    "trafficSplit",
    "predictRequestResponseLoggingConfig",
    "clientConnectionConfig",
}


class Endpoints:
    """The endpoints, without what is deployed on them.

    Args:
        store: Where endpoints are kept.
        operations: Runs creations and deletions.
        dns: Name that dedicated endpoints get.
        status: DeployedModel.status of a deployment, by its key.
    """

    def __init__(
        self,
        store: Store,
        *,
        operations: Operations,
        dns: str,
        status: Callable[[str], JSON],
    ) -> None:
        self._status = status
        self._store = store
        self._operations = operations
        self._dns = dns
        operations.handle("create_endpoint", self._create)
        operations.handle("delete_endpoint", self._delete)
        operations.handle("update_endpoint", self._updated)

    def create(self, place: Place, body: JSON, *, chosen: str, version: str) -> JSON:
        """Start to create an endpoint under the client's id, or one of ours."""
        resource = self.check_new(place, body, chosen=chosen)
        return self._operations.start(
            "create_endpoint",
            parent=resource["name"],
            message="CreateEndpointOperationMetadata",
            version=version,
            request={
                "location": place.location,
                "id": names.last(resource["name"]),
                "resource": resource,
            },
        )

    def check_new(self, place: Place, body: JSON, *, chosen: str) -> JSON:
        """The endpoint that a request asks for; ApiError if it may not be made."""
        resource = {k: v for k, v in body.items() if k not in _SHOWN_ONLY}
        if not resource.get("displayName"):
            raise invalid("Endpoint.display_name is required.")
        names.check_display_name(resource["displayName"], "Endpoint.display_name")
        names.check_labels(resource.get("labels", {}))
        endpoint_id = names.endpoint_id(chosen)
        pending = any(
            (item["location"], item["id"]) == (place.location, endpoint_id)
            for item in self._operations.pending("create_endpoint")
        )
        if pending or self._store.get("endpoint", _key(place, endpoint_id)):
            raise exists("Endpoint", place.endpoint(endpoint_id))
        return {**resource, "name": place.endpoint(endpoint_id)}

    def record(self, place: Place, endpoint_id: str) -> JSON:
        """An endpoint as it is kept; ApiError NOT_FOUND if there is none."""
        found = self._store.get("endpoint", _key(place, endpoint_id))
        if found is None:
            raise not_found("Endpoint", place.endpoint(endpoint_id))
        return found

    def get(self, place: Place, endpoint_id: str, *, all_states: bool = False) -> JSON:
        """An endpoint as the API shows it.

        Args:
            place: Where it is.
            endpoint_id: Which.
            all_states: Also show models that are being deployed or undeployed.
        """
        record = self.record(place, endpoint_id)
        return self._shown(place, record, all_states=all_states)

    def every(self, place: Place) -> list[JSON]:
        """All endpoints of a location, newest first."""
        found = [
            self._shown(place, record)
            for _, record in self._store.scan("endpoint", f"{place.location}/")
        ]
        return sorted(found, key=lambda item: item["createTime"], reverse=True)

    def deployments(self, place: Place, endpoint_id: str) -> list[JSON]:
        """The documents of what is, or is being, deployed; in order."""
        found = self._store.scan("deployment", f"{_key(place, endpoint_id)}/")
        return sorted((item for _, item in found), key=lambda item: item["created"])

    def serving(self, place: Place, endpoint_id: str) -> set[str]:
        """Ids of the deployed models that are up."""
        return {
            item["deployedModel"]["id"]
            for item in self.deployments(place, endpoint_id)
            if item["state"] == DEPLOYED
        }

    def patch(self, place: Place, endpoint_id: str, body: JSON, mask: str) -> JSON:
        """Change what may be changed of an endpoint, at once."""
        record = self.record(place, endpoint_id)
        paths = mask_fields(mask) or tuple(set(body) & _MUTABLE)
        for path in paths:
            head, _, rest = path.partition(".")
            if head not in _MUTABLE:
                raise invalid(f"Endpoint.{head} cannot be changed.")
            if rest:
                part = record.setdefault(head, {})
                part[rest] = body.get(head, {}).get(rest)
            elif head in body:
                record[head] = body[head]
            else:
                record.pop(head, None)
        check_split(record.get("trafficSplit", {}), self.serving(place, endpoint_id))
        names.check_labels(record.get("labels", {}))
        self.save(place, record)
        return self._shown(place, record)

    def update(self, place: Place, endpoint_id: str, body: JSON, version: str) -> JSON:
        """The long-running update: only client_connection_config."""
        mask = "clientConnectionConfig"
        shown = self.patch(place, endpoint_id, body, mask)
        return self._operations.start(
            "update_endpoint",
            parent=shown["name"],
            message="UpdateEndpointOperationMetadata",
            version=version,
            request={"endpoint": shown},
        )

    def save(self, place: Place, record: JSON) -> None:
        """Write an endpoint back."""
        record["updateTime"] = now()
        self._store.put("endpoint", _key(place, names.last(record["name"])), record)

    def delete(self, place: Place, endpoint_id: str, version: str) -> JSON:
        """Start to delete an endpoint that nothing is deployed on."""
        record = self.record(place, endpoint_id)
        busy = [
            it["deployedModel"]["id"] for it in self.deployments(place, endpoint_id)
        ]
        if busy:
            raise precondition(
                f"Endpoint {record['name']} has deployed or being-deployed "
                f"DeployedModel(s) with ID(s): {', '.join(busy)}."
            )
        return self._operations.start(
            "delete_endpoint",
            parent=record["name"],
            message="DeleteOperationMetadata",
            version=version,
            request={"location": place.location, "id": endpoint_id},
        )

    def insert(self, location: str, resource: JSON) -> JSON:
        """Write a new endpoint; one that is there already is kept."""
        key = f"{location}/{names.last(resource['name'])}"
        found = self._store.get("endpoint", key)
        if found is not None:
            return found
        time = now()
        record = {**resource, "createTime": time, "updateTime": time, "etag": time}
        if record.get("dedicatedEndpointEnabled"):
            record["dedicatedEndpointDns"] = self._dns
        self._store.put("endpoint", key, record)
        return record

    def discard(self, place: Place, endpoint_id: str) -> None:
        """Remove an endpoint at once; none is fine."""
        self._store.delete("endpoint", _key(place, endpoint_id))

    def _shown(self, place: Place, record: JSON, *, all_states: bool = False) -> JSON:
        deployed = []
        for item in self.deployments(place, names.last(record["name"])):
            if item["state"] == DEPLOYED:
                one = item["deployedModel"]
                name = f"{_key(place, names.last(record['name']))}/{one['id']}"
                deployed.append({**one, "status": self._status(name)})
            elif all_states:
                deployed.append({**item["deployedModel"], "state": item["state"]})
        return {**record, "deployedModels": deployed} if deployed else record

    async def _create(self, work: Work) -> JSON:
        work.stage("FINISHING_UP")
        record = self.insert(work.request["location"], work.request["resource"])
        work.stage("SUCCESSFULLY_DEPLOYED")
        return typed("Endpoint", work.version, {"name": record["name"]})

    async def _updated(self, work: Work) -> JSON:
        return typed("Endpoint", work.version, work.request["endpoint"])

    async def _delete(self, work: Work) -> JSON:
        self._store.delete(
            "endpoint", f"{work.request['location']}/{work.request['id']}"
        )
        return EMPTY


def _key(place: Place, endpoint_id: str) -> str:
    return f"{place.location}/{endpoint_id}"
