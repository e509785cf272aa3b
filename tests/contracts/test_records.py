"""What every implementation of the Records port promises."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fakes.builders import NOON, make_deployment, make_message, make_revision
from fakes.records import MemoryRecords
from weightdrop.adapters.firestore import FirestoreRecords
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment
from weightdrop.errors import PermanentError, StaleError
from weightdrop.local.records import SqliteRecords
from weightdrop.ports import Records

WRITERS = 16


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        pytest.param("firestore", marks=pytest.mark.emulators),
    ]
)
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryRecords(strict=True)
    elif request.param == "sqlite":
        local = SqliteRecords(tmp_path / "records.db")
        yield local
        local.close()
    else:
        # A project of its own is a database of its own in the emulator.
        project = f"test-{uuid.uuid4().hex[:20]}"
        endpoint = request.getfixturevalue("firestore_endpoint")
        cloud = FirestoreRecords(project, endpoint=endpoint)
        yield cloud
        cloud.close()


def test_get_of_nothing_is_none(records: Records) -> None:
    """A record that was never written is None, and has no history."""
    assert records.get("none-00000000") is None
    assert records.revisions("none-00000000") == ()
    assert records.events("none-00000000", limit=10) == ()


def test_create_then_get(records: Records) -> None:
    """What was created is read back equal, under the version that create gave."""
    deployment = make_deployment(due=NOON + timedelta(microseconds=1))

    made = records.create(deployment)

    assert made.deployment == deployment
    assert made == records.get(deployment.id)


def test_create_twice_is_stale(records: Records) -> None:
    """The second create fails and changes nothing."""
    deployment = make_deployment()
    records.create(deployment)

    with pytest.raises(StaleError):
        records.create(
            replace(deployment, region="europe-west4", revisions=(make_revision(2),)),
            events=(make_message(),),
        )

    there = records.get(deployment.id)
    assert there is not None
    assert there.deployment == deployment
    assert records.revisions(deployment.id) == deployment.revisions
    assert records.events(deployment.id, limit=10) == ()


def test_put_replaces_and_changes_the_version(records: Records) -> None:
    """A guarded put replaces the whole record; its version guards the next."""
    first = records.create(make_deployment(endpoint_dns="a.example", due=NOON))
    changed = replace(first.deployment, endpoint_dns="", due=None)

    second = records.put(changed, version=first.version)
    third = records.put(changed, version=second.version)

    assert len({first.version, second.version, third.version}) == 3
    assert records.get(changed.id) == third
    assert third.deployment == changed


@pytest.mark.parametrize("version", ["", "0", "nonsense", "2026-01-01T00:00:00Z/1"])
def test_put_with_a_version_never_given_is_stale(
    records: Records, version: str
) -> None:
    """Whatever stands for a version, only the one that was read is accepted."""
    made = records.create(make_deployment())

    with pytest.raises(StaleError):
        records.put(made.deployment, version=version)

    assert records.get(made.deployment.id) == made


def test_put_with_an_old_version_changes_nothing(records: Records) -> None:
    """A stale put leaves record, history and events as they were."""
    made = records.create(make_deployment())
    winner = records.put(
        replace(made.deployment, region="europe-west4"), version=made.version
    )
    late = replace(made.deployment, revisions=(make_revision(2),))

    with pytest.raises(StaleError):
        records.put(late, version=made.version, events=(make_message(),))

    assert records.get(made.deployment.id) == winner
    assert records.revisions(made.deployment.id) == made.deployment.revisions
    assert records.events(made.deployment.id, limit=10) == ()


def test_put_of_a_missing_record_is_stale(records: Records) -> None:
    """Put never creates."""
    made = records.create(make_deployment())

    with pytest.raises(StaleError):
        records.put(make_deployment("other-00000000"), version=made.version)

    assert records.get("other-00000000") is None


def test_history_keeps_revisions_that_the_record_dropped(records: Records) -> None:
    """Revisions cut off the record stay in the history, each as last written."""
    one, two = make_revision(1), make_revision(2)
    made = records.create(make_deployment(revisions=(one,)))
    ended = replace(one, phase=Phase.SUPERSEDED)
    made = records.put(
        replace(made.deployment, revisions=(ended, two)), version=made.version
    )
    records.put(replace(made.deployment, revisions=(two,)), version=made.version)

    assert records.revisions(made.deployment.id) == (ended, two)


def test_history_is_in_order_of_numbers(records: Records) -> None:
    """Ten comes after two."""
    revisions = tuple(make_revision(number) for number in range(1, 12))
    made = records.create(make_deployment(revisions=revisions))

    assert records.revisions(made.deployment.id) == revisions


def test_events_are_the_newest_in_order_of_writing(records: Records) -> None:
    """The limit cuts the oldest off; events of one write keep their order."""
    made = records.create(
        make_deployment(), events=(make_message("z"), make_message("a"))
    )
    records.put(made.deployment, version=made.version, events=(make_message("m"),))
    identity = made.deployment.id

    assert [it.id for it in records.events(identity, limit=10)] == ["z", "a", "m"]
    assert [it.id for it in records.events(identity, limit=2)] == ["a", "m"]
    assert records.events(identity, limit=0) == ()


def test_an_event_that_is_there_is_left_as_it_is(records: Records) -> None:
    """The second telling of one event changes neither it nor its place."""
    first = make_message("same", data='{"first": true}')
    made = records.create(make_deployment(), events=(first,))

    records.put(
        made.deployment,
        version=made.version,
        events=(make_message("new"), replace(first, data='{"first": false}')),
    )

    events = records.events(made.deployment.id, limit=10)
    assert events == (first, make_message("new"))


def test_one_write_with_an_event_twice(records: Records) -> None:
    """The first of two events with one id in one write is kept."""
    one, two = make_message("same", data="1"), make_message("same", data="2")

    made = records.create(make_deployment(), events=(one, two))

    assert records.events(made.deployment.id, limit=10) == (one,)


def test_due_is_in_order_and_limited(records: Records) -> None:
    """Due records come longest due first; the others never."""
    for name, due in [
        ("late-00000000", NOON),
        ("early-00000000", NOON - timedelta(hours=1)),
        ("future-00000000", NOON + timedelta(microseconds=1)),
        ("never-00000000", None),
    ]:
        records.create(make_deployment(name, due=due))

    assert records.due(NOON, limit=10) == ("early-00000000", "late-00000000")
    assert records.due(NOON, limit=1) == ("early-00000000",)
    assert records.due(NOON, limit=0) == ()


def test_due_follows_the_record(records: Records) -> None:
    """A record whose due is taken away is due no more."""
    made = records.create(make_deployment(due=NOON))

    records.put(replace(made.deployment, due=None), version=made.version)

    assert records.due(NOON + timedelta(days=1), limit=10) == ()


def test_what_serves_is_listed_by_id(records: Records) -> None:
    """Where any revision is ready, be it not the newest; no longer once none is."""
    ready, failed = make_revision(phase=Phase.READY), make_revision(phase=Phase.FAILED)
    beside = replace(failed, number=2, digest="2" * 64)
    for name, revisions in [
        ("c-00000000", (ready,)),
        ("b-00000000", (failed,)),
        ("a-00000000", (ready, beside)),
        ("d-00000000", ()),
    ]:
        records.create(make_deployment(name, revisions=revisions))

    def serving(after: str = "", limit: int = 10) -> list[str]:
        return [it.id for it in records.serving(after=after, limit=limit)]

    assert serving() == ["a-00000000", "c-00000000"]
    assert serving(limit=1) == ["a-00000000"]
    assert serving("a-00000000") == ["c-00000000"]
    assert serving("b-00000000") == ["c-00000000"]
    assert serving(limit=0) == []
    held = records.get("a-00000000")
    assert held is not None
    assert held.deployment in records.serving(after="", limit=10)
    records.put(replace(held.deployment, revisions=(beside,)), version=held.version)
    assert serving() == ["c-00000000"]


def _listed(records: Records, *, phase: Phase | None, size: int) -> list[str]:
    names, token = [], ""
    while True:
        page = records.page(phase=phase, size=size, token=token)
        assert len(page.deployments) <= size
        names += [deployment.id for deployment in page.deployments]
        token = page.next_token
        if not token:
            return names


def _several(records: Records) -> list[Deployment]:
    made = []
    for number in range(7):
        phase = Phase.READY if number % 2 else Phase.WAITING
        # Three of them share their time of update.
        deployment = make_deployment(
            f"d{number}-00000000",
            updated=NOON + timedelta(microseconds=max(number, 2)),
            revisions=(make_revision(phase=phase),),
        )
        records.create(deployment)
        made.append(deployment)
    return made


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_pages_are_newest_first_and_complete(records: Records, size: int) -> None:
    """Pages of any size hold every record once, in one order."""
    made = _several(records)
    expected = [it.id for it in sorted(made, key=lambda it: (it.updated, it.id))][::-1]

    assert expected == _listed(records, phase=None, size=size)


def test_pages_of_one_phase(records: Records) -> None:
    """The filter is the newest revision's phase."""
    made = _several(records)
    expected = [it.id for it in reversed(made) if it.phase is Phase.READY]

    assert expected == _listed(records, phase=Phase.READY, size=2)
    assert _listed(records, phase=Phase.FAILED, size=2) == []


def test_a_full_last_page_has_no_token(records: Records) -> None:
    """No reader is sent to an empty page."""
    _several(records)

    assert records.page(phase=None, size=7, token="").next_token == ""


@pytest.mark.parametrize("token", ["x", "AAAA", "é", "bnVsbA", "WzEsMiwzXQ"])
def test_a_strange_token_is_refused(records: Records, token: str) -> None:
    """A token that no listing gave out is an error that says so."""
    with pytest.raises(PermanentError, match="page token"):
        records.page(phase=None, size=2, token=token)


def test_a_token_of_another_phase_is_refused(records: Records) -> None:
    """A token belongs to the filter it was given out for."""
    _several(records)
    token = records.page(phase=None, size=2, token="").next_token

    with pytest.raises(PermanentError, match="page token"):
        records.page(phase=Phase.READY, size=2, token=token)


def test_a_page_of_nothing_is_refused(records: Records) -> None:
    """A page has at least one record."""
    with pytest.raises(PermanentError):
        records.page(phase=None, size=0, token="")


def test_a_record_too_large_is_refused_whole(records: Records) -> None:
    """What would not fit into a document is refused with its size, unwritten."""
    deployment = make_deployment(
        revisions=(make_revision(log_tail=("x" * 1000,) * 1000),)
    )

    with pytest.raises(PermanentError, match="bytes"):
        records.create(deployment)

    assert records.get(deployment.id) is None


def test_a_record_just_small_enough_fits(records: Records) -> None:
    """A record close to the bound can be written and read."""
    deployment = make_deployment(
        revisions=(make_revision(log_tail=("x" * 1000,) * 890),)
    )

    records.create(deployment)

    there = records.get(deployment.id)
    assert there is not None
    assert there.deployment == deployment


def test_text_that_is_no_unicode_is_kept_readable(records: Records) -> None:
    """A lone surrogate, as a hostile name may hold, becomes U+FFFD."""
    made = records.create(make_deployment(prefix="a\ud800b"))

    there = records.get(made.deployment.id)
    assert there is not None
    assert there.deployment.prefix == "a\ufffdb"


def test_exactly_one_of_many_creates_wins(records: Records) -> None:
    """Writers that create one record at once: one wins, the others are stale."""
    start = threading.Barrier(WRITERS)

    def create(number: int) -> int | None:
        start.wait()
        try:
            records.create(make_deployment(region=f"r{number}"))
        except StaleError:
            return None
        return number

    with ThreadPoolExecutor(WRITERS) as pool:
        winners = [it for it in pool.map(create, range(WRITERS)) if it is not None]

    there = records.get(make_deployment().id)
    assert there is not None
    assert [f"r{number}" for number in winners] == [there.deployment.region]


def test_exactly_one_of_many_puts_wins_each_version(records: Records) -> None:
    """Writers that put over one version at once: one wins, round after round."""
    version = records.create(make_deployment()).version
    start = threading.Barrier(WRITERS)

    def put(number: int, round_number: int, version: str) -> int | None:
        changed = make_deployment(region=f"r{round_number}-{number}")
        event = make_message(f"e{round_number}-{number}")
        start.wait()
        try:
            records.put(changed, version=version, events=(event,))
        except StaleError:
            return None
        return number

    told = []
    with ThreadPoolExecutor(WRITERS) as pool:
        for turn in range(5):
            tries = [(number, turn, version) for number in range(WRITERS)]
            results = list(pool.map(lambda it: put(*it), tries))
            winners = [it for it in results if it is not None]
            there = records.get(make_deployment().id)

            assert there is not None
            assert [f"r{turn}-{it}" for it in winners] == [there.deployment.region]
            told += [f"e{turn}-{it}" for it in winners]
            version = there.version

    assert told == [it.id for it in records.events(make_deployment().id, limit=100)]


def test_counting_with_retries_loses_nothing(records: Records) -> None:
    """Read, change, put, and again when stale: no increment is lost."""
    records.create(make_deployment(revisions=()))

    def add(number: int) -> None:
        while True:
            there = records.get(make_deployment().id)
            assert there is not None
            revisions = (*there.deployment.revisions, make_revision(number))
            try:
                records.put(
                    replace(there.deployment, revisions=revisions),
                    version=there.version,
                )
            except StaleError:
                continue
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(1, 17)))

    history = records.revisions(make_deployment().id)
    assert list(range(1, 17)) == [it.number for it in history]


def test_turns_are_apart(records: Records) -> None:
    """The first is now, each other one comes so many seconds after the last."""
    turns = [records.turn("line", now=NOON, every=2.5, patience=60) for _ in range(3)]
    later = NOON + timedelta(minutes=5)

    assert turns == [NOON + timedelta(seconds=2.5 * one) for one in range(3)]
    assert records.turn("line", now=later, every=2, patience=0) == later


def test_a_turn_beyond_patience_is_not_taken(records: Records) -> None:
    """Who does not wait takes no place from who does."""
    records.turn("line", now=NOON, every=10, patience=0)

    assert records.turn("line", now=NOON, every=10, patience=9) is None
    assert records.turn("line", now=NOON, every=10, patience=10) == (
        NOON + timedelta(seconds=10)
    )


def test_no_two_get_the_same_turn(records: Records) -> None:
    """However many ask at once."""

    def take(_: int) -> object:
        return records.turn("line", now=NOON, every=1, patience=60)

    with ThreadPoolExecutor(4) as pool:
        turns = list(pool.map(take, range(8)))

    assert len(set(turns)) == 8


def test_a_line_is_kept_apart_from_others_and_from_records(records: Records) -> None:
    """Another line is free, and nobody finds a line where records are."""
    deployment = make_deployment(due=NOON)
    records.create(deployment)
    records.turn("one", now=NOON, every=60, patience=0)
    pages = records.page(phase=None, size=10, token="")

    assert records.turn("two", now=NOON, every=60, patience=0) == NOON
    assert records.due(NOON + timedelta(days=1), limit=10) == (deployment.id,)
    assert [it.id for it in pages.deployments] == [deployment.id]


def test_a_long_turn_holds_up_all_who_come_after(records: Records) -> None:
    """A line that is told to wait does, to the microsecond, and goes on after it."""
    held = timedelta(seconds=12.345678)
    records.turn("line", now=NOON, every=held.total_seconds(), patience=0)

    assert records.turn("line", now=NOON, every=2, patience=60) == NOON + held
