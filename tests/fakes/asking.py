"""Every form in which a served model can be asked, and what each says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx

from fakes.serving import Container

_CHAT: Final = "chatCompletions"
# One pixel, blue.
PICTURE: Final = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "YPj/HwADBwIAMCbHYQAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True)
class Answer:
    """What one form of a request was answered with.

    Attributes:
        form: For people.
        texts: What the model said, one text for each instance.
    """

    form: str
    texts: tuple[str, ...]


def prompts(running: Container, prompt: str, **options: Any) -> Iterator[Answer]:
    """Every form that asks for a prompt to be completed."""
    predict, invoke = "/vertex/predict", "/v1/completions"
    named = [{key: prompt, **options} for key in ("prompt", "text", "inputs")]
    merged = {"instances": [prompt, {"prompt": prompt}], "parameters": options}
    plain = {"prompt": prompt, **options}
    for form, path, body in (
        *(
            (f"instances of {next(iter(x))}", predict, {"instances": [x]})
            for x in named
        ),
        ("instances with parameters", predict, merged),
        ("a batch of eight", predict, {"instances": named[:1] * 8}),
        ("a plain body", predict, plain),
        ("a plain body with an empty model", predict, {**plain, "model": ""}),
        ("a plain body with any model", predict, {**plain, "model": "123@1"}),
        ("a plain body, streamed", predict, {**plain, "stream": True}),
        ("instances, streamed", predict, {"instances": [{**plain, "stream": True}]}),
        ("vLLM's own route", invoke, plain),
        ("vLLM's own route, streamed", invoke, {**plain, "stream": True}),
    ):
        yield Answer(form, _texts(running, path, body))


def conversations(running: Container, said: Any, **options: Any) -> Iterator[Answer]:
    """Every form that goes on with a conversation."""
    predict, invoke = "/vertex/predict", "/v1/chat/completions"
    plain = {"messages": [{"role": "user", "content": said}], **options}
    marked = {"@requestFormat": _CHAT, **plain}
    for form, path, body in (
        ("instances of messages", predict, {"instances": [plain]}),
        ("instances with @requestFormat", predict, {"instances": [marked]}),
        ("chat/completions", predict, {**marked, "model": "123@1"}),
        ("chat/completions, streamed", predict, {**marked, "stream": True}),
        ("a plain conversation", predict, plain),
        (
            "a conversation, streamed",
            predict,
            {"instances": [{**plain, "stream": True}]},
        ),
        ("vLLM's own chat route", invoke, plain),
    ):
        yield Answer(form, _texts(running, path, body))


def picture(running: Container, **options: Any) -> str:
    """What the model says of a picture."""
    content = [
        {"type": "image_url", "image_url": {"url": PICTURE}},
        {"type": "text", "text": "What is this?"},
    ]
    body = {"messages": [{"role": "user", "content": content}], **options}
    (text,) = _texts(running, "/vertex/predict", body)
    return text


def token_ids(running: Container, prompt: str, **options: Any) -> list[int]:
    """The tokens of an answer to `prompt`."""
    body = {"prompt": prompt, "return_token_ids": True, **options}
    answer = running.predict(body).raise_for_status().json()
    return list(answer["choices"][0]["token_ids"])


def _texts(running: Container, path: str, body: dict[str, Any]) -> tuple[str, ...]:
    answer = httpx.post(f"{running.url}{path}", json=body, timeout=60)
    assert answer.status_code == 200, (body, answer.text[:500])
    if answer.headers["content-type"].startswith("text/event-stream"):
        lines = [line for line in answer.text.splitlines() if line]
        assert lines[-1] == "data: [DONE]", lines[-3:]
        return ("".join(_said(json.loads(line[6:])) for line in lines[:-1]),)
    document = answer.json()
    return tuple(map(_said, document.get("predictions", [document])))


def _said(prediction: Any) -> str:
    """The words in a text, a completion, a message or a piece of either."""
    if isinstance(prediction, str):
        return prediction
    words = ""
    for choice in prediction["choices"]:
        message = choice.get("message") or choice.get("delta") or {}
        words += choice.get("text") or message.get("content") or ""
    return words
