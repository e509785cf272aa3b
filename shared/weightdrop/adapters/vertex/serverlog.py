"""The last lines of a model server's log, out of Cloud Logging.

Vertex AI sends what containers write to the log `prediction_container`, and its
own message of a failed deployment only links there.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from weightdrop.adapters.vertex.clients import Clients
from weightdrop.core.deployment.platform import ServerLog

GOOGLE = "https://logging.googleapis.com"

_LINES = 40
_LINE = 500
"""Characters of a line that are kept."""
_ANSWER = 4 << 20
"""Bytes of an answer that are read; an entry has 256 KiB at most."""
_TIMEOUT = (5.0, 15.0)
_LOG = "aiplatform.googleapis.com%2Fprediction_container"
_FIELDS = "entries(textPayload,jsonPayload)"
_DENIED = (401, 403)
_GOOD = 200


class ServerLogs:
    """Reads the logs of deployed models.

    Args:
        clients: Where sessions come from.
        project: Whose logs they are.
        url: Base URL of Cloud Logging; empty where there is none.
    """

    def __init__(self, clients: Clients, *, project: str, url: str) -> None:
        self._clients = clients
        self._project = project
        self._url = url.rstrip("/")

    def tail(
        self, endpoint_id: str, deployed_model_id: str, since: datetime
    ) -> ServerLog:
        """The newest lines since a time, oldest first; a hint where there are none."""
        if not self._url:
            return ServerLog(())
        import requests  # noqa: PLC0415  # costs a cold start
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

        body = {
            "resourceNames": [f"projects/{self._project}"],
            "filter": self._filter(endpoint_id, deployed_model_id, since),
            "orderBy": "timestamp desc",
            "pageSize": _LINES,
        }
        try:
            answer = self._clients.http().post(
                f"{self._url}/v2/entries:list?fields={_FIELDS}",
                json=body,
                timeout=_TIMEOUT,
                stream=True,
            )
            with answer:
                if answer.status_code in _DENIED:
                    return _hint("grant the functions logging.logEntries.list")
                if answer.status_code != _GOOD:
                    return _hint(f"Cloud Logging answered HTTP {answer.status_code}")
                found = json.loads(answer.raw.read(_ANSWER, decode_content=True))
        except (requests.RequestException, GoogleAuthError, ValueError) as error:
            return _hint(f"Cloud Logging did not answer: {error}"[:_LINE])
        entries = found.get("entries", ()) if isinstance(found, dict) else ()
        lines = [line for entry in reversed(entries) for line in _lines(entry)]
        return ServerLog(tuple(lines[-_LINES:]))

    def _filter(self, endpoint_id: str, deployed_model_id: str, since: datetime) -> str:
        start = since.astimezone(UTC).isoformat().replace("+00:00", "Z")
        wanted = {
            "logName": f"projects/{self._project}/logs/{_LOG}",
            "resource.type": "aiplatform.googleapis.com/Endpoint",
            "resource.labels.endpoint_id": endpoint_id,
            "labels.deployed_model_id": deployed_model_id,
        }
        parts = [f"{name}={json.dumps(value)}" for name, value in wanted.items()]
        return " AND ".join([*parts, f'timestamp>="{start}"'])


def _hint(why: str) -> ServerLog:
    return ServerLog((), hint=f"The server's log could not be read here: {why}.")


def _lines(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return []
    payload = entry.get("jsonPayload")
    text = entry.get("textPayload")
    if isinstance(payload, dict):
        text = payload.get("message") or json.dumps(payload)
    return [line[:_LINE] for line in str(text or "").splitlines() if line.strip()]
