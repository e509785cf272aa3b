"""Long-running operations: written first, worked on after, picked up when restarted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from weightdrop.local.vertex.faults import ApiError, not_found
from weightdrop.local.vertex.injection import Injection
from weightdrop.local.vertex.names import last, new_id
from weightdrop.local.vertex.store import Store, now

JSON = dict[str, Any]
_KEPT = 2000
_TYPE = "type.googleapis.com/google.cloud.aiplatform"
log = logging.getLogger(__name__)


def typed(message: str, version: str, body: JSON) -> JSON:
    """`body` as a google.protobuf.Any of one of Vertex AI's messages."""
    return {"@type": f"{_TYPE}.{version}.{message}", **body}


EMPTY: JSON = {"@type": "type.googleapis.com/google.protobuf.Empty"}


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler is given: the request, and a way to tell how far it is.

    Attributes:
        number: The operation's own id.
        version: API version of the request that started it.
        request: What the service wrote down when it started the operation.
        tell: Adds fields to the operation's metadata.
    """

    number: str
    version: str
    request: JSON
    tell: Callable[[JSON], None]

    def stage(self, name: str) -> None:
        """Show how far a deployment is (DeploymentStage's names)."""
        self.tell({"deploymentStage": name})


Handler = Callable[[Work], Awaitable[JSON]]
Undo = Callable[[Work], Awaitable[None]]


class Operations:
    """Starts, keeps, resumes and ends operations.

    A handler must be safe to run again from its beginning: that is what happens
    when the stand-in was killed in the middle.

    Args:
        store: Where operations are kept.
        injection: Failures on demand.
    """

    def __init__(self, store: Store, injection: Injection) -> None:
        self._store = store
        self._injection = injection
        self._handlers: dict[str, Handler] = {}
        self._undo: dict[str, Undo] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._cancelled: set[str] = set()

    def handle(self, kind: str, handler: Handler, *, undo: Undo | None = None) -> None:
        """Name the handler of one kind of operation.

        Args:
            kind: Of the operation.
            handler: Does its work, and leaves nothing behind if it fails.
            undo: Takes back what was written when it was started, if it fails
                before the handler is called.
        """
        self._handlers[kind] = handler
        if undo is not None:
            self._undo[kind] = undo

    def start(
        self,
        kind: str,
        *,
        parent: str,
        message: str,
        version: str,
        request: JSON,
        metadata: JSON | None = None,
    ) -> JSON:
        """Write an operation down and begin it.

        Args:
            kind: Which handler.
            parent: Resource name that the operation's name begins with.
            message: Name of the metadata message.
            version: API version of the request.
            request: What the handler needs; JSON.
            metadata: Further fields of the metadata message.

        Returns:
            The operation as it is at its start.
        """
        number, time = new_id(), now()
        generic = {"createTime": time, "updateTime": time}
        record: JSON = {
            "name": f"{parent}/operations/{number}",
            "kind": kind,
            "version": version,
            "request": request,
            "metadata": typed(
                message, version, {"genericMetadata": generic, **(metadata or {})}
            ),
            "done": False,
        }
        with self._store.transaction():
            self._store.put("operation", number, record)
            self._prune()
        self._begin(number, record)
        return self.shown(record)

    def resume(self) -> None:
        """Begin again whatever was under way when the stand-in ended."""
        for number, record in self._store.scan("operation"):
            if not record["done"]:
                self._begin(number, record)

    def pending(self, kind: str) -> list[JSON]:
        """The requests of one kind's operations that are not done."""
        return [
            record["request"]
            for _, record in self._store.scan("operation")
            if record["kind"] == kind and not record["done"]
        ]

    def get(self, number: str) -> JSON:
        """One operation; ApiError NOT_FOUND if there is none."""
        return self.shown(self._record(number))

    def every(self, parent: str) -> list[JSON]:
        """The operations below a resource name, newest first."""
        found = [
            self.shown(record)
            for _, record in self._store.scan("operation")
            if record["name"].startswith(parent + "/")
        ]
        return sorted(
            found,
            key=lambda item: item["metadata"]["genericMetadata"]["createTime"],
            reverse=True,
        )

    async def wait(self, number: str, seconds: float) -> JSON:
        """One operation when it is done, or after `seconds` as it is then."""
        self._record(number)
        task = self._tasks.get(number)
        if task is not None:
            await asyncio.wait([task], timeout=seconds)
        return self.get(number)

    def cancel(self, number: str) -> None:
        """Ask an operation to end; one that is done stays as it is."""
        self._record(number)
        task = self._tasks.get(number)
        if task is not None:
            self._cancelled.add(number)
            task.cancel()

    def cancelling(self, number: str) -> bool:
        """Whether an operation ends because a client asked it to."""
        return number in self._cancelled

    def delete(self, number: str) -> None:
        """Forget an operation that is done."""
        if not self._record(number)["done"]:
            raise ApiError("FAILED_PRECONDITION", f"Operation {number} is not done.")
        self._store.delete("operation", number)

    async def close(self) -> None:
        """Stop working; what is under way is resumed at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    def shown(record: JSON) -> JSON:
        """The operation as the API shows it."""
        fields = ("name", "metadata", "done", "error", "response")
        return {field: record[field] for field in fields if field in record}

    def _record(self, number: str) -> JSON:
        record = self._store.get("operation", last(number))
        if record is None:
            raise not_found("Operation", number)
        return record

    def _begin(self, number: str, record: JSON) -> None:
        task = asyncio.create_task(self._run(number, record), name=record["name"])
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _run(self, number: str, record: JSON) -> None:
        work = Work(
            number=number,
            version=record["version"],
            request=record["request"],
            tell=lambda fields: self._update(number, metadata=fields),
        )
        try:
            await self._meet(work, record)
            response = await self._handlers[record["kind"]](work)
        except asyncio.CancelledError:
            if number not in self._cancelled:
                raise
            self._cancelled.discard(number)
            error = ApiError("CANCELLED", "The operation was cancelled.")
            self._update(number, done=True, error=error.rpc_status())
        except ApiError as error:
            self._update(number, done=True, error=error.rpc_status())
        except Exception as error:
            log.exception("operation %s broke", record["name"])
            fault = ApiError("INTERNAL", f"Internal error: {error!r}")
            self._update(number, done=True, error=fault.rpc_status())
        else:
            self._update(number, done=True, response=response)

    async def _meet(self, work: Work, record: JSON) -> None:
        """Fail as a test has ordered; then nothing of the operation is left."""
        kind, where = record["kind"], record["name"].partition("/operations/")[0]
        try:
            await self._injection.meet("operation", f"{kind} {where}")
        except (ApiError, asyncio.CancelledError) as error:
            ended = isinstance(error, ApiError) or self.cancelling(work.number)
            if ended and kind in self._undo:
                await self._undo[kind](work)
            raise

    def _update(
        self, number: str, *, metadata: JSON | None = None, **fields: Any
    ) -> None:
        record = self._record(number)
        record["metadata"].update(metadata or {})
        record["metadata"]["genericMetadata"]["updateTime"] = now()
        record.update(fields)
        self._store.put("operation", number, record)

    def _prune(self) -> None:
        done = [item for item in self._store.scan("operation") if item[1]["done"]]
        if len(done) <= _KEPT:
            return
        done.sort(key=lambda it: it[1]["metadata"]["genericMetadata"]["updateTime"])
        for number, _ in done[: len(done) - _KEPT]:
            self._store.delete("operation", number)
