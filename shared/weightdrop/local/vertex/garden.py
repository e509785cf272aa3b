"""Model Garden: deploy a folder of weights in one call, or only recommend how."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from weightdrop.local.vertex import names
from weightdrop.local.vertex.config import Choices
from weightdrop.local.vertex.deployments import NEW, Deployments
from weightdrop.local.vertex.endpoints import Endpoints
from weightdrop.local.vertex.faults import ApiError, exists, invalid
from weightdrop.local.vertex.inference import Inference
from weightdrop.local.vertex.machines import Budget, check_machine
from weightdrop.local.vertex.managed import folder
from weightdrop.local.vertex.models import Models
from weightdrop.local.vertex.names import Place
from weightdrop.local.vertex.operations import Operations, Work, typed

JSON = dict[str, Any]
IMAGE = "weightdrop/serving:local"
_MACHINE = ("machineType", "acceleratorType", "acceleratorCount")
_FIRST_ID = 10**9
"""The first of the ten-digit deployed model ids."""


class Garden:
    """ModelGardenService, as far as custom weights go.

    Args:
        operations: Runs deployments.
        choices: Behaviour that is not documented.
        models: Where models are made.
        endpoints: Where endpoints are made.
        deployments: Where models are deployed.
        inference: Finds out what a folder holds.
        budget: The accelerators there are.
    """

    def __init__(
        self,
        operations: Operations,
        *,
        choices: Choices,
        models: Models,
        endpoints: Endpoints,
        deployments: Deployments,
        inference: Inference,
        budget: Budget,
    ) -> None:
        self._operations = operations
        self._choices = choices
        self._models = models
        self._endpoints = endpoints
        self._deployments = deployments
        self._inference = inference
        self._budget = budget
        operations.handle("garden_deploy", self._deploy)

    def deploy(self, place: Place, request: JSON, version: str) -> JSON:
        """Start to deploy the weights in a folder to a new endpoint."""
        uri = _folder_of(request)
        model, endpoint = (
            request.get("modelConfig", {}),
            request.get("endpointConfig", {}),
        )
        chosen_model, chosen_endpoint = (
            model.get("modelUserId", ""),
            endpoint.get("endpointUserId", ""),
        )
        model_id = names.model_id(chosen_model or f"mg-custom-{_epoch()}")
        endpoint_id = names.endpoint_id(
            chosen_endpoint or f"mg-endpoint-{uuid.uuid4()}"
        )
        resources = request.get("deployConfig", {}).get("dedicatedResources", {})
        _check_machine_fields(resources.get("machineSpec", {}), place.location)
        self._refuse_taken(place, model_id, endpoint_id)
        label = model.get("modelDisplayName") or model_id
        plan = {
            "project": place.project,
            "location": place.location,
            "uri": uri,
            "model": model_id,
            "endpoint": endpoint_id,
            "deployed": str(_FIRST_ID + int(uuid.uuid4()) % _FIRST_ID),
            "resources": resources,
            "container": {}
            if self._choices.container_spec_ignored
            else model.get("containerSpec", {}),
            "display": label,
            "resource": self._endpoints.check_new(
                place, _endpoint(endpoint, label), chosen=endpoint_id
            ),
        }
        return self._operations.start(
            "garden_deploy",
            parent=place.path,
            message="DeployOperationMetadata",
            version=version,
            request=plan,
            metadata={
                "destination": place.path,
                "projectNumber": place.project,
                "modelId": model_id,
            },
        )

    async def recommend(self, place: Place, request: JSON) -> JSON:
        """Which machine and container a folder of weights would get."""
        if not request.get("gcsUri"):
            raise invalid("RecommendSpecRequest.gcs_uri is required.")
        found = await self._infer(request["gcsUri"], region=place.location)
        spec = {
            "machineSpec": found["machineSpec"],
            "containerSpec": _container({}, found["args"], served="model"),
        }
        recommendation: JSON = {"region": place.location, "spec": spec}
        if request.get("checkUserQuota"):
            fits = self._budget.fits(
                {"machineSpec": found["machineSpec"]}, location=place.location
            )
            state = "USER_HAS_QUOTA" if fits else "NO_USER_QUOTA"
            recommendation["userQuotaState"] = f"QUOTA_STATE_{state}"
        return {
            "baseModel": found["baseModel"],
            "recommendations": [recommendation],
            "specs": [spec],
        }

    def _refuse_taken(self, place: Place, model_id: str, endpoint_id: str) -> None:
        for other in self._operations.pending("garden_deploy"):
            if other["location"] != place.location:
                continue
            if other["model"] == model_id:
                raise exists("Model", place.model(model_id))
            if other["endpoint"] == endpoint_id:
                raise exists("Endpoint", place.endpoint(endpoint_id))
        try:
            self._models.record(place, model_id)
        except ApiError:
            return
        raise exists("Model", place.model(model_id))

    async def _deploy(self, work: Work) -> JSON:
        plan = work.request
        place = Place(plan["project"], plan["location"])
        try:
            await self._make(work, place, plan)
        except Exception:
            if not self._choices.failed_deploy_stays:
                await self._undo(place, plan)
            raise
        except asyncio.CancelledError:
            if self._operations.cancelling(work.number):
                await self._undo(place, plan)
            raise
        body = {
            "endpoint": place.endpoint(plan["endpoint"]),
            "model": place.model(plan["model"]),
        }
        return typed("DeployResponse", work.version, body)

    async def _make(self, work: Work, place: Place, plan: JSON) -> None:
        """Each step finds what an earlier run of it has made."""
        machine = plan["resources"].get("machineSpec", {})
        found = await self._infer(plan["uri"], region=place.location, machine=machine)
        upload = {
            "project": place.project,
            "location": place.location,
            "id": plan["model"],
            "number": 1,
            "model": {
                "displayName": plan["display"],
                "artifactUri": plan["uri"],
                "containerSpec": _container(
                    plan["container"], found["args"], served=plan["model"]
                ),
            },
        }
        await self._models.create(replace(work, request=upload))
        self._endpoints.insert(place.location, plan["resource"])
        key = f"{place.location}/{plan['endpoint']}/{plan['deployed']}"
        admitted = {"project": place.project, "key": key, "split": {NEW: 100}}
        if not self._deployments.known(key):
            request = {
                "deployedModel": {
                    "id": plan["deployed"],
                    "model": place.model(plan["model"]),
                    "displayName": plan["display"],
                    "dedicatedResources": {
                        **plan["resources"],
                        "machineSpec": machine or found["machineSpec"],
                    },
                },
                "trafficSplit": {NEW: 100},
            }
            admitted = self._deployments.admit(place, plan["endpoint"], request)
        await self._deployments.bring_up(replace(work, tell=lambda _: None), admitted)

    async def _infer(
        self, uri: str, *, region: str, machine: JSON | None = None
    ) -> JSON:
        found = await self._inference.infer(uri, region=region, machine=machine or {})
        if self._choices.listed_only and not found["baseModel"]:
            raise invalid(f"The base model of the weights in {uri} is not supported.")
        return found

    async def _undo(self, place: Place, plan: JSON) -> None:
        """Nothing of a failed deployment stays (a choice, see the documentation)."""
        key = f"{place.location}/{plan['endpoint']}/{plan['deployed']}"
        await self._deployments.take_down(key)
        self._endpoints.discard(place, plan["endpoint"])
        await self._models.discard(place, plan["model"])


def _epoch() -> int:
    return int(datetime.now(UTC).timestamp())


def _folder_of(request: JSON) -> str:
    for field in ("publisherModelName", "huggingFaceModelId"):
        if request.get(field):
            raise ApiError(
                "UNIMPLEMENTED",
                f"{field} is not served here: this stand-in deploys custom_model only.",
            )
    uri = str(request.get("customModel", {}).get("gcsUri", ""))
    if not uri:
        raise invalid("DeployRequest.custom_model.gcs_uri is required.")
    return folder(uri).uri


def _check_machine_fields(spec: JSON, location: str) -> None:
    given = [field for field in _MACHINE if spec.get(field)]
    if not given:
        return
    missing = [field for field in _MACHINE if field not in given]
    if missing:
        raise invalid(
            "machine_type, accelerator_type and accelerator_count are given together "
            f"or not at all; missing: {', '.join(missing)}."
        )
    check_machine(spec, location=location)


def _endpoint(config: JSON, label: str) -> JSON:
    body: JSON = {
        "displayName": config.get("endpointDisplayName") or f"{label}-endpoint",
        "dedicatedEndpointEnabled": not config.get("dedicatedEndpointDisabled", False),
    }
    if config.get("privateServiceConnectConfig"):
        body["privateServiceConnectConfig"] = config["privateServiceConnectConfig"]
    return body


def _container(given: JSON, args: list[str], *, served: str) -> JSON:
    if given:
        return given
    return {
        "imageUri": IMAGE,
        "args": [*args, "--served-model-name", served],
        "env": [{"name": "MODEL_ID", "value": served}],
        "ports": [{"containerPort": 8080}],
        "predictRoute": "/vertex/predict",
        "healthRoute": "/vertex/health",
    }
