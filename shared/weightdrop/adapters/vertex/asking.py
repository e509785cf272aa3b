"""One short prompt through an endpoint, as a user would send it."""

from __future__ import annotations

import ipaddress
from typing import Any

from weightdrop.adapters.vertex.clients import Clients
from weightdrop.adapters.vertex.faults import translated
from weightdrop.adapters.vertex.names import region_of
from weightdrop.errors import PermanentError, TransientError
from weightdrop.ports import Answer, Endpoint

_TIMEOUT = (5.0, 60.0)
_TOKENS = 4
_OK = 200
_LATER = frozenset({408, 425, 429, 502, 503, 504})
_HEADER = "X-Vertex-AI-Deployed-Model-Id"
_SHOWN = 500


def ask(
    clients: Clients, *, endpoint: Endpoint, base: str, prompt: str, model: str
) -> Answer:
    """Send a prompt by rawPredict.

    Args:
        clients: Where the session comes from.
        endpoint: Whom to ask.
        base: Base URL of a stand-in; empty for the endpoint's dedicated name,
            or the region's where it has none.
        prompt: What to complete.
        model: Name that the model is served under.

    Raises:
        TransientError: The server is not there yet or too busy.
        PermanentError: It answers with an error of its own.
    """
    host = base or f"https://{endpoint.dns}"
    if not base and not endpoint.dns:
        host = clients.base(region_of(endpoint.name))
    body = {
        "model": model,
        "prompt": prompt,
        "max_tokens": _TOKENS,
        "temperature": 0,
    }
    url = f"{host}/v1/{endpoint.name}:rawPredict"
    with translated(f"ask {endpoint.name}"):
        answer = clients.http().post(
            url, json=body, timeout=_TIMEOUT, verify=not _private(endpoint.dns)
        )
    if answer.status_code in _LATER:
        raise TransientError(f"{endpoint.name} cannot answer now: {_words(answer)}")
    if answer.status_code != _OK:
        raise PermanentError(f"{endpoint.name} does not answer: {_words(answer)}")
    return Answer(
        deployed_model_id=answer.headers.get(_HEADER, ""), text=_text(endpoint, answer)
    )


def _private(dns: str) -> bool:
    """Whether an endpoint is reached by an address of a network of ours.

    Vertex AI signs the certificate of such an endpoint itself, for no name.
    """
    try:
        return ipaddress.ip_address(dns).is_private
    except ValueError:
        return False


def _words(answer: Any) -> str:
    return f"HTTP {answer.status_code}: {answer.text[:_SHOWN]}"


def _text(endpoint: Endpoint, answer: Any) -> str:
    try:
        return str(answer.json()["choices"][0]["text"])
    except (ValueError, LookupError, TypeError) as error:
        raise PermanentError(
            f"{endpoint.name} gives an answer without choices: {_words(answer)}"
        ) from error
