"""Asking an endpoint through each request form, over a loopback server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from weightdrop.cli.asking import EndpointClient
from weightdrop.cli.words import completion_text
from weightdrop.errors import PermanentError, TransientError, UsageError

CHUNKS = ("Look", " at the ", "sky ☀\x1b[31m")


class Endpoint(BaseHTTPRequestHandler):
    """Answers as Vertex AI's container contract and vLLM have it."""

    template = True
    google = False
    asked: list[tuple[str, Any]]

    def do_POST(self) -> None:
        """One of the forms."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body))
        form = self.path.rpartition("/e1")[2]
        if form == "/chat/completions" and not self.template:
            self.reply(400, {"error": {"message": "Model has no chat template."}})
        elif form == "/chat/completions" and body.get("stream"):
            self.stream([_delta(text) for text in CHUNKS], sse=True)
        elif form == "/chat/completions":
            self.reply(200, {"choices": [{"message": {"content": "".join(CHUNKS)}}]})
        elif form == ":predict":
            prompt = body["instances"][0]["prompt"]
            text = f"Prompt:\n{prompt}\nOutput:\n{''.join(CHUNKS)}"
            self.reply(200, {"predictions": [text]})
        elif form == ":streamRawPredict":
            self.stream([self.piece(text) for text in CHUNKS], sse=not self.google)
        else:
            self.reply(503, {"error": {"message": "not now"}})

    def piece(self, text: str) -> Any:
        """One event of a streamed prediction."""
        return {"predictions": [text]} if self.google else {"choices": [{"text": text}]}

    def reply(self, status: int, document: Any) -> None:
        """One JSON document."""
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, documents: list[Any], *, sse: bool) -> None:
        """Documents in pieces that respect neither lines nor characters."""
        self.send_response(200)
        self.end_headers()
        texts = [json.dumps(one, ensure_ascii=False) for one in documents]
        whole = (
            "".join(f"data: {text}\n\n" for text in texts) + "data: [DONE]\n\n"
            if sse
            else "".join(f"{text}\0" for text in texts)
        ).encode()
        for start in range(0, len(whole), 7):
            self.wfile.write(whole[start : start + 7])
            self.wfile.flush()

    def log_message(self, *words: Any) -> None:
        """Stay quiet."""


def _delta(text: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}]}


@pytest.fixture
def endpoint() -> Iterator[Any]:
    """A running endpoint: its handler class and what status says of it."""

    class Mine(Endpoint):
        asked: list[tuple[str, Any]] = []  # noqa: RUF012  # one list a fixture

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}/v1beta1/e1"
    yield Mine, {"baseUrl": base, "modelId": "tiny"}
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("form", ["chat", "predict"])
def test_whole_answers(endpoint: Any, form: str) -> None:
    """The model's words alone, without the prompt that a prediction repeats."""
    _handler, view = endpoint
    with EndpointClient(view) as client:
        reply = getattr(client, form)("What time is it?")

    assert reply.answer == "".join(CHUNKS)
    assert reply.first_token_seconds is None


@pytest.mark.parametrize("form", ["chat", "predict"])
@pytest.mark.parametrize("answer", [{}, {"choices": [{}], "predictions": []}, []])
def test_an_answer_without_words_is_shown(
    monkeypatch: pytest.MonkeyPatch, endpoint: Any, form: str, answer: Any
) -> None:
    """Whatever a server of somebody else's says, it is no crash of ours."""
    _handler, view = endpoint
    monkeypatch.setattr(EndpointClient, "_post", lambda *_: answer)

    with EndpointClient(view) as client, pytest.raises(PermanentError, match="else"):
        getattr(client, form)("What time is it?")


def test_a_call_of_a_tool_is_no_words(
    monkeypatch: pytest.MonkeyPatch, endpoint: Any
) -> None:
    """VLLM sends a message whose content is null."""
    _handler, view = endpoint
    message = {"role": "assistant", "content": None, "tool_calls": [{}]}
    answer = {"choices": [{"message": message}]}
    monkeypatch.setattr(EndpointClient, "_post", lambda *_: answer)

    with EndpointClient(view) as client:
        assert client.chat("What time is it?").answer == ""


@pytest.mark.parametrize("google", [False, True])
@pytest.mark.parametrize("form", ["chat_stream", "stream_raw_predict"])
def test_streamed_answers(endpoint: Any, form: str, google: bool) -> None:
    """Pieces are shown as they come, however the bytes were cut."""
    handler, view = endpoint
    handler.google = google
    shown: list[str] = []
    with EndpointClient(view) as client:
        reply = getattr(client, form)("What time is it?", shown.append)

    assert shown == list(CHUNKS)
    assert reply.answer == "".join(CHUNKS)
    assert 0 <= reply.first_token_seconds <= reply.seconds


def test_what_is_sent_is_what_vertex_documents(endpoint: Any) -> None:
    """Model, messages and options of a chat; instances of a prediction."""
    handler, view = endpoint
    with EndpointClient(view, max_tokens=7, temperature=0.5) as client:
        client.chat("Hi")
        client.predict("Hi")
    options = {"max_tokens": 7, "temperature": 0.5}
    message = {"role": "user", "content": "Hi"}

    assert [body for _path, body in handler.asked] == [
        {"model": "tiny", "messages": [message], **options},
        {"instances": [{"prompt": "Hi", **options}]},
    ]


def test_errors_are_told_apart(endpoint: Any) -> None:
    """A refusal, a busy server and a stranger each raise their own kind."""
    handler, view = endpoint
    handler.template = False
    elsewhere = {"baseUrl": view["baseUrl"] + "/else"}
    nowhere = {"baseUrl": "http://127.0.0.1:1/e1"}

    with EndpointClient(view) as client, pytest.raises(UsageError, match="template"):
        client.chat("Hi")
    busy = r"503: not now\. Try again in a moment\."
    with EndpointClient(elsewhere) as client, pytest.raises(TransientError, match=busy):
        client.predict("Hi")
    with EndpointClient(nowhere) as client, pytest.raises(TransientError, match="does"):
        client.predict("Hi")


def test_a_stream_that_breaks_off_is_an_error() -> None:
    """VLLM ends a broken stream with an error document and [DONE]."""
    from weightdrop.cli.asking import _documents  # noqa: PLC0415  # a planted fault

    texts = iter(['data: {"choices": []}\n\ndata: {"err', 'or": "gone"}\n\n'])
    documents = _documents(texts)

    assert next(documents) == {"choices": []}
    with pytest.raises(PermanentError, match="gone"):
        next(documents)


@pytest.mark.parametrize(
    ("prediction", "words"),
    [
        ("Prompt:\nA\nOutput:\nB\nOutput:\nC", "B\nOutput:\nC"),
        ("plain", "plain"),
        ({"text": "said"}, "said"),
    ],
)
def test_the_words_of_a_prediction(prediction: object, words: str) -> None:
    """What follows the repeated prompt, or all of it."""
    assert completion_text(prediction) == words


def test_ask_streams_and_escapes(
    serving: Any, endpoint: Any, cli: Callable[..., Any]
) -> None:
    """The command finds the endpoint by the deployment's id and shows its words."""
    del cli
    _handler, view = endpoint
    name = _ready(serving, view)
    outcome = serving.weightdrop("ask", name, "What time is it?")

    assert outcome.status == 0
    assert outcome.out == "Look at the sky ☀\\x1b[31m\n"
    assert "chat/completions, streaming" in outcome.err


def test_ask_falls_back_without_a_chat_template(serving: Any, endpoint: Any) -> None:
    """A model that cannot chat completes the prompt."""
    handler, view = endpoint
    handler.template = False
    outcome = serving.weightdrop("ask", _ready(serving, view), "Hi", "--json")

    assert outcome.status == 0
    assert outcome.document["form"] == ":predict"
    assert outcome.document["question"] == "Hi"
    assert outcome.document["answer"] == "".join(CHUNKS)


def test_ask_says_when_nothing_serves(serving: Any) -> None:
    """A deployment on its way has no answer yet: status 1."""
    from fakes.builders import make_deployment  # noqa: PLC0415

    serving.app.records.create(make_deployment("tiny-12345678"))
    outcome = serving.weightdrop("ask", "tiny-12345678", "Hi")

    assert outcome.status == 1
    assert "is waiting and has no revision that serves" in outcome.err


def _ready(serving: Any, view: dict[str, str]) -> str:
    from fakes.builders import make_deployment, make_revision  # noqa: PLC0415
    from weightdrop.core.deployment.phases import Phase  # noqa: PLC0415

    deployment = make_deployment(
        "tiny-12345678",
        endpoint_url=view["baseUrl"],
        revisions=(make_revision(phase=Phase.READY),),
    )
    serving.app.records.create(deployment)
    return "tiny-12345678"
