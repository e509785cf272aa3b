"""What Firestore is asked costs what is active, and nothing for what rests.

The emulator has no indexes and scans, so its time says nothing. The real service
reads what a query answers, if the query has its index: so the answers are counted
where they arrive, and every query is held to an index that Terraform makes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from contracts.counting import counted, index_of
from fakes.builders import NOON, make_deployment, make_message, make_revision
from fakes.bus import MemoryBus
from fakes.clock import FakeClock
from fakes.platform import MemoryPlatform
from weightdrop.adapters.firestore import INDEXES, UNINDEXED, FirestoreRecords
from weightdrop.adapters.firestore_documents import EVENTS, EXPIRES
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment
from weightdrop.ports import Operation
from weightdrop.services.reconcile import Reconciler
from weightdrop.services.tick import Tick
from weightdrop.settings import Settings

pytestmark = pytest.mark.emulators
ACTIVE = 5


@pytest.fixture
def records(firestore_endpoint: str) -> Iterator[FirestoreRecords]:
    """Records in a project of their own."""
    port = FirestoreRecords(f"p{uuid.uuid4().hex[:12]}", endpoint=firestore_endpoint)
    yield port
    port.close()


def deployment(number: int, *, active: bool) -> Deployment:
    """Ready and resting, or deploying and due."""
    revision = make_revision(
        phase=Phase.DEPLOYING if active else Phase.READY,
        operation="operations/1" if active else "",
        deployed=True,
    )
    return make_deployment(
        f"many-{number:08x}",
        revisions=(revision,),
        updated=NOON + timedelta(seconds=number),
        due=NOON if active else None,
    )


class Busy(MemoryPlatform):
    """A platform whose every operation is still under way."""

    def operation(self, name: str) -> Operation | None:
        """See weightdrop.ports.Platform."""
        return Operation(name=name, done=False, stage="DEPLOYING")


def tick(records: FirestoreRecords) -> tuple[dict[str, int], dict[str, int]]:
    """What one tick asks and is answered, with all that is active due."""
    for number in range(ACTIVE):
        held = records.get(f"many-{number:08x}")
        assert held is not None
        due = replace(held.deployment, due=NOON)
        records.put(due, version=held.version)
    traffic = counted(records)
    reconciler = Reconciler(
        records=records,
        bus=MemoryBus(),
        platform=Busy(),
        clock=FakeClock(NOON + timedelta(minutes=1)),
        settings=Settings(),
    )
    it = Tick(records=records, admission=None, reconciler=reconciler)  # type: ignore[arg-type]  # nothing waits

    assert it.run() == ACTIVE
    return traffic.summary


def test_a_tick_costs_what_is_active(records: FirestoreRecords) -> None:
    """The same calls and answers among ten times as many records."""
    for number in range(40):
        records.create(deployment(number, active=number < ACTIVE))
    tick(records)  # the first tells of a stage
    few = tick(records)
    for number in range(40, 400):
        records.create(deployment(number, active=False))
    many = tick(records)

    assert few == many
    calls, documents = many
    assert (calls["RunQuery"], documents["RunQuery"]) == (1, ACTIVE)
    assert documents["BatchGetDocuments"] == ACTIVE


def test_every_query_has_its_index(records: FirestoreRecords) -> None:
    """A composite one that Terraform makes, or a field's own that nobody took away."""
    made = deployment(1, active=True)
    records.create(made, events=(make_message(),))
    records.create(deployment(2, active=True))
    traffic = counted(records)
    records.due(NOON, limit=5)
    for phase in (None, Phase.DEPLOYING):
        first = records.page(phase=phase, size=1, token="")
        records.page(phase=phase, size=1, token=first.next_token)
    records.serving(after="a", limit=5)
    records.events(made.id, limit=5)
    records.revisions(made.id)

    needed = {index_of(query) for query in traffic.queries}
    composite = {
        (collection, fields) for collection, fields in needed if len(fields) > 1
    }
    single = {
        (collection, fields[0][0]) for collection, fields in needed if len(fields) == 1
    }
    assert traffic.calls["RunQuery"] == 8
    assert composite == {(index.collection, index.fields) for index in INDEXES}
    assert {("deployments", "due"), ("deployments", "serving")} <= single
    assert not single & {*UNINDEXED, (EVENTS, EXPIRES)}
