"""The stand-in as one ASGI application, put together and taken apart."""

from __future__ import annotations

import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from weightdrop.local.vertex import schema
from weightdrop.local.vertex.api import (
    EndpointCalls,
    GardenCalls,
    ModelCalls,
    OperationCalls,
    PredictionCalls,
)
from weightdrop.local.vertex.config import Config
from weightdrop.local.vertex.deployments import Deployments
from weightdrop.local.vertex.endpoints import Endpoints
from weightdrop.local.vertex.faults import ApiError
from weightdrop.local.vertex.fleet import Fleet
from weightdrop.local.vertex.garden import Garden
from weightdrop.local.vertex.guard import Guard
from weightdrop.local.vertex.inference import Inference
from weightdrop.local.vertex.injection import PATH, Injection
from weightdrop.local.vertex.logfile import prune
from weightdrop.local.vertex.machines import Budget
from weightdrop.local.vertex.managed import ManagedBucket
from weightdrop.local.vertex.models import Models
from weightdrop.local.vertex.operations import Operations
from weightdrop.local.vertex.prediction import Predictions
from weightdrop.local.vertex.processes import Processes
from weightdrop.local.vertex.quotas import QuotaCalls
from weightdrop.local.vertex.router import Router
from weightdrop.local.vertex.store import Store

JSON = dict[str, Any]
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_TOKEN = {
    "access_token": "not-a-secret",
    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    "token_type": "Bearer",
    "expires_in": 3600,
}
"""What clients that insist on credentials get (RFC 8693); nobody looks at it."""

log = logging.getLogger(__name__)


class StandIn:
    """Everything the stand-in is made of.

    Args:
        config: What it was told.
        dns: Name that dedicated endpoints get.
    """

    def __init__(self, config: Config, *, dns: str) -> None:
        self._config = config
        config.home.mkdir(parents=True, exist_ok=True)
        self._store = Store(config.home / "vertex.db")
        self._client = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
            trust_env=False,
        )
        self._processes = Processes(self._store, str(config.home.resolve()))
        self._fleet = Fleet(config, processes=self._processes, client=self._client)
        self.injection = Injection()
        self._operations = Operations(self._store, self.injection)
        managed = ManagedBucket(
            endpoint=config.storage_endpoint,
            bucket=config.managed_bucket,
            project=config.project,
            client=self._client,
        )
        models = Models(self._store, operations=self._operations, managed=managed)
        endpoints = Endpoints(
            self._store, operations=self._operations, dns=dns, status=self._fleet.status
        )
        budget = Budget(self._store, gpus=config.gpus)
        self._deployments = Deployments(
            config,
            budget=budget,
            store=self._store,
            operations=self._operations,
            models=models,
            endpoints=endpoints,
            fleet=self._fleet,
        )
        predictions = Predictions(
            config, endpoints=endpoints, fleet=self._fleet, client=self._client
        )
        garden = Garden(
            self._operations,
            choices=config.choices,
            models=models,
            endpoints=endpoints,
            deployments=self._deployments,
            inference=Inference(config, processes=self._processes),
            budget=budget,
        )
        self.router = Router(project=config.project, number=config.project_number)
        ModelCalls(self.router, models)
        EndpointCalls(self.router, endpoints, self._deployments)
        OperationCalls(self.router, self._operations)
        PredictionCalls(self.router, predictions)
        GardenCalls(self.router, garden)
        self.quotas = QuotaCalls(self.router, budget)

    def start(self) -> None:
        """Clean up after an earlier run, and go on where it stopped."""
        killed = self._processes.kill_leftovers()
        if killed:
            log.warning("killed %d processes of an earlier run", len(killed))
        shutil.rmtree(self._config.home / "run", ignore_errors=True)
        prune(self._config.home / "logs")
        self._deployments.resume()
        self._operations.resume()

    async def stop(self) -> None:
        """Stop every server; state stays for the next start."""
        await self._operations.close()
        await self._fleet.close()
        await self._client.aclose()
        self._store.close()

    async def answer(self, request: Request) -> Response:
        """Answer one request of the API."""
        subject = f"{request.method} {request.scope['path']}"
        try:
            await self.injection.meet("request", subject)
            route, call = await self.router.find(request)
            found = await route.handler(call)
            await self.injection.meet("answer", subject)
        except ApiError as error:
            return JSONResponse(error.body(), status_code=error.http)
        if isinstance(found, Response):
            return found
        if route.shows:
            numbers = "enum-encoding=int" in call.query.get("$alt", "")
            found = schema.shown(
                route.shows, found, version=call.version, numbers=numbers
            )
        return JSONResponse(found)


def make_app(config: Config, *, dns: str) -> Starlette:
    """The application; its lifespan starts and stops the servers.

    Args:
        config: What the stand-in was told.
        dns: Name that dedicated endpoints get.
    """
    stand_in = StandIn(config, dns=dns)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        stand_in.start()
        try:
            yield
        finally:
            await stand_in.stop()

    async def about(_: Request) -> Response:
        return JSONResponse(
            {
                "service": "Vertex AI stand-in of Weightdrop, for local use only",
                "project": config.project,
                "projectNumber": config.project_number,
            }
        )

    async def faults(request: Request) -> Response:
        try:
            if request.method == "PUT":
                return JSONResponse(stand_in.injection.put(await request.body()))
        except ApiError as error:
            return JSONResponse(error.body(), status_code=error.http)
        return JSONResponse(stand_in.injection.shown())

    async def series(_: Request) -> Response:
        return JSONResponse(stand_in.quotas.series())

    async def token(_: Request) -> Response:
        return JSONResponse(_TOKEN)

    routes = [
        Route("/", about),
        Route("/token", token, methods=["POST"]),
        Route(PATH, faults, methods=["GET", "PUT"]),
        Route("/v3/projects/{project}/timeSeries", series),
        Route("/{path:path}", stand_in.answer, methods=_METHODS),
    ]
    guard = Middleware(Guard, dns=dns)
    return Starlette(routes=routes, lifespan=lifespan, middleware=[guard])
