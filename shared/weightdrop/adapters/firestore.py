"""The Records port on Firestore.

Every document carries the codec's JSON in `record` and beside it only what is
queried. Writes are batches guarded by the update time of the document that was
read: no transaction is ever open, so nobody waits for a lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from weightdrop import codec
from weightdrop.adapters.faults import translated
from weightdrop.adapters.firestore_documents import (
    EVENTS,
    event_document,
    fields_of,
    read_version,
    record_in,
    version_of,
)
from weightdrop.adapters.firestore_line import take_turn
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Message, Revision
from weightdrop.errors import PermanentError, StaleError
from weightdrop.ports import Page, Versioned

if TYPE_CHECKING:
    from google.cloud import firestore

DEPLOYMENTS = "deployments"
REVISIONS = "revisions"

TIMEOUT_SECONDS = 20.0
"""How long one call may take, its retries included."""

_EVENTS_PER_WRITE = 10_000
"""Room between the event numbers of two writes."""


@dataclass(frozen=True, slots=True)
class Index:
    """A composite index that a query needs.

    Attributes:
        collection: Collection id; the scope is the collection.
        fields: Path and direction ("ASCENDING", "DESCENDING"), in order.
    """

    collection: str
    fields: tuple[tuple[str, str], ...]


INDEXES = (Index(DEPLOYMENTS, (("phase", "ASCENDING"), ("updated", "DESCENDING"))),)
"""Every composite index; all other queries live off single-field indexes."""

UNINDEXED = (
    (DEPLOYMENTS, "record"),
    (DEPLOYMENTS, "nonce"),
    (REVISIONS, "record"),
    (EVENTS, "record"),
)
"""Fields that need no index of their own: large, and never queried."""


class FirestoreRecords:
    """Records in Firestore.

    Args:
        project: Google Cloud project id.
        endpoint: "host:port" of an emulator; empty for Google's, or for what
            FIRESTORE_EMULATOR_HOST names.
        database: The database's id.
    """

    def __init__(
        self, project: str, *, endpoint: str = "", database: str = "(default)"
    ) -> None:
        self._project = project
        self._endpoint = endpoint
        self._database = database

    @cached_property
    def _client(self) -> firestore.Client:
        from google.cloud import firestore  # noqa: PLC0415  # costs a cold start

        if not self._endpoint:
            with translated(f"reach Firestore of project {self._project}"):
                return firestore.Client(project=self._project, database=self._database)
        from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415

        client = firestore.Client(
            project=self._project,
            database=self._database,
            credentials=AnonymousCredentials(),
        )
        # The client takes an emulator only from the environment, or like this.
        client._emulator_host = self._endpoint  # noqa: SLF001
        return client

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if "_client" in self.__dict__:
            self.__dict__.pop("_client").close()

    def get(self, deployment_id: str) -> Versioned | None:
        """See weightdrop.ports.Records."""
        with translated(f"read the record {deployment_id}"):
            snapshot = self._reference(deployment_id).get(timeout=TIMEOUT_SECONDS)
        if not snapshot.exists:
            return None
        fields = snapshot.to_dict() or {}
        version = version_of(snapshot.update_time, fields.get("writes", 0))
        return Versioned(codec.decode_deployment(fields.get("record", "")), version)

    def create(
        self, deployment: Deployment, *, events: tuple[Message, ...] = ()
    ) -> Versioned:
        """See weightdrop.ports.Records."""
        fields = fields_of(deployment, writes=1)
        batch = self._client.batch()
        batch.create(self._reference(deployment.id), fields)
        return self._commit(batch, deployment, fields=fields, events=events)

    def put(
        self,
        deployment: Deployment,
        *,
        version: str,
        events: tuple[Message, ...] = (),
    ) -> Versioned:
        """See weightdrop.ports.Records."""
        guard, writes = read_version(version)
        fields = fields_of(deployment, writes=writes + 1)
        batch = self._client.batch()
        batch.update(
            self._reference(deployment.id),
            fields,
            option=self._client.write_option(last_update_time=guard),
        )
        return self._commit(batch, deployment, fields=fields, events=events)

    def turn(
        self, line: str, *, now: datetime, every: float, patience: float
    ) -> datetime | None:
        """See weightdrop.ports.Records."""
        with translated(f"take a place in the line {line}"):
            return take_turn(
                self._client, line, now=now, every=every, patience=patience
            )

    def due(self, now: datetime, *, limit: int) -> tuple[str, ...]:
        """See weightdrop.ports.Records."""
        from google.cloud.firestore import FieldFilter  # noqa: PLC0415

        if limit < 1:
            return ()
        query = (
            self._client.collection(DEPLOYMENTS)
            .where(filter=FieldFilter("due", "<=", now))
            .order_by("due")
            .limit(limit)
            .select([])
        )
        with translated("look for what is due"):
            found = query.get(timeout=TIMEOUT_SECONDS)
        return tuple(snapshot.id for snapshot in found)

    def page(self, *, phase: Phase | None, size: int, token: str) -> Page:
        """See weightdrop.ports.Records."""
        from google.cloud.firestore import FieldFilter, Query  # noqa: PLC0415

        if size < 1:
            raise PermanentError(f"A page has at least one record, not {size}.")
        query = self._client.collection(DEPLOYMENTS).select(["record"])
        if phase is not None:
            query = query.where(filter=FieldFilter("phase", "==", phase.value))
        query = query.order_by("updated", direction=Query.DESCENDING)
        query = query.order_by("__name__", direction=Query.DESCENDING)
        if token:
            updated, last = codec.read_page_token(token, phase=phase)
            cursor = {"updated": updated, "__name__": self._reference(last)}
            query = query.start_after(cursor)
        with translated("list the records"):
            found = query.limit(size + 1).get(timeout=TIMEOUT_SECONDS)
        deployments = tuple(
            codec.decode_deployment(record_in(snapshot)) for snapshot in found[:size]
        )
        more = len(found) > size
        following = codec.page_token(deployments[-1], phase=phase) if more else ""
        return Page(deployments, following)

    def serving(self, *, after: str, limit: int) -> tuple[Deployment, ...]:
        """See weightdrop.ports.Records."""
        from google.cloud.firestore import FieldFilter  # noqa: PLC0415

        if limit < 1:
            return ()
        query = (
            self._client.collection(DEPLOYMENTS)
            .where(filter=FieldFilter("serving", "==", True))  # noqa: FBT003 - a value
            .order_by("__name__")
            .select(["record"])
        )
        if after:
            query = query.start_after({"__name__": self._reference(after)})
        with translated("list what serves"):
            found = query.limit(limit).get(timeout=TIMEOUT_SECONDS)
        return tuple(codec.decode_deployment(record_in(it)) for it in found)

    def revisions(self, deployment_id: str) -> tuple[Revision, ...]:
        """See weightdrop.ports.Records."""
        collection = self._reference(deployment_id).collection(REVISIONS)
        with translated(f"read the revisions of {deployment_id}"):
            found = collection.get(timeout=TIMEOUT_SECONDS)
        revisions = [codec.decode_revision(record_in(snapshot)) for snapshot in found]
        return tuple(
            sorted(revisions, key=lambda it: (it.number, it.created, it.digest))
        )

    def events(self, deployment_id: str, *, limit: int) -> tuple[Message, ...]:
        """See weightdrop.ports.Records."""
        from google.cloud.firestore import Query  # noqa: PLC0415

        if limit < 1:
            return ()
        query = (
            self._reference(deployment_id)
            .collection(EVENTS)
            .order_by("sequence", direction=Query.DESCENDING)
            .limit(limit)
        )
        with translated(f"read the events of {deployment_id}"):
            found = query.get(timeout=TIMEOUT_SECONDS)
        return tuple(codec.decode_message(record_in(it)) for it in reversed(found))

    # -------------------------------------------------------------------------

    def _reference(self, deployment_id: str) -> Any:
        return self._client.collection(DEPLOYMENTS).document(deployment_id)

    def _commit(
        self,
        batch: Any,
        deployment: Deployment,
        *,
        fields: dict[str, Any],
        events: tuple[Message, ...],
    ) -> Versioned:
        from google.api_core import exceptions  # noqa: PLC0415

        reference = self._reference(deployment.id)
        for revision in deployment.revisions:
            document = reference.collection(REVISIONS).document(revision.digest)
            batch.set(
                document,
                {"record": codec.encode(revision), "number": revision.number},
            )
        with translated(f"write the record {deployment.id}"):
            for event, place in self._new(reference, events):
                number = fields["writes"] * _EVENTS_PER_WRITE + place
                batch.create(*event_document(reference, event, sequence=number))
            try:
                results = batch.commit(timeout=TIMEOUT_SECONDS)
            except (
                exceptions.Aborted,
                exceptions.AlreadyExists,
                exceptions.FailedPrecondition,
                exceptions.NotFound,
            ) as error:
                return self._after_conflict(deployment, fields["nonce"], error)
        return Versioned(
            deployment, version_of(results[0].update_time, fields["writes"])
        )

    def _new(
        self, reference: Any, events: tuple[Message, ...]
    ) -> Iterable[tuple[Message, int]]:
        """The events that are not there yet, each with its place.

        Whoever adds one of them meanwhile changes the guarded record too, so
        our batch fails: looking before writing is safe.
        """
        distinct = list({event.id: event for event in reversed(events)}.values())[::-1]
        if not distinct:
            return []
        documents = [reference.collection(EVENTS).document(it.id) for it in distinct]
        found = self._client.get_all(
            documents, field_paths=["sequence"], timeout=TIMEOUT_SECONDS
        )
        there = {snapshot.id for snapshot in found if snapshot.exists}
        return [
            (event, place)
            for place, event in enumerate(distinct)
            if event.id not in there
        ]

    def _after_conflict(
        self, deployment: Deployment, nonce: str, error: Exception
    ) -> Versioned:
        """Tell a lost race from our own write, whose answer was lost.

        The client repeats a commit that got no answer; the repetition then
        collides with what it wrote itself.
        """
        snapshot = self._reference(deployment.id).get(timeout=TIMEOUT_SECONDS)
        fields = snapshot.to_dict() or {}
        if fields.get("nonce") == nonce:
            return Versioned(
                deployment, version_of(snapshot.update_time, fields["writes"])
            )
        raise StaleError(
            f"The record {deployment.id} was written by somebody else first."
        ) from error
