"""What a client of Firestore asks, counted where it leaves the process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import (
    FirestoreGrpcTransport,
)
from google.cloud.firestore_v1.types import StructuredQuery

from weightdrop.adapters.firestore import FirestoreRecords

_EQUAL = StructuredQuery.FieldFilter.Operator.EQUAL
_NAME = "__name__"


@dataclass
class Traffic(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Calls and answers of one client.

    Attributes:
        calls: How often each method was called.
        documents: How many documents came back, by method.
        queries: Every query, as it was sent.
    """

    calls: Counter[str] = field(default_factory=Counter)
    documents: Counter[str] = field(default_factory=Counter)
    queries: list[StructuredQuery] = field(default_factory=list)

    def forget(self) -> None:
        """Count from nothing."""
        self.calls.clear()
        self.documents.clear()
        self.queries.clear()

    @property
    def summary(self) -> tuple[dict[str, int], dict[str, int]]:
        """Calls and documents by method."""
        return dict(self.calls), dict(self.documents)

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], details: Any, request: Any
    ) -> Any:
        """Count a call that has one answer."""
        self._count(details)
        return continuation(details, request)

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], details: Any, request: Any
    ) -> Any:
        """Count a call, and the documents in its answers."""
        method = self._count(details)
        if method == "RunQuery":
            self.queries.append(StructuredQuery(request.structured_query))
        return _Answers(continuation(details, request), self.documents, method)

    def _count(self, details: Any) -> str:
        method = str(details.method).rpartition("/")[2]
        self.calls[method] += 1
        return method


class _Answers:
    """The stream of answers of one call, which counts as it is read."""

    def __init__(self, stream: Any, documents: Counter[str], method: str) -> None:
        self._stream = stream
        self._documents = documents
        self._method = method

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        answer = next(self._stream)
        held = "document" if self._method == "RunQuery" else "found"
        if held in answer:
            self._documents[self._method] += 1
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def counted(records: FirestoreRecords) -> Traffic:
    """Have the traffic of these records counted from now on."""
    traffic = Traffic()
    client = records._client
    channel = client._emulator_channel(FirestoreGrpcTransport)
    transport = FirestoreGrpcTransport(channel=grpc.intercept_channel(channel, traffic))
    client._firestore_api_internal = FirestoreClient(transport=transport)
    return traffic


def index_of(query: StructuredQuery) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The collection and the fields by which Firestore must find a query's answers.

    Fields that are compared for equality first, then those that order; the name,
    which every index ends with, is left out.
    """
    filters = query.where.composite_filter.filters or [query.where]
    equal = [
        (one.field_filter.field.field_path, "ASCENDING")
        for one in filters
        if one.field_filter.op == _EQUAL
    ]
    ordered = [(one.field.field_path, one.direction.name) for one in query.order_by]
    compared = {one.field_filter.field.field_path for one in filters} - {""}
    fields = tuple(it for it in dict.fromkeys(equal + ordered) if it[0] != _NAME)
    if compared - {name for name, _ in fields}:
        raise LookupError(f"compared and neither equal nor ordered: {compared}")
    return query.from_[0].collection_id, fields
