"""What the outside world must offer, as Protocols whose docstrings are contracts.

Every implementation raises only `weightdrop.errors`: TransientError when the
same call may succeed later, NotFoundError, StaleError and other PermanentErrors
as the methods say. One suite in tests/contracts runs over all implementations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from weightdrop.core.artifacts.keeping import Keeping
from weightdrop.core.artifacts.objects import StoredObject
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.platform import (
    Answer,
    DeploySpec,
    Endpoint,
    EndpointSpec,
    Fault,
    ModelSpec,
    Operation,
    Resource,
    ServerLog,
    ServerSpec,
)
from weightdrop.core.deployment.record import Deployment, Message, Revision

__all__ = [
    "Answer",
    "Artifacts",
    "Bus",
    "Clock",
    "DeadLetter",
    "DeadLetters",
    "DeploySpec",
    "Endpoint",
    "EndpointSpec",
    "Fault",
    "Follower",
    "Keeping",
    "Listing",
    "ModelSpec",
    "Operation",
    "Page",
    "Platform",
    "Records",
    "Resource",
    "ServerLog",
    "ServerSpec",
    "Versioned",
]


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """The present, timezone-aware, in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects below a prefix, and whether the listing was cut at its limit."""

    objects: tuple[StoredObject, ...]
    truncated: bool


class Artifacts(Protocol):
    """Read access to the bytes that users drop."""

    def list(self, bucket: str, prefix: str, *, limit: int) -> Listing:
        """The live objects whose names begin with `prefix` + "/".

        An empty prefix lists the bucket. At most `limit` objects, in name
        order; `truncated` says that there are more. Raises NotFoundError if
        the bucket does not exist; no objects is an empty listing.
        """
        ...

    def stat(self, bucket: str, name: str) -> StoredObject:
        """The live generation of one object; NotFoundError if there is none."""
        ...

    def read(
        self, bucket: str, name: str, *, generation: int, start: int, length: int
    ) -> bytes:
        """Bytes [start, start + length) of exactly this generation.

        Shorter where the object ends; empty from its end on. Raises
        StaleError if that generation is no longer there. Safe to call from
        several threads. Generation 0 reads whatever is there.
        """
        ...

    def keeping(self, bucket: str) -> Keeping | None:
        """How a bucket keeps what is in it; None where there are no buckets.

        Raises NotFoundError if it does not exist, another PermanentError if
        that may not be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Versioned:
    """A record with the version that guards the next write."""

    deployment: Deployment
    version: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; an empty token ends it."""

    deployments: tuple[Deployment, ...]
    next_token: str


class Records(Protocol):
    """The records: one document a deployment, guarded by its version."""

    def get(self, deployment_id: str) -> Versioned | None:
        """The record, or None."""
        ...

    def create(
        self, deployment: Deployment, *, events: tuple[Message, ...] = ()
    ) -> Versioned:
        """Write a new record with its revisions and events, all or nothing.

        Raises StaleError if the id exists: exactly one of many wins.
        """
        ...

    def put(
        self,
        deployment: Deployment,
        *,
        version: str,
        events: tuple[Message, ...] = (),
    ) -> Versioned:
        """Replace the record if it still has `version`, all or nothing.

        The revisions it holds are also kept as history, and `events` are
        added to the deployment's events (an id that is there already is left
        as it is). Raises StaleError when another write came first.
        """
        ...

    def turn(
        self, line: str, *, now: datetime, every: float, patience: float
    ) -> datetime | None:
        """When one's turn in a line is, `every` seconds before the next.

        None, and none is taken, beyond `patience` seconds. No two are the same;
        TransientError if others were faster.
        """
        ...

    def due(self, now: datetime, *, limit: int) -> tuple[str, ...]:
        """Ids whose `due` is not after `now`, the longest due first.

        Costs no more than what it returns, whatever the number of records.
        """
        ...

    def page(self, *, phase: Phase | None, size: int, token: str) -> Page:
        """Records, newest update first, of one phase if given.

        Raises PermanentError for a token that this port did not give out.
        """
        ...

    def serving(self, *, after: str, limit: int) -> tuple[Deployment, ...]:
        """Records with a revision that is ready, by id, from behind `after` on."""
        ...

    def revisions(self, deployment_id: str) -> tuple[Revision, ...]:
        """All revisions ever written, oldest first."""
        ...

    def events(self, deployment_id: str, *, limit: int) -> tuple[Message, ...]:
        """The newest `limit` events of a deployment, oldest first."""
        ...


class Bus(Protocol):
    """At least once delivery of messages to a topic's subscribers."""

    def publish(self, message: Message) -> None:
        """Return once the message is safe.

        Delivered at least once, in order within one ordering key. Raises
        TransientError when it is not known to be safe; publishing again is
        harmless because consumers drop repeats by id.
        """
        ...


class Follower(Protocol):
    """A look at what is published, which takes nothing from anybody else."""

    def follow(
        self,
        topic: str,
        *,
        from_start: bool = False,
        idle_seconds: float | None = None,
    ) -> AbstractContextManager[Iterator[Message]]:
        """The messages of a topic as they come, in order within a key.

        Everything published after the context was entered is in it, with
        `from_start` also what the topic still retains. The iterator waits for
        the next message; it ends when none came for `idle_seconds`, or never.
        What was set up for it is gone when the context is left. Raises
        NotFoundError if there is no such topic and the bus knows its topics.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be handled.

    Attributes:
        id: Names it, for a re-drive.
        origin: Topic it goes to when it is re-driven; empty if unknown.
        reason: Why it was given up.
        attempts: How often it was tried; 0 if nobody counted.
        time: When it was given up.
        ordering_key: Of the message; usually the deployment id.
        data: Body of the message, as text.
    """

    id: str
    origin: str
    reason: str
    attempts: int
    time: datetime
    ordering_key: str
    data: str


class DeadLetters(Protocol):
    """What could not be handled, kept until a person has seen to it."""

    def letters(self, *, limit: int) -> tuple[DeadLetter, ...]:
        """At most `limit` of them, oldest first; looking takes nothing away."""
        ...

    def redrive(self, letter_id: str) -> DeadLetter:
        """Publish it anew, as it was, to the topic it came from.

        It is a dead letter no more then. Raises NotFoundError if there is none
        of this id, ConflictError if nobody knows where it came from.
        """
        ...


class Platform(Protocol):
    """Vertex AI, as far as we need it. Every call returns as soon as it can.

    Creating what exists is not an error: the call returns a done operation.
    Removing what does not exist is not an error either.
    """

    def upload_model(self, spec: ModelSpec) -> Operation:
        """Start to create the model; done at once if it exists."""
        ...

    def model_name(self, region: str, model_id: str) -> str:
        """The full resource name a model of this id has; no call is made."""
        ...

    def model_exists(self, name: str) -> bool:
        """Whether the model is there."""
        ...

    def delete_model(self, name: str) -> None:
        """Start to delete the model. TransientError while it is in use."""
        ...

    def create_endpoint(self, spec: EndpointSpec) -> Operation:
        """Start to create a dedicated endpoint; done at once if it exists."""
        ...

    def endpoint_name(self, region: str, endpoint_id: str) -> str:
        """The full resource name an endpoint of this id has; no call is made."""
        ...

    def endpoint(self, name: str) -> Endpoint | None:
        """The endpoint as it is now, or None."""
        ...

    def delete_endpoint(self, name: str) -> None:
        """Start to delete the endpoint. TransientError while it is in use."""
        ...

    def deploy(self, spec: DeploySpec) -> Operation:
        """Start to deploy; done at once if that deployed model is there.

        Raises QuotaError when the platform refuses at once.
        """
        ...

    def set_traffic(self, endpoint: str, traffic: tuple[tuple[str, int], ...]) -> None:
        """Set the traffic split, 100 percent; NotFoundError if there is no endpoint."""
        ...

    def undeploy(self, endpoint: str, deployed_model_id: str) -> Operation:
        """Start to undeploy; its traffic goes to what is left."""
        ...

    def operation(self, name: str) -> Operation | None:
        """The operation as it is now; None if the platform forgot it."""
        ...

    def server_log(
        self, endpoint: str, deployed_model_id: str, *, since: datetime
    ) -> ServerLog:
        """What the server of a deployed model wrote last, also after it ended.

        Never fails: what is being reported must not be lost with it.
        """
        ...

    def ask(self, endpoint: Endpoint, prompt: str, *, model: str) -> Answer:
        """Send one short prompt through the endpoint's traffic split.

        Raises TransientError when the server is not there yet or too busy,
        PermanentError when it answers with an error of its own.
        """
        ...

    def labelled(self, region: str) -> tuple[Resource, ...]:
        """All models and endpoints in `region` that carry our label.

        Costs a call for many of them, not one for each.
        """
        ...
