"""`ask`: send a prompt to a deployment's endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import click
import httpx

from weightdrop.cli.client import View
from weightdrop.cli.completing import deployments
from weightdrop.cli.context import (
    Where,
    endpoint_token,
    find_target,
    json_option,
    naming,
    resolve_id,
    status_client,
    target_options,
)
from weightdrop.cli.terminal import clean, emit, err
from weightdrop.cli.words import completion_text, pieces, words
from weightdrop.errors import (
    ConflictError,
    PermanentError,
    TransientError,
    UsageError,
)

TIMEOUT = httpx.Timeout(10.0, read=300.0)
"""Seconds; a large model on a small machine takes its time for the first token."""

_LINE_BYTES = 1 << 20
_BAD_REQUEST = 400
_REFUSED = frozenset({401, 403})
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for a prompt.

    Attributes:
        form: The request form it was asked through.
        question: The prompt.
        answer: What the model said.
        seconds: Until the answer was whole.
        first_token_seconds: Until its first piece; None if it came whole.
    """

    form: str
    question: str
    answer: str
    seconds: float
    first_token_seconds: float | None = None

    def document(self) -> dict[str, object]:
        """For `--json`."""
        values = asdict(self)
        values["firstTokenSeconds"] = values.pop("first_token_seconds")
        return values


class EndpointClient:
    """Asks one endpoint through each request form of Vertex AI; to be closed.

    Args:
        endpoint: The `endpoint` part of a deployment's status.
        max_tokens: Longest answer.
        temperature: 0 always gives the same answer.
        token: Gives an access token; asked for over https:// alone.
    """

    def __init__(
        self,
        endpoint: View,
        *,
        max_tokens: int = 64,
        temperature: float = 0.0,
        token: Callable[[], str] | None = None,
    ) -> None:
        self._base: str = endpoint["baseUrl"]
        self._model: str = endpoint.get("modelId", "")
        self._options = {"max_tokens": max_tokens, "temperature": temperature}
        base = httpx.URL(self._base)
        near = base.scheme == "http" and base.host in {"127.0.0.1", "localhost"}
        secret = token if base.scheme == "https" else None
        headers = {"Authorization": f"Bearer {secret()}"} if secret else {}
        self._http = httpx.Client(timeout=TIMEOUT, trust_env=not near, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._http.close()

    def chat(self, prompt: str) -> Reply:
        """Chat completion, in one piece."""
        begin = time.monotonic()
        answer = self._post("/chat/completions", self._chat_body(prompt))
        text = words(answer, lambda it: it["choices"][0]["message"].get("content"))
        return Reply("chat/completions", prompt, text, time.monotonic() - begin)

    def chat_stream(self, prompt: str, show: Callable[[str], None]) -> Reply:
        """Chat completion piece by piece, each of them shown as it comes."""
        body = {**self._chat_body(prompt), "stream": True}
        found = (
            piece
            for event in self._stream("/chat/completions", body)
            for piece in pieces(event)
        )
        return _collected("chat/completions, streaming", prompt, found, show)

    def predict(self, prompt: str) -> Reply:
        """`:predict` with one instance."""
        begin = time.monotonic()
        answer = self._post(":predict", self._instances(prompt))
        text = words(answer, lambda it: completion_text(it["predictions"][0]))
        return Reply(":predict", prompt, text, time.monotonic() - begin)

    def stream_raw_predict(self, prompt: str, show: Callable[[str], None]) -> Reply:
        """`:streamRawPredict` with one instance, each piece shown as it comes."""
        body = self._instances(prompt)
        body["instances"][0]["stream"] = True
        found = (
            piece
            for event in self._stream(":streamRawPredict", body)
            for piece in pieces(event)
        )
        return _collected(":streamRawPredict", prompt, found, show)

    def _chat_body(self, prompt: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}]
        return {"model": self._model, "messages": messages, **self._options}

    def _instances(self, prompt: str) -> dict[str, Any]:
        return {"instances": [{"prompt": prompt, **self._options}]}

    def _post(self, form: str, body: dict[str, Any]) -> View:
        try:
            response = self._http.post(self._base + form, json=body)
            _check(response)
            answer: View = response.json()
        except httpx.HTTPError as error:
            raise _unreachable(self._base, error) from error
        except ValueError as error:
            raise PermanentError(
                f"{form} answered something else than JSON."
            ) from error
        return answer

    def _stream(self, form: str, body: dict[str, Any]) -> Iterator[View]:
        try:
            with self._http.stream("POST", self._base + form, json=body) as response:
                if response.is_error:
                    response.read()
                _check(response)
                yield from _documents(response.iter_text())
        except httpx.HTTPError as error:
            raise _unreachable(self._base, error) from error


def _documents(texts: Iterator[str]) -> Iterator[View]:
    """The JSON documents of a stream: server-sent events, or NUL-separated."""
    rest = ""
    for text in texts:
        rest += text.replace("\0", "\n")
        *lines, rest = rest.split("\n")
        if len(rest) > _LINE_BYTES:
            raise PermanentError("The stream holds a line of more than 1 MiB.")
        for line in lines:
            yield from _document(line)
    yield from _document(rest)


def _document(line: str) -> Iterator[View]:
    text = line.strip().removeprefix("data:").strip()
    if not text.startswith("{"):
        return
    document: View = json.loads(text)
    if "error" in document:
        raise PermanentError(f"The server broke off: {document['error']}")
    yield document


def _collected(
    form: str, prompt: str, pieces: Iterator[str], show: Callable[[str], None]
) -> Reply:
    begin = time.monotonic()
    first: float | None = None
    said: list[str] = []
    for piece in pieces:
        if piece and first is None:
            first = time.monotonic() - begin
        said.append(piece)
        show(piece)
    return Reply(form, prompt, "".join(said), time.monotonic() - begin, first)


def _unreachable(base: str, error: httpx.HTTPError) -> TransientError:
    return TransientError(
        f"The endpoint {base} does not answer ({str(error) or type(error).__name__}): "
        "see "
        "`weightdrop status`."
    )


def _check(response: httpx.Response) -> None:
    if not response.is_error:
        return
    try:
        document = response.json()
        message = str(document["error"]["message"])
    except (ValueError, LookupError, TypeError):
        message = response.text[:500]
    sentence = f"The endpoint answered {response.status_code}: {message}"
    if response.status_code in _REFUSED:
        raise PermanentError(
            f"{sentence} You need the permission aiplatform.endpoints.predict (the "
            "role roles/aiplatform.user), and to be logged in: `gcloud auth "
            "application-default login`."
        )
    if response.status_code == _BAD_REQUEST:
        raise UsageError(sentence)
    if response.status_code >= _SERVER_ERROR:
        raise TransientError(f"{sentence.rstrip('.')}. Try again in a moment.")
    raise PermanentError(sentence)


def endpoint_of(view: View) -> View:
    """The endpoint part of a status.

    Raises:
        ConflictError: If nothing serves.
    """
    endpoint: View | None = view.get("endpoint")
    if not endpoint or not endpoint.get("baseUrl"):
        raise ConflictError(
            f"{view.get('id')} is {view.get('phase')} and has no revision that "
            "serves: follow it with `weightdrop status ID --watch`."
        )
    return endpoint


@click.command(short_help="Send a prompt to a deployment.")
@click.argument("name", metavar="ID", shell_complete=deployments)
@click.argument("prompt")
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    metavar="N",
    default=256,
    show_default=True,
    help="Longest answer.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    metavar="N",
    default=0.0,
    show_default=True,
    help="0 always gives the same answer.",
)
@click.option("--no-stream", is_flag=True, help="Wait for the whole answer.")
@json_option
@target_options
def ask(
    *,
    name: str,
    prompt: str,
    max_tokens: int,
    temperature: float,
    no_stream: bool,
    as_json: bool,
    where: Where,
) -> int:
    """Send PROMPT to the deployment ID and print the answer as it comes.

    It is asked as a chat; a model without a chat template completes the prompt.
    """
    target = find_target(where)
    status, chosen = status_client(target), resolve_id(name)
    with naming(status, chosen):
        endpoint = endpoint_of(status.deployment(chosen))
    live = not (as_json or no_stream)
    with EndpointClient(
        endpoint,
        max_tokens=max_tokens,
        temperature=temperature,
        token=endpoint_token(target),
    ) as client:
        reply = _ask(client, prompt, live=live)
    if as_json:
        emit(reply.document())
    else:
        click.echo("" if live and reply.first_token_seconds else _safe(reply.answer))
        err().print(f"{reply.form}, {reply.seconds:.2f} s", style="dim")
    return 0


def _safe(text: str) -> str:
    return clean(text, lines=True)


def _ask(client: EndpointClient, prompt: str, *, live: bool) -> Reply:
    try:
        if not live:
            return client.chat(prompt)
        return client.chat_stream(
            prompt, lambda text: click.echo(_safe(text), nl=False)
        )
    except UsageError as error:
        if "chat template" not in str(error).lower():
            raise
        return client.predict(prompt)
