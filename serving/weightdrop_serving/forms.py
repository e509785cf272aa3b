"""The forms in which people ask, read into calls of vLLM's own routes.

A request on the predict route is either a plain OpenAI body or a list of instances.
Which of Vertex AI's verbs it came through cannot be told, and need not be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"

REQUEST_FORMAT: Final = "@requestFormat"
RESPONSE_FORMAT: Final = "@responseFormat"

# vLLM's own default is 16, too few for an answer; other servers take 100 or 128.
DEFAULT_MAX_TOKENS: Final = 256
LARGEST_BATCH: Final = 10_000  # instances; a body of 10 MB holds hardly more

_PATHS: Final = {"chatCompletions": CHAT, "completions": COMPLETIONS}
_PROMPTS: Final = ("prompt", "text", "inputs", "input_ids")
_ALIASES: Final = {
    "max_new_tokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "topP": "top_p",
    "topK": "top_k",
    "stopSequences": "stop",
}
_NEST: Final = ("parameters", "sampling_params")
_NO_OPTIONS: Final = frozenset({*_NEST, *_PROMPTS, "messages", REQUEST_FORMAT})


class ResponseShape(StrEnum):
    """What a prediction looks like."""

    AUTO = "auto"
    TEXT = "text"
    OPENAI = "openai"
    GOOGLE = "google"


_SHAPES: Final = {shape.value: shape for shape in ResponseShape}


class FormError(Exception):
    """The body has none of the accepted forms; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one of vLLM's routes."""

    path: str
    body: dict[str, Any]

    @property
    def chat(self) -> bool:
        """Whether it is a conversation."""
        return self.path == CHAT

    @property
    def prompt(self) -> str:
        """The prompt's text, where it is one."""
        prompt = self.body.get("prompt", "")
        return prompt if isinstance(prompt, str) else ""


@dataclass(frozen=True, slots=True)
class Raw:
    """A plain OpenAI body: vLLM's answer goes back as it is."""

    call: Call


@dataclass(frozen=True, slots=True)
class Batch:
    """Instances: one prediction each, in order."""

    calls: tuple[Call, ...]
    shape: ResponseShape
    stream: bool


@dataclass(frozen=True, slots=True)
class Names:
    """The names the server answers to: the model's own and its adapters'."""

    served: tuple[str, ...]

    def keep_known(self, body: dict[str, Any]) -> None:
        """Leave a `model` in `body` only where it is one of ours.

        Clients send what Vertex AI calls the model. vLLM refuses a name that it does
        not know and answers for its own model where there is none.
        """
        if body.get("model") not in self.served:
            body.pop("model", None)


def read(body: bytes, names: Names) -> Raw | Batch:
    """Read one request.

    Raises:
        FormError: If it is not JSON, or of none of the accepted forms.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FormError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise FormError("the body must be a JSON object")
    if "instances" in document:
        return _batch(document, names)
    path = _path(document, "the body")
    if path is None or (path == COMPLETIONS and "prompt" not in document):
        raise FormError(
            'expected "instances" (a list whose entries have "prompt", "text", '
            '"inputs" or "messages"), or a plain OpenAI body with "messages" or '
            '"prompt"'
        )
    plain = {key: document[key] for key in document if not key.startswith("@")}
    names.keep_known(plain)
    return Raw(Call(path, plain))


def _batch(document: dict[str, Any], names: Names) -> Batch:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise FormError('"instances" must be a list')
    if len(instances) > LARGEST_BATCH:
        raise FormError(f'"instances" has more than {LARGEST_BATCH} entries')
    shared = _options(
        {key: value for key, value in document.items() if key != "instances"},
        "the body",
    )
    calls = tuple(
        _call(instance, shared, names, f"instances[{number}]")
        for number, instance in enumerate(instances)
    )
    streams = [call.body.pop("stream", False) is True for call in calls]
    words = [call.body.pop(RESPONSE_FORMAT, "auto") for call in calls] or ["auto"]
    if any(word != words[0] for word in words):
        raise FormError(f'all instances must ask for the same "{RESPONSE_FORMAT}"')
    return Batch(calls=calls, shape=_shape(words[0]), stream=any(streams))


def _shape(word: object) -> ResponseShape:
    shape = _SHAPES.get(word) if isinstance(word, str) else None
    if shape is None:
        known = ", ".join(ResponseShape)
        raise FormError(f'"{RESPONSE_FORMAT}" must be one of {known}')
    return shape


def _call(
    instance: object, shared: Mapping[str, Any], names: Names, where: str
) -> Call:
    if isinstance(instance, str):
        instance = {"prompt": instance}
    if not isinstance(instance, dict):
        raise FormError(f"{where} must be an object or a string")
    path = _path(instance, where)
    if path is None:
        raise FormError(f'{where} has none of "prompt", "text", "inputs", "messages"')
    body = {**shared, **_options(instance, where)}
    names.keep_known(body)
    if path == COMPLETIONS:
        body["prompt"] = _prompt(instance, where)
        if body.get("max_tokens") is None:
            body["max_tokens"] = DEFAULT_MAX_TOKENS
    else:
        body["messages"] = instance.get("messages")
    if body.pop("do_sample", True) is False:
        body.setdefault("temperature", 0)
    return Call(path, body)


def _path(document: Mapping[str, Any], where: str) -> str | None:
    wanted = document.get(REQUEST_FORMAT)
    if wanted is not None:
        if wanted not in _PATHS:
            known = ", ".join(_PATHS)
            raise FormError(f'"{REQUEST_FORMAT}" of {where} must be one of {known}')
        return _PATHS[wanted]
    if "messages" in document:
        return CHAT
    return COMPLETIONS if any(key in document for key in _PROMPTS) else None


def _prompt(instance: Mapping[str, Any], where: str) -> Any:
    given = [key for key in _PROMPTS if instance.get(key) is not None]
    if len(given) != 1:
        raise FormError(
            f"{where} must have exactly one of {', '.join(_PROMPTS)}; it has "
            f"{', '.join(given) or 'none'}"
        )
    return instance[given[0]]


def _options(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Everything that is not the question: nested parameters, then the rest."""
    options: dict[str, Any] = {}
    for key in _NEST:
        nested = document.get(key)
        if nested is None:
            continue
        if not isinstance(nested, dict):
            raise FormError(f'"{key}" of {where} must be an object')
        options |= _options(nested, where)
    for key, value in document.items():
        if key not in _NO_OPTIONS:
            options[_ALIASES.get(key, key)] = value
    return options
