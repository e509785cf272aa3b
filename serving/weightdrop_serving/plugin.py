"""vLLM's endpoint plugin: Vertex AI's routes inside vLLM's own server process.

vLLM itself listens on a Unix socket that nobody uses. The plugin serves the same
application, with Vertex AI's routes in front, on the socket that the supervisor has
had open since the first second. An image whose plugin does not load is therefore
never healthy, and there is no second server to pass through.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import msgspec
import uvicorn

from weightdrop_serving import control, environment, forms, progress
from weightdrop_serving.dispatch import collect, replay, request_scope, until
from weightdrop_serving.health import Health, State
from weightdrop_serving.routes import Limits, VertexApp

_KEEP_ALIVE_SECONDS: Final = 620  # longer than Google's front ends keep theirs: 600
_WATCH_SECONDS: Final = 0.5
_LAST_WORDS_SECONDS: Final = 0.5  # for the errors of requests in flight to be sent
_FIRST_TOKEN_TRIES: Final = 3
_QUEUE_FACTOR: Final = 4  # requests that may wait, per one that may run
_DEFAULT_SEQUENCES: Final = 256
_PROMPT: Final = "Hello"


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: vLLM has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class VertexPlugin:
    """What the entry point `vllm.endpoint_plugins` resolves to."""

    name = "weightdrop_vertex"
    required_tasks = ("generate",)

    def __init__(self) -> None:
        self._settings = environment.load()
        self._engine: Any = None
        self._names = forms.Names(())
        self._sequences = _DEFAULT_SEQUENCES
        self._idle = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    def attach_router(self, app: Any) -> None:
        """Serve `app` for as long as vLLM does."""
        _first(app.router.routes, forms.CHAT, forms.COMPLETIONS)
        inner = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def lifespan(started: Any) -> AsyncIterator[Any]:
            async with inner(started) as state, self._serving(app):
                yield state

        app.router.lifespan_context = lifespan

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """Remember the engine and the names it serves."""
        del state
        self._engine = engine_client
        served = args.served_model_name or [args.model]
        adapters = [module.name for module in getattr(args, "lora_modules", None) or []]
        self._names = forms.Names((*served, *adapters))
        scheduler = getattr(engine_client.vllm_config, "scheduler_config", None)
        self._sequences = getattr(scheduler, "max_num_seqs", _DEFAULT_SEQUENCES)

    @contextlib.asynccontextmanager
    async def _serving(self, app: Any) -> AsyncIterator[None]:
        settings = self._settings
        health = Health(
            clock=time.monotonic,
            hang_seconds=settings.hang_seconds,
            dead=lambda: bool(self._engine is not None and self._engine.errored),
            on_idle=self._idle.set,
        )
        progress.listen(health.sign_of_life)
        vertex = VertexApp(
            app,
            health=health,
            health_route=settings.health_route,
            predict_route=settings.predict_route,
            names=self._names,
            limits=Limits(
                in_flight=self._sequences * (1 + _QUEUE_FACTOR), batch=self._sequences
            ),
            probe=lambda: self._spawn(self._probe(app, health)),
        )
        server = _Server(
            uvicorn.Config(
                vertex,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,  # nothing here reads who the client says it is
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=2,
            )
        )
        listener = socket.socket(fileno=settings.listen_fd)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        _tell("serving")
        self._listen_for_orders(health)
        self._spawn(self._first_token(app, health))
        self._spawn(self._watch(health))
        try:
            yield
        finally:
            for background in self._background:
                background.cancel()
            server.should_exit = True
            await task

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _listen_for_orders(self, health: Health) -> None:
        line = control.current()
        if line is None:
            return
        loop = asyncio.get_running_loop()

        def obey(order: str) -> None:
            if order == "drain":
                loop.call_soon_threadsafe(self._spawn, self._drain(health))

        line.deliver_to(obey)

    async def _drain(self, health: Health) -> None:
        health.draining = True
        while health.in_flight:
            self._idle.clear()
            await self._idle.wait()
        _tell("drained")

    async def _first_token(self, app: Any, health: Health) -> None:
        for _ in range(_FIRST_TOKEN_TRIES):
            fault = await self._ask(app, health)
            if not fault:
                health.answered = True
                _tell("ready")
                return
        _tell("mute", detail=fault)

    async def _probe(self, app: Any, health: Health) -> None:
        await self._ask(app, health)

    async def _ask(self, app: Any, health: Health) -> str:
        """Let the model produce one token; what was wrong if it did not."""
        body = msgspec.json.encode({"prompt": _PROMPT, "max_tokens": 1})
        bare = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "headers": [],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", self._settings.http_port),
            "root_path": "",
            "state": {},
        }
        scope = request_scope(bare, forms.COMPLETIONS, len(body), None)
        health.enter()
        try:
            response = await collect(app, scope, replay(body, until(asyncio.Event())))
        finally:
            health.leave()
        if response.ok:
            return ""
        return f"HTTP {response.status}: {response.body[:300].decode(errors='replace')}"

    async def _watch(self, health: Health) -> None:
        """Tell the supervisor when the engine turns bad, and when it is well again."""
        told = State.STARTING
        while True:
            verdict = health.verdict()
            if verdict.state is State.HUNG and told is not State.HUNG:
                _tell("hung", detail=verdict.reason)
            if told is State.HUNG and verdict.state not in (State.HUNG, State.DEAD):
                _tell("awake")
            if verdict.silent_seconds > self._settings.hang_exit_seconds:
                _tell("lost", detail=verdict.reason)
            if verdict.state is State.DEAD:
                await asyncio.sleep(_LAST_WORDS_SECONDS)
                _tell("dead", detail=verdict.reason)
            told = verdict.state
            await asyncio.sleep(_WATCH_SECONDS)


def _first(routes: list[Any], *paths: str) -> None:
    """Move the routes of `paths` to the front, where the router finds them at once.

    A request is compared with one route after the other, in the router and again in
    the metrics, and eighteen come before completions: some 2 % of the work on a small
    request. Their paths are fixed, so that the order decides nothing else.
    """
    routes.sort(key=lambda route: getattr(route, "path", None) not in paths)


def _tell(event: str, **facts: Any) -> None:
    line = control.current()
    if line is not None:
        with contextlib.suppress(OSError):
            line.tell(event, **facts)


def endpoint_plugin() -> VertexPlugin:
    """Make the plugin; named by the entry point."""
    return VertexPlugin()
