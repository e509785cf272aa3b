"""An application that behaves like vLLM's, behind Vertex AI's routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from weightdrop_serving.forms import Names
from weightdrop_serving.health import Health
from weightdrop_serving.routes import Limits, VertexApp

SERVED = ("tiny", "adapter")


class Engine:
    """A small application with vLLM's routes and its way of failing.

    A prompt's answer is `<prompt>`. A prompt of `hold` waits until it is released
    or its client goes away; `max_tokens` of -1 is refused as vLLM refuses it.
    `break` fails as nobody foresaw, and `tear` does so in the middle of a stream.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.request_ids: list[str] = []
        self.release = asyncio.Event()
        self.holding = asyncio.Event()
        self.cancelled = 0
        self.under_way = 0
        self.most_under_way = 0
        self.app = Starlette(
            routes=[
                Route("/v1/completions", self._answer, methods=["POST"]),
                Route("/v1/chat/completions", self._answer, methods=["POST"]),
                Route("/health", lambda _: Response(), methods=["GET"]),
            ],
            exception_handlers={Exception: _broken},
        )

    async def _answer(self, request: Request) -> Response:
        try:
            body = await request.json()
        except Exception:  # noqa: BLE001  # as FastAPI does, whatever it was
            return JSONResponse({"error": {"message": "cannot be parsed"}}, 400)
        self.requests.append(body)
        self.request_ids.append(request.headers.get("x-request-id", ""))
        chat = request.url.path.endswith("chat/completions")
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        if refusal := _refusal(body, prompt):
            return refusal
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            if prompt == "hold" and not await self._hold(request):
                return JSONResponse(None)  # as vLLM answers a client that left
        finally:
            self.under_way -= 1
        if body.get("stream"):
            events = self._events(str(prompt), chat=chat)
            return StreamingResponse(events, media_type="text/event-stream")
        text = f"<{prompt}>"
        choice = {"message": {"content": text}} if chat else {"text": text}
        return JSONResponse(
            {"model": body.get("model") or SERVED[0], "choices": [choice]}
        )

    async def _hold(self, request: Request) -> bool:
        """Wait for a release; whether the client stayed."""
        self.holding.set()
        gone = asyncio.create_task(self._disconnected(request))
        free = asyncio.create_task(self.release.wait())
        await asyncio.wait({gone, free}, return_when=asyncio.FIRST_COMPLETED)
        left = gone.done()
        self.cancelled += left
        gone.cancel()
        free.cancel()
        return not left

    async def _disconnected(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    async def _events(self, prompt: str, *, chat: bool) -> AsyncIterator[bytes]:
        for piece in ("<", prompt, ">"):
            if prompt == "tear" and piece == ">":
                raise RuntimeError("torn")
            choice = {"delta": {"content": piece}} if chat else {"text": piece}
            yield b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
            await asyncio.sleep(0)
        yield b": keep-alive\n\ndata: [DONE]\n\n"


def _refusal(body: dict[str, Any], prompt: object) -> Response | None:
    if body.get("max_tokens") == -1:
        error = {"message": "max_tokens must be at least 1", "type": "BadRequest"}
        return JSONResponse({"error": error | {"code": 400}}, 400)
    if (model := body.get("model")) and model not in SERVED:
        return JSONResponse({"error": {"message": f"no {model}"}}, 404)
    if prompt == "busy":
        return JSONResponse({"error": {"message": "queue is full"}}, 503)
    if prompt == "break":
        raise RuntimeError("broken")
    return None


async def _broken(_request: Request, error: Exception) -> JSONResponse:
    """As vLLM answers an error of its own, which Starlette then raises again."""
    return JSONResponse({"error": {"message": str(error)}}, 500)


@dataclass
class Answer:
    """A response as a client gets it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass
class Desk:
    """The application under test, its engine, and a client without a network.

    Attributes:
        engine: What stands for vLLM.
        health: What the application tells of everything.
        app: The application.
        clock: What `health` takes for the time.
        stuck: Set when there is an answer for a client that does not read.
    """

    engine: Engine
    health: Health
    app: VertexApp
    clock: list[float]
    stuck: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(
        self,
        path: str = "/vertex/predict",
        body: object = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        gone: asyncio.Event | None = None,
        reads: asyncio.Event | None = None,
    ) -> Answer:
        """Send one request.

        Args:
            path: Where to.
            body: Bytes, or what is made JSON.
            method: HTTP's.
            headers: Its own.
            gone: The client leaves when it is set.
            reads: The client reads nothing before it is set.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"content-length": str(len(content)), **(headers or {})}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in fields.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8080),
            "scheme": "http",
            "root_path": "",
        }
        left = gone or asyncio.Event()
        given = False
        answer = Answer()

        async def receive() -> dict[str, Any]:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": content, "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if reads is not None:
                self.stuck.set()
                await reads.wait()
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {
                    k.decode().lower(): v.decode() for k, v in message["headers"]
                }
            else:
                answer.body += message.get("body", b"")

        await self.app(scope, receive, send)
        return answer


Story = Callable[[Desk], Coroutine[Any, Any, None]]


def tell(story: Story, **limits: int) -> None:
    """Run `story` at a desk of its own."""

    async def whole() -> None:
        engine = Engine()
        clock = [0.0]
        health = Health(clock=lambda: clock[0], hang_seconds=4)
        health.answered = True
        app = VertexApp(
            engine.app,
            health=health,
            health_route="/vertex/health",
            predict_route="/vertex/predict",
            names=Names(SERVED),
            limits=Limits(**limits),
        )
        async with asyncio.timeout(20):
            await story(Desk(engine, health, app, clock))

    asyncio.run(whole())
