"""The REST bindings: which call of the API does what."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from weightdrop.local.vertex import listing, schema
from weightdrop.local.vertex.deployments import Deployments
from weightdrop.local.vertex.endpoints import Endpoints
from weightdrop.local.vertex.faults import ApiError
from weightdrop.local.vertex.garden import Garden
from weightdrop.local.vertex.models import Models
from weightdrop.local.vertex.names import last
from weightdrop.local.vertex.operations import Operations
from weightdrop.local.vertex.prediction import Ask, Predictions
from weightdrop.local.vertex.router import Call, Router

JSON = dict[str, Any]
_LONGEST_WAIT = 60.0
_MODEL = "/models/{model}"
_ENDPOINT = "/endpoints/{endpoint}"


class ModelCalls:
    """Calls of ModelService."""

    def __init__(self, router: Router, models: Models) -> None:
        self._models = models
        router.add("POST", "/models:upload", self._upload)
        router.add("GET", "/models", self._list, shows="ListModelsResponse")
        router.add("GET", _MODEL, self._get, shows="Model")
        router.add("PATCH", _MODEL, self._patch, shows="Model")
        router.add("DELETE", _MODEL, self._delete)
        router.add("DELETE", _MODEL + ":deleteVersion", self._delete)
        router.add(
            "GET",
            _MODEL + ":listVersions",
            self._versions,
            shows="ListModelVersionsResponse",
        )
        router.add("POST", _MODEL + ":mergeVersionAliases", self._merge, shows="Model")

    async def _upload(self, call: Call) -> JSON:
        request = call.message("UploadModelRequest")
        return self._models.upload(call.place, request, call.version)

    async def _get(self, call: Call) -> JSON:
        return self._models.get(call.place, call.parts["model"])

    async def _list(self, call: Call) -> JSON:
        return _page(call, self._models.every(call.place), "models")

    async def _versions(self, call: Call) -> JSON:
        model_id = call.parts["model"].partition("@")[0]
        return _page(call, self._models.versions(call.place, model_id), "models")

    async def _patch(self, call: Call) -> JSON:
        body, mask = call.message("Model"), call.query.get("updateMask", "")
        return self._models.update(call.place, call.parts["model"], body, mask)

    async def _merge(self, call: Call) -> JSON:
        request = call.message("MergeVersionAliasesRequest")
        aliases = request.get("versionAliases", [])
        return self._models.merge_aliases(call.place, call.parts["model"], aliases)

    async def _delete(self, call: Call) -> JSON:
        return self._models.delete(call.place, call.parts["model"], call.version)


class EndpointCalls:
    """Calls of EndpointService."""

    def __init__(
        self, router: Router, endpoints: Endpoints, deployments: Deployments
    ) -> None:
        self._endpoints = endpoints
        self._deployments = deployments
        router.add("POST", "/endpoints", self._create)
        router.add("GET", "/endpoints", self._list, shows="ListEndpointsResponse")
        router.add("GET", _ENDPOINT, self._get, shows="Endpoint")
        router.add("PATCH", _ENDPOINT, self._patch, shows="Endpoint")
        router.add("POST", _ENDPOINT + ":update", self._update)
        router.add("DELETE", _ENDPOINT, self._delete)
        router.add("POST", _ENDPOINT + ":deployModel", self._deploy)
        router.add("POST", _ENDPOINT + ":undeployModel", self._undeploy)
        for method in ("POST", "PATCH"):
            router.add(method, _ENDPOINT + ":mutateDeployedModel", self._mutate)

    async def _create(self, call: Call) -> JSON:
        body = call.message("Endpoint")
        chosen = call.query.get("endpointId", "")
        return self._endpoints.create(
            call.place, body, chosen=chosen, version=call.version
        )

    async def _get(self, call: Call) -> JSON:
        all_states = call.query.get("allDeploymentStates", "") == "true"
        endpoint_id = call.parts["endpoint"]
        return self._endpoints.get(call.place, endpoint_id, all_states=all_states)

    async def _list(self, call: Call) -> JSON:
        return _page(call, self._endpoints.every(call.place), "endpoints")

    async def _patch(self, call: Call) -> JSON:
        body, mask = call.message("Endpoint"), call.query.get("updateMask", "")
        return self._endpoints.patch(call.place, call.parts["endpoint"], body, mask)

    async def _update(self, call: Call) -> JSON:
        body = call.message("UpdateEndpointLongRunningRequest").get("endpoint", {})
        endpoint_id = call.parts["endpoint"]
        return self._endpoints.update(call.place, endpoint_id, body, call.version)

    async def _delete(self, call: Call) -> JSON:
        return self._endpoints.delete(call.place, call.parts["endpoint"], call.version)

    async def _deploy(self, call: Call) -> JSON:
        request = call.message("DeployModelRequest")
        endpoint_id = call.parts["endpoint"]
        return self._deployments.deploy(call.place, endpoint_id, request, call.version)

    async def _undeploy(self, call: Call) -> JSON:
        request = call.message("UndeployModelRequest")
        endpoint_id = call.parts["endpoint"]
        return self._deployments.undeploy(
            call.place, endpoint_id, request, call.version
        )

    async def _mutate(self, call: Call) -> JSON:
        request = call.message("MutateDeployedModelRequest")
        endpoint_id = call.parts["endpoint"]
        return self._deployments.mutate(call.place, endpoint_id, request, call.version)


class OperationCalls:
    """Calls of google.longrunning.Operations, under any parent and version."""

    def __init__(self, router: Router, operations: Operations) -> None:
        self._operations = operations
        for parent in ("", _MODEL, _ENDPOINT):
            one = parent + "/operations/{operation}"
            router.add("GET", parent + "/operations", self._list)
            router.add("GET", one, self._get)
            router.add("DELETE", one, self._delete)
            router.add("POST", one + ":cancel", self._cancel)
            router.add("POST", one + ":wait", self._wait)

    async def _get(self, call: Call) -> JSON:
        return self._operations.get(call.parts["operation"])

    async def _list(self, call: Call) -> JSON:
        parent = (call.place.path + call.rest).removesuffix("/operations")
        return listing.page(
            self._operations.every(parent),
            field="operations",
            size=call.query.get("pageSize", ""),
            token=call.query.get("pageToken", ""),
        )

    async def _delete(self, call: Call) -> JSON:
        self._operations.delete(call.parts["operation"])
        return {}

    async def _cancel(self, call: Call) -> JSON:
        self._operations.cancel(call.parts["operation"])
        return {}

    async def _wait(self, call: Call) -> JSON:
        body = schema.parse(call.body)
        text = str(body.get("timeout") or call.query.get("timeout") or "")
        seconds = schema.seconds(text) if text else _LONGEST_WAIT
        limit = min(seconds, _LONGEST_WAIT)
        return await self._operations.wait(call.parts["operation"], limit)


class GardenCalls:
    """Calls of ModelGardenService."""

    def __init__(self, router: Router, garden: Garden) -> None:
        self._garden = garden
        router.add("POST", ":deploy", self._deploy)
        router.add(
            "POST",
            ":recommendSpec",
            self._recommend,
            shows="RecommendSpecResponse",
            versions=("v1beta1",),
        )

    async def _deploy(self, call: Call) -> JSON:
        request = call.message("DeployRequest")
        return self._garden.deploy(call.place, request, call.version)

    async def _recommend(self, call: Call) -> JSON:
        request = call.message("RecommendSpecRequest")
        return await self._garden.recommend(call.place, request)


class PredictionCalls:
    """Calls of PredictionService."""

    def __init__(self, router: Router, predictions: Predictions) -> None:
        self._predictions = predictions
        router.add("POST", _ENDPOINT + ":predict", self._predict)
        router.add("POST", _ENDPOINT + ":rawPredict", self._raw)
        router.add("POST", _ENDPOINT + ":streamRawPredict", self._raw)
        router.add("POST", _ENDPOINT + "/chat/completions", self._chat)
        for method in ("GET", "POST", "PUT", "DELETE"):
            deployed = "/deployedModels/{deployed}"
            for path in (_ENDPOINT, _ENDPOINT + deployed):
                router.add(method, path + "/invoke/{path*}", self._invoke)

    async def _predict(self, call: Call) -> Response:
        return await self._predictions.predict(_ask(call))

    async def _raw(self, call: Call) -> Response:
        return await self._predictions.raw(_ask(call))

    async def _chat(self, call: Call) -> Response:
        return await self._predictions.chat(_ask(call))

    async def _invoke(self, call: Call) -> Response:
        if not call.parts["path"]:
            raise ApiError("INVALID_ARGUMENT", "The root path cannot be invoked.")
        return await self._predictions.raw(_ask(call))


def _ask(call: Call) -> Ask:
    path = call.parts.get("path", "")
    return Ask(
        place=call.place,
        endpoint_id=last(call.parts["endpoint"]),
        method=call.request.method,
        headers=tuple(call.request.headers.items()),
        body=call.body,
        deployed_model_id=call.parts.get("deployed", ""),
        path=f"/{quote(path)}" if path else "",
        query=call.request.url.query if path else "",
    )


def _page(call: Call, items: list[JSON], field: str) -> JSON:
    return listing.page(
        listing.matching(items, call.query.get("filter", "")),
        field=field,
        size=call.query.get("pageSize", ""),
        token=call.query.get("pageToken", ""),
    )
