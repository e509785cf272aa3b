"""Predictions made of vLLM's answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from weightdrop_serving.forms import Batch, Call, ResponseShape


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    message: _Message | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]


_answers = msgspec.json.Decoder(_Answer)


def predictions(batch: Batch, answers: Sequence[bytes]) -> bytes:
    """The body of a response, from the bodies of vLLM's, in the same order."""
    shape = batch.shape
    if shape is ResponseShape.GOOGLE and len(answers) == 1 and batch.calls[0].chat:
        # Google's container puts a lone conversation there instead of a list.
        return b'{"predictions":' + answers[0] + b"}"
    entries = [
        _prediction(shape, call, answer)
        for call, answer in zip(batch.calls, answers, strict=True)
    ]
    return msgspec.json.encode({"predictions": entries})


def _prediction(shape: ResponseShape, call: Call, answer: bytes) -> Any:
    if shape is ResponseShape.OPENAI or (call.chat and shape is not ResponseShape.TEXT):
        return msgspec.Raw(answer)
    texts = [
        (choice.message.content if choice.message else choice.text) or ""
        for choice in _answers.decode(answer).choices
    ]
    if shape is ResponseShape.GOOGLE:
        prompt = call.prompt.strip()
        texts = [f"Prompt:\n{prompt}\nOutput:\n{text.strip(chr(10))}" for text in texts]
    return texts[0] if len(texts) == 1 else texts


class _VllmError(msgspec.Struct):
    message: str = ""
    type: str | None = None
    param: str | None = None


class _VllmErrorBody(msgspec.Struct):
    error: _VllmError | None = None


_STATUS_WORDS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    405: "INVALID_ARGUMENT",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
}


def error(status: int, message: str) -> bytes:
    """An error in Google's JSON form."""
    word = _STATUS_WORDS.get(status, "INTERNAL")
    body = {"code": status, "message": message, "status": word}
    return msgspec.json.encode({"error": body})


def error_message(body: bytes) -> str:
    """What vLLM said was wrong."""
    try:
        found = msgspec.json.decode(body, type=_VllmErrorBody).error
    except msgspec.DecodeError:
        found = None
    return found.message if found else body[:500].decode("utf-8", "replace")
