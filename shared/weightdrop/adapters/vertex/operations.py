"""Long-running operations, read as plain JSON.

Google's own reader of operations refuses an answer with a field that its
version does not know; an operation that cannot be read would never end for us.
"""

from __future__ import annotations

from typing import Any

from weightdrop.adapters.vertex.clients import Clients, retry
from weightdrop.adapters.vertex.faults import reason_of, translated
from weightdrop.adapters.vertex.names import ours, region_of
from weightdrop.errors import NotFoundError
from weightdrop.ports import Fault, Operation

JSON = dict[str, Any]
_TIMEOUT = (5.0, 30.0)
_TAIL = 40
_DEBUG_INFO = "google.rpc.DebugInfo"
_BAD = 400


class OperationReader:
    """Reads operations.

    Args:
        clients: Where sessions come from.
        project: Our project id, for names.
    """

    def __init__(self, clients: Clients, project: str) -> None:
        self._clients = clients
        self._project = project

    def get(self, name: str) -> Operation | None:
        """The operation as it is now; None if the platform forgot it."""
        try:
            body = self._fetch(name)
        except NotFoundError:
            return None
        return self.read(body)

    def pending(self, parent: str, message: str) -> Operation | None:
        """The newest operation below a resource that is still under way.

        Args:
            parent: Name of the resource.
            message: Name of the operation's metadata message.
        """
        try:
            body = self._fetch(f"{parent}/operations")
        except NotFoundError:
            return None
        found = [
            item
            for item in body.get("operations", ())
            if not item.get("done") and kind_of(item) == message
        ]
        found.sort(key=_created)
        return self.read(found[-1]) if found else None

    def read(self, body: JSON) -> Operation:
        """An operation's JSON as ours."""
        metadata = body.get("metadata", {})
        error = body.get("error")
        return Operation(
            name=ours(str(body.get("name", "")), self._project),
            done=bool(body.get("done")),
            stage=str(metadata.get("deploymentStage", "")),
            fault=_fault(error, kind_of(body)) if error else None,
        )

    def _fetch(self, path: str) -> JSON:
        from google.api_core import exceptions  # noqa: PLC0415  # costs a cold start

        url = f"{self._clients.base(region_of(path))}/v1/{path}"

        def get() -> JSON:
            answer = self._clients.http().get(url, timeout=_TIMEOUT)
            if answer.status_code >= _BAD:
                raise exceptions.from_http_response(answer)
            found: JSON = answer.json()
            return found

        with translated(f"read {path}"):
            fetched: JSON = retry()(get)()
            return fetched


def kind_of(body: JSON) -> str:
    """Name of an operation's metadata message, without its package."""
    return str(body.get("metadata", {}).get("@type", "")).rpartition(".")[2]


def _created(body: JSON) -> str:
    generic = body.get("metadata", {}).get("genericMetadata", {})
    return str(generic.get("createTime", ""))


def _fault(error: JSON, kind: str) -> Fault:
    message = str(error.get("message", ""))
    code = int(error.get("code", 0))
    tail: tuple[str, ...] = ()
    for detail in error.get("details", ()):
        if str(detail.get("@type", "")).endswith(_DEBUG_INFO):
            lines = detail.get("stackEntries", ())
            tail = tuple(str(line) for line in lines)[-_TAIL:]
    reason = reason_of(code, message, kind=kind)
    return Fault(reason=reason, message=message, log_tail=tail)
