"""Deploying models on endpoints, changing and removing them."""

from __future__ import annotations

import asyncio
from typing import Any

from weightdrop.local.vertex import names
from weightdrop.local.vertex.config import Config
from weightdrop.local.vertex.containers import Unit
from weightdrop.local.vertex.endpoints import (
    BEING_DEPLOYED,
    BEING_UNDEPLOYED,
    DEPLOYED,
    Endpoints,
)
from weightdrop.local.vertex.faults import (
    ApiError,
    exists,
    invalid,
    not_found,
    precondition,
)
from weightdrop.local.vertex.fleet import Fleet
from weightdrop.local.vertex.machines import Budget, check_resources, replicas_wanted
from weightdrop.local.vertex.models import Models
from weightdrop.local.vertex.names import Place
from weightdrop.local.vertex.operations import Operations, Work, typed
from weightdrop.local.vertex.rules import check_shape, check_split
from weightdrop.local.vertex.schema import mask_fields, seconds
from weightdrop.local.vertex.store import Store, now

JSON = dict[str, Any]
NEW = "0"
_MUTABLE = {
    "minReplicaCount",
    "maxReplicaCount",
    "requiredReplicaCount",
    "autoscalingMetricSpecs",
    "disableContainerLogging",
    "enableContainerLogging",
}


class Deployments:
    """What is deployed where.

    Args:
        config: What the stand-in was told.
        store: Where deployments are kept.
        operations: Runs deployments.
        models: Where models are found.
        endpoints: Where endpoints are found.
        fleet: Runs the servers.
        budget: The accelerators there are.
    """

    def __init__(
        self,
        config: Config,
        *,
        store: Store,
        operations: Operations,
        models: Models,
        endpoints: Endpoints,
        fleet: Fleet,
        budget: Budget,
    ) -> None:
        self._config = config
        self._store = store
        self._operations = operations
        self._models = models
        self._endpoints = endpoints
        self._fleet = fleet
        self._budget = budget
        operations.handle("deploy_model", self._deploy, undo=self._given_up)
        operations.handle("undeploy_model", self._undeploy)
        operations.handle("mutate_deployed_model", self._mutated)

    def resume(self) -> None:
        """Start the servers of everything that is deployed."""
        for key, record in self._store.scan("deployment"):
            if record["state"] == DEPLOYED:
                self._fleet.start(self.unit(key, record))

    def unit(self, key: str, record: JSON) -> Unit:
        """What the fleet needs to know of one deployment."""
        location, endpoint_id, _ = key.split("/")
        return Unit(
            location=location,
            endpoint_id=endpoint_id,
            deployed_model=record["deployedModel"],
            model=record["model"],
            storage_uri=record["storage"],
        )

    def deploy(
        self, place: Place, endpoint_id: str, request: JSON, version: str
    ) -> JSON:
        """Start to deploy a model on an endpoint."""
        with self._store.transaction():
            return self._operations.start(
                "deploy_model",
                parent=place.endpoint(endpoint_id),
                message="DeployModelOperationMetadata",
                version=version,
                request=self.admit(place, endpoint_id, request),
            )

    def admit(self, place: Place, endpoint_id: str, request: JSON) -> JSON:
        """Check a deployment and write it down as being deployed.

        Returns:
            What `bring_up` needs.

        Raises:
            ApiError: It may not be made.
        """
        endpoint = self._endpoints.record(place, endpoint_id)
        wanted = request.get("deployedModel", {})
        if not wanted.get("model"):
            raise invalid("DeployModelRequest.deployed_model.model is required.")
        model = self._models.record(place, names.last(wanted["model"]))
        resources = check_resources(wanted, location=place.location)
        deployed_id = names.deployed_model_id(wanted.get("id", ""))
        others = self._endpoints.deployments(place, endpoint_id)
        if deployed_id in {item["deployedModel"]["id"] for item in others}:
            raise exists("DeployedModel", f"{endpoint['name']}/{deployed_id}")
        check_shape(endpoint, model["resource"], resources, others)
        split = request.get("trafficSplit", {})
        known = {NEW, *self._endpoints.serving(place, endpoint_id)}
        check_split(split, known)
        if not split and self._config.choices.first_takes_traffic and not others:
            split = {NEW: 100}
        self._budget.claim(resources, location=place.location)
        resource = model["resource"]
        deployed = {
            **wanted,
            "id": deployed_id,
            "model": resource["name"],
            "modelVersionId": resource["versionId"],
            "displayName": wanted.get("displayName") or resource["displayName"],
            "dedicatedResources": resources,
            "createTime": now(),
        }
        key = f"{place.location}/{endpoint_id}/{deployed_id}"
        self._store.put(
            "deployment",
            key,
            {
                "deployedModel": deployed,
                "state": BEING_DEPLOYED,
                "model": resource,
                "version_name": f"{resource['name']}@{resource['versionId']}",
                "storage": model["storage"],
                "created": now(),
            },
        )
        return {"project": place.project, "key": key, "split": split}

    async def bring_up(self, work: Work, request: JSON) -> JSON:
        """Start the servers of an admitted deployment and give it its traffic.

        Returns:
            The DeployedModel.

        Raises:
            ApiError: It failed; nothing of it is left.
        """
        key = request["key"]
        record = self._store.get("deployment", key)
        if record is None:
            raise ApiError("ABORTED", f"The deployment {key} was removed.")
        try:
            return await self._bring_up(work, request, record)
        except Exception:
            work.stage("FAILED_TO_DEPLOY")
            await self.take_down(key)
            raise
        except asyncio.CancelledError:
            if self._operations.cancelling(work.number):
                work.stage("DEPLOYMENT_TERMINATED")
                await self.take_down(key)
            raise

    async def _bring_up(self, work: Work, request: JSON, record: JSON) -> JSON:
        key = request["key"]
        unit = self.unit(key, record)
        for stage in (
            "STARTING_DEPLOYMENT",
            "PREPARING_MODEL",
            "CREATING_SERVING_CLUSTER",
            "ADDING_NODES_TO_CLUSTER",
            "GETTING_CONTAINER_IMAGE",
        ):
            work.stage(stage)
            await asyncio.sleep(0)
        work.stage("STARTING_MODEL_SERVER")
        timeout = unit.container.get("deploymentTimeout", "")
        await self._fleet.until_serving(
            unit,
            replicas=replicas_wanted(unit.resources),
            timeout=seconds(timeout)
            if timeout
            else self._config.choices.deployment_timeout,
        )
        work.stage("FINISHING_UP")
        self._settle(request, record)
        work.stage("SUCCESSFULLY_DEPLOYED")
        deployed: JSON = record["deployedModel"]
        return deployed

    def _settle(self, request: JSON, record: JSON) -> None:
        location, endpoint_id, deployed_id = request["key"].split("/")
        place = Place(request["project"], location)
        with self._store.transaction():
            record["state"] = DEPLOYED
            self._store.put("deployment", request["key"], record)
            endpoint = self._endpoints.record(place, endpoint_id)
            if request["split"]:
                split = {
                    deployed_id if name == NEW else name: part
                    for name, part in request["split"].items()
                }
                check_split(split, self._endpoints.serving(place, endpoint_id))
                endpoint["trafficSplit"] = split
            self._endpoints.save(place, endpoint)

    def known(self, key: str) -> bool:
        """Whether there is a deployment of this key."""
        return self._store.get("deployment", key) is not None

    async def take_down(self, key: str) -> None:
        """Stop a deployment's servers and forget it."""
        await self._fleet.stop(key)
        self._store.delete("deployment", key)

    def undeploy(
        self, place: Place, endpoint_id: str, request: JSON, version: str
    ) -> JSON:
        """Start to undeploy; the traffic moves at once."""
        endpoint = self._endpoints.record(place, endpoint_id)
        deployed_id = request.get("deployedModelId", "")
        key = f"{place.location}/{endpoint_id}/{deployed_id}"
        record = self._store.get("deployment", key)
        if record is None or record["state"] == BEING_UNDEPLOYED:
            raise not_found("DeployedModel", f"{endpoint['name']}/{deployed_id}")
        if record["state"] == BEING_DEPLOYED:
            raise precondition(f"DeployedModel {deployed_id} is still being deployed.")
        left = self._endpoints.serving(place, endpoint_id) - {deployed_id}
        split = request.get("trafficSplit") or endpoint.get("trafficSplit", {})
        split = {name: part for name, part in split.items() if part}
        if not left:
            split = {}
        elif deployed_id in split:
            raise precondition(
                f"DeployedModel {deployed_id} has traffic; give a traffic split that "
                "takes it away."
            )
        check_split(split, left)
        with self._store.transaction():
            endpoint["trafficSplit"] = split
            self._endpoints.save(place, endpoint)
            record["state"] = BEING_UNDEPLOYED
            self._store.put("deployment", key, record)
            return self._operations.start(
                "undeploy_model",
                parent=endpoint["name"],
                message="UndeployModelOperationMetadata",
                version=version,
                request={"key": key},
            )

    def mutate(
        self, place: Place, endpoint_id: str, request: JSON, version: str
    ) -> JSON:
        """Change the bounds of a running deployment."""
        wanted = request.get("deployedModel", {})
        key = f"{place.location}/{endpoint_id}/{wanted.get('id', '')}"
        record = self._store.get("deployment", key)
        if record is None or record["state"] != DEPLOYED:
            raise not_found("DeployedModel", f"{endpoint_id}/{wanted.get('id', '')}")
        deployed = record["deployedModel"]
        paths = mask_fields(request.get("updateMask", ""))
        if not paths:
            raise invalid("MutateDeployedModelRequest.update_mask is required.")
        for path in paths:
            field = path.rpartition(".")[2]
            if field not in _MUTABLE:
                raise invalid(f"DeployedModel.{path} cannot be changed.")
            inside = field.endswith("Count") or field == "autoscalingMetricSpecs"
            source = wanted.get("dedicatedResources", {}) if inside else wanted
            target = deployed["dedicatedResources"] if inside else deployed
            if field in source:
                target[field] = source[field]
        deployed["dedicatedResources"] = check_resources(
            deployed, location=place.location
        )
        self._budget.claim(
            deployed["dedicatedResources"], location=place.location, instead_of=key
        )
        self._store.put("deployment", key, record)
        self._fleet.refit(self.unit(key, record))
        return self._operations.start(
            "mutate_deployed_model",
            parent=place.endpoint(endpoint_id),
            message="MutateDeployedModelOperationMetadata",
            version=version,
            request={"key": key},
        )

    async def _deploy(self, work: Work) -> JSON:
        deployed = await self.bring_up(work, work.request)
        body = {"deployedModel": deployed}
        return typed("DeployModelResponse", work.version, body)

    async def _given_up(self, work: Work) -> None:
        work.stage("FAILED_TO_DEPLOY")
        await self.take_down(work.request["key"])

    async def _undeploy(self, work: Work) -> JSON:
        await self.take_down(work.request["key"])
        return typed("UndeployModelResponse", work.version, {})

    async def _mutated(self, work: Work) -> JSON:
        key = work.request["key"]
        record = self._store.get("deployment", key)
        if record is None:
            raise ApiError("ABORTED", f"The deployment {key} was removed.")
        unit = self.unit(key, record)
        wanted = replicas_wanted(unit.resources)
        limit = self._config.choices.deployment_timeout
        await self._fleet.until_serving(unit, replicas=wanted, timeout=limit)
        body = {"deployedModel": record["deployedModel"]}
        return typed("MutateDeployedModelResponse", work.version, body)
