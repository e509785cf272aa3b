"""Predictions: which server answers, and how each verb reaches it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.responses import JSONResponse, Response, StreamingResponse

from weightdrop.local.vertex import schema
from weightdrop.local.vertex.config import Config
from weightdrop.local.vertex.endpoints import Endpoints
from weightdrop.local.vertex.faults import CODES, ApiError, invalid, precondition
from weightdrop.local.vertex.fleet import Fleet
from weightdrop.local.vertex.names import Place
from weightdrop.local.vertex.pool import Pool
from weightdrop.local.vertex.replica import Replica
from weightdrop.local.vertex.traffic import Wheel

JSON = dict[str, Any]
_DEDICATED_BYTES = 10_000_000
_SHARED_BYTES = 1_500_000
_SHARED_SECONDS = 60.0
_CONNECT_SECONDS = 5.0
_TRIES = 3
_OK = 200
_NOT_PASSED = {
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
}
_INVOKE_ONLY = (
    "Given request uri is not supported on this endpoint. Please use "
    "`/invoke${container_request_path}` to send requests to this endpoint."
)


@dataclass(frozen=True, slots=True)
class Ask:
    """One prediction request.

    Attributes:
        place: Location of the endpoint.
        endpoint_id: Which endpoint.
        method: HTTP method.
        headers: Of the client.
        body: As received.
        deployed_model_id: A certain deployed model, or empty for the split.
        path: Path to invoke, or empty for the predict route.
        query: Query string of an invoked path.
    """

    place: Place
    endpoint_id: str
    method: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    deployed_model_id: str = ""
    path: str = ""
    query: str = ""


@dataclass(slots=True)
class _Sent:
    """An answer under way, and whom it comes from."""

    answer: httpx.Response
    pool: Pool
    replica: Replica


class Predictions:
    """Answers predict, rawPredict, streamRawPredict, chat/completions and invoke.

    Args:
        config: What the stand-in was told.
        endpoints: Where endpoints are found.
        fleet: Where servers are found.
        client: Sends the requests.
    """

    def __init__(
        self,
        config: Config,
        *,
        endpoints: Endpoints,
        fleet: Fleet,
        client: httpx.AsyncClient,
    ) -> None:
        self._config = config
        self._endpoints = endpoints
        self._fleet = fleet
        self._client = client
        self._wheels: dict[str, Wheel] = defaultdict(Wheel)

    async def predict(self, ask: Ask) -> Response:
        """The prediction form: instances in, predictions and their model out."""
        body = schema.parse(ask.body)
        if not isinstance(body.get("instances"), list):
            raise invalid("The request needs a list of instances.")
        sent = await self._send(ask, json.dumps(body).encode(), _JSON_HEADERS)
        try:
            content = await sent.answer.aread()
        finally:
            await self._finish(sent)
        return JSONResponse(
            {**_predictions(sent.answer, content), **_origin(sent.pool)}
        )

    async def raw(self, ask: Ask) -> Response:
        """The raw form: body and answer as they are, streamed as they come."""
        return await self._stream(ask, ask.body)

    async def chat(self, ask: Ask) -> Response:
        """OpenAI's chat completions, on the predict route."""
        if self._config.choices.chat_refused:
            raise ApiError(
                "FAILED_PRECONDITION",
                "Chat completions are not supported for this model.",
            )
        body = schema.parse(ask.body)
        if self._config.choices.chat_request_format:
            body["@requestFormat"] = "chatCompletions"
        return await self._stream(ask, json.dumps(body).encode())

    async def _stream(self, ask: Ask, body: bytes) -> Response:
        headers = [item for item in ask.headers if item[0].lower() not in _NOT_PASSED]
        sent = await self._send(ask, body, headers)
        passed = {
            name: value
            for name, value in sent.answer.headers.items()
            if name.lower() not in _NOT_PASSED
        }
        model = _origin(sent.pool)
        passed["X-Vertex-AI-Deployed-Model-Id"] = model["deployedModelId"]
        passed["X-Vertex-AI-Model"] = model["model"]
        passed["X-Vertex-AI-Model-Version-Id"] = model["modelVersionId"]
        return StreamingResponse(
            self._chunks(sent), status_code=sent.answer.status_code, headers=passed
        )

    async def _chunks(self, sent: _Sent) -> AsyncIterator[bytes]:
        try:
            async for chunk in sent.answer.aiter_raw():
                yield chunk
        finally:
            await self._finish(sent)

    async def _finish(self, sent: _Sent) -> None:
        sent.replica.in_flight -= 1
        await sent.answer.aclose()

    async def _send(
        self, ask: Ask, body: bytes, headers: list[tuple[str, str]]
    ) -> _Sent:
        endpoint = self._endpoints.record(ask.place, ask.endpoint_id)
        dedicated = bool(endpoint.get("dedicatedEndpointEnabled"))
        self._check_host(ask, endpoint)
        limit = _DEDICATED_BYTES if dedicated else _SHARED_BYTES
        if len(body) > limit:
            raise ApiError(
                "INVALID_ARGUMENT",
                f"Request payload size exceeds the limit: {limit} bytes.",
                http=413,
            )
        pool = self._pool(ask, endpoint)
        path = self._path(ask, pool)
        seconds = self._seconds(endpoint) if dedicated else _SHARED_SECONDS
        for _ in range(_TRIES):
            replica = pool.pick()
            if replica is None:
                raise _not_ready(pool)
            request = self._client.build_request(
                ask.method,
                f"http://127.0.0.1:{replica.port}{path}",
                content=body,
                headers=headers,
                timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS),
            )
            with _counted(replica), _translated(dedicated=dedicated):
                try:
                    answer = await self._client.send(request, stream=True)
                except httpx.ConnectError:
                    replica.ready = False  # until its next good health check
                    continue
                replica.in_flight += 1
                return _Sent(answer=answer, pool=pool, replica=replica)
        raise _not_ready(pool)

    def _check_host(self, ask: Ask, endpoint: JSON) -> None:
        own = endpoint.get("dedicatedEndpointDns", "")
        host = dict(ask.headers).get("host", "")
        if self._config.choices.shared_dns_refused and own and host != own:
            raise precondition(
                f"{endpoint['name']} is a dedicated endpoint: send predictions to "
                f"its own name, {own}."
            )

    def _pool(self, ask: Ask, endpoint: JSON) -> Pool:
        base = f"{ask.place.location}/{ask.endpoint_id}"
        chosen = ask.deployed_model_id or self._wheels[base].turn(
            endpoint.get("trafficSplit", {})
        )
        if not chosen:
            raise precondition(
                f"Endpoint {endpoint['name']} has no deployed model that takes traffic."
            )
        pool = self._fleet.pool(f"{base}/{chosen}")
        if pool is None:
            raise ApiError(
                "UNAVAILABLE", f"DeployedModel {chosen} is not being served."
            )
        return pool

    def _path(self, ask: Ask, pool: Pool) -> str:
        routes = pool.unit.routes
        if routes.invoke != bool(ask.path):
            raise invalid(
                _INVOKE_ONLY
                if routes.invoke
                else "The deployed model has no invoke_route_prefix."
            )
        query = f"?{ask.query}" if ask.query else ""
        return ask.path + query if ask.path else routes.predict

    def _seconds(self, endpoint: JSON) -> float:
        wanted = endpoint.get("clientConnectionConfig", {}).get("inferenceTimeout")
        if wanted:
            return schema.seconds(wanted)
        return self._config.choices.inference_timeout


_JSON_HEADERS = [("content-type", "application/json")]


@contextmanager
def _counted(replica: Replica) -> Iterator[None]:
    """The request counts as under way while its answer is waited for."""
    replica.in_flight += 1
    try:
        yield
    finally:
        replica.in_flight -= 1


@contextmanager
def _translated(*, dedicated: bool) -> Iterator[None]:
    """Troubles between us and a server, in the API's form."""
    try:
        yield
    except httpx.TimeoutException as error:
        if dedicated:
            raise ApiError(
                "DEADLINE_EXCEEDED", "The model server did not answer in time."
            ) from error
        raise ApiError(
            "UNAVAILABLE", "Took too long to respond when processing the request."
        ) from error
    except httpx.TransportError as error:
        raise ApiError(
            "UNAVAILABLE", f"The connection to the model server broke: {error!r}"
        ) from error


def _not_ready(pool: Pool) -> ApiError:
    if pool.asleep:
        return ApiError(
            "RESOURCE_EXHAUSTED",
            "Model is not yet ready for inference. Please wait and then try your "
            "request again.",
        )
    return ApiError(
        "UNAVAILABLE", f"No server of DeployedModel {pool.unit.id} is healthy now."
    )


def _origin(pool: Pool) -> dict[str, str]:
    deployed = pool.unit.deployed_model
    return {
        "deployedModelId": pool.unit.id,
        "model": deployed["model"],
        "modelDisplayName": pool.unit.model["displayName"],
        "modelVersionId": deployed["modelVersionId"],
    }


def _predictions(answer: httpx.Response, content: bytes) -> JSON:
    if answer.status_code != _OK:
        names = {http: name for name, (_, http) in reversed(list(CODES.items()))}
        raise ApiError(
            names.get(answer.status_code, "INTERNAL"),
            content.decode("utf-8", "replace")[:4000],
            http=answer.status_code,
        )
    try:
        body = json.loads(content)
    except ValueError as error:
        raise ApiError("INTERNAL", "The model server's answer is no JSON.") from error
    if not isinstance(body, dict) or "predictions" not in body:
        raise ApiError(
            "INTERNAL", "The model server's answer has no field `predictions`."
        )
    return {key: body[key] for key in ("predictions", "metadata") if key in body}
