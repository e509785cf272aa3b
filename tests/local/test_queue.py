"""Deliveries of the local queue: order, back-off, dead letters, crashes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fakes.builders import make_message
from fakes.clock import FakeClock
from weightdrop.core.deployment.events import DEAD_LETTERS_TOPIC, REQUESTS_TOPIC
from weightdrop.core.deployment.record import Message
from weightdrop.errors import NotFoundError, PermanentError
from weightdrop.local.log import SCHEMA, Watch
from weightdrop.local.queue import Claim, Retry, SqliteBus
from weightdrop.local.sqlite import Database

LEASE = 60.0
RETRY = Retry(attempts=3, first_seconds=1, longest_seconds=10)


@pytest.fixture
def clock() -> FakeClock:
    """Time that the test moves."""
    return FakeClock()


@pytest.fixture
def queue(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteBus]:
    """A queue with a subscriber of the requests."""
    made = SqliteBus(tmp_path / "queue.db", clock=clock, retry=RETRY)
    made.subscribe(REQUESTS_TOPIC)
    yield made
    made.close()


def _request(identity: str, key: str = "a") -> Message:
    return make_message(identity, topic=REQUESTS_TOPIC, ordering_key=key, type="")


def _claim(queue: SqliteBus, limit: int = 10) -> list[Claim]:
    return queue.claim(REQUESTS_TOPIC, limit=limit, lease_seconds=LEASE)


def _ids(claims: list[Claim]) -> list[str]:
    return [claim.entry.message.id for claim in claims]


def test_only_the_oldest_of_a_key_is_claimed(queue: SqliteBus) -> None:
    """Each key gives one message at a time, in order; keys are independent."""
    for identity, key in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b")]:
        queue.publish(_request(identity, key))

    first = _claim(queue)
    queue.acknowledge(first[0])

    assert _ids(first) == ["a1", "b1"]
    assert _ids(_claim(queue)) == ["a2"]
    assert _claim(queue) == []


def test_messages_without_a_key_wait_for_nobody(queue: SqliteBus) -> None:
    """Without an ordering key everything can be claimed at once."""
    for identity in ("1", "2", "3"):
        queue.publish(_request(identity, key=""))

    assert _ids(_claim(queue, limit=2)) == ["1", "2"]
    assert _ids(_claim(queue)) == ["3"]


def test_a_stuck_key_holds_nobody_else(queue: SqliteBus, clock: FakeClock) -> None:
    """While one key is refused again and again, another goes on in order."""
    for number in range(5):
        queue.publish(_request(f"stuck{number}", "stuck"))
        queue.publish(_request(f"free{number}", "free"))
    done = []
    for _ in range(5):
        for claim in _claim(queue):
            if claim.entry.message.ordering_key == "stuck":
                queue.refuse(claim, reason="no")
            else:
                queue.acknowledge(claim)
                done.append(claim.entry.message.id)
        clock.advance(0.1)

    assert done == [f"free{number}" for number in range(5)]


def test_refusing_waits_longer_each_time(queue: SqliteBus, clock: FakeClock) -> None:
    """The wait doubles; before it is over nothing is claimed."""
    queue.publish(_request("1"))
    for wait in (1, 2):
        (claim,) = _claim(queue)
        assert not queue.refuse(claim, reason="no")
        assert queue.next_time(REQUESTS_TOPIC) == clock.now() + timedelta(seconds=wait)
        clock.advance(wait - 0.001)
        assert _claim(queue) == []
        clock.advance(0.001)

    assert [claim.attempt for claim in _claim(queue)] == [3]


def test_the_wait_is_bounded() -> None:
    """However often it was tried, the wait is finite and bounded."""
    waits = [RETRY.wait(attempts).total_seconds() for attempts in (1, 2, 4, 5, 10_000)]

    assert waits == [1, 2, 8, 10, 10]


def test_a_poisoned_message_dies_and_frees_its_key(
    queue: SqliteBus, clock: FakeClock
) -> None:
    """After its attempts it is a dead letter with its reason; the next follows."""
    queue.publish(_request("poison"))
    queue.publish(_request("next"))
    outcomes = []
    for attempt in range(RETRY.attempts):
        (claim,) = _claim(queue)
        outcomes.append(queue.refuse(claim, reason=f"said 500: try {attempt}"))
        clock.advance(RETRY.longest_seconds)

    (dead,) = queue.dead_letters()
    assert outcomes == [False, False, True]
    assert dead.entry.message == make_message(
        "poison", topic=DEAD_LETTERS_TOPIC, ordering_key="a", type=""
    )
    assert (dead.origin, dead.reason, dead.attempts) == (
        REQUESTS_TOPIC,
        "said 500: try 2",
        3,
    )
    assert _ids(_claim(queue)) == ["next"]


def test_dead_letters_can_be_followed(queue: SqliteBus, clock: FakeClock) -> None:
    """The dead-letter topic is a topic like any other."""
    queue.publish(_request("poison"))
    for _ in range(RETRY.attempts):
        queue.refuse(_claim(queue)[0], reason="no")
        clock.advance(RETRY.longest_seconds)

    log = queue.read(DEAD_LETTERS_TOPIC, after=0, limit=10)

    assert [entry.message.id for entry in log] == ["poison"]


def test_redriving_delivers_again(queue: SqliteBus, clock: FakeClock) -> None:
    """A re-driven dead letter has all its attempts again, and is listed no more."""
    queue.publish(_request("poison"))
    for _ in range(RETRY.attempts):
        queue.refuse(_claim(queue)[0], reason="no")
        clock.advance(RETRY.longest_seconds)
    (dead,) = queue.dead_letters()

    redriven = queue.redrive(dead.entry.sequence)

    assert redriven == _request("poison")
    assert queue.dead_letters() == ()
    (claim,) = _claim(queue)
    assert claim.entry.message == redriven
    assert claim.attempt == 1
    with pytest.raises(NotFoundError, match="dead letter"):
        queue.redrive(dead.entry.sequence)


def test_a_handlers_own_dead_letter_tells_its_reason(queue: SqliteBus) -> None:
    """What a handler gave up is listed with the reason it wrote, and stays."""
    queue.publish(
        make_message("own", topic=DEAD_LETTERS_TOPIC, data='{"reason": "no JSON"}')
    )
    queue.publish(make_message("odd", topic=DEAD_LETTERS_TOPIC, data="[1"))

    letters = queue.dead_letters()

    assert [(it.origin, it.reason) for it in letters] == [("", "no JSON"), ("", "")]
    with pytest.raises(NotFoundError):
        queue.redrive(letters[0].entry.sequence)


def test_a_crashed_consumer_is_taken_over_after_its_lease(
    queue: SqliteBus, clock: FakeClock
) -> None:
    """A claim that nobody ended comes back when its lease is over, counted."""
    queue.publish(_request("1"))
    _claim(queue)
    clock.advance(LEASE - 0.001)
    assert _claim(queue) == []
    clock.advance(0.001)

    (claim,) = _claim(queue)

    assert claim.attempt == 2


def test_the_next_consumer_need_not_wait(queue: SqliteBus, clock: FakeClock) -> None:
    """The one consumer of a topic gives back what its dead forerunner claimed."""
    queue.publish(_request("1"))
    _claim(queue)

    assert queue.recover(REQUESTS_TOPIC) == 1
    assert _ids(_claim(queue)) == ["1"]


def test_a_late_refusal_does_not_disturb_the_new_claim(
    queue: SqliteBus, clock: FakeClock
) -> None:
    """Whoever lost its claim cannot put off or kill somebody else's."""
    queue.publish(_request("1"))
    (old,) = _claim(queue)
    clock.advance(LEASE)
    (new,) = _claim(queue)

    queue.refuse(old, reason="late")
    queue.postpone(old, seconds=0)

    assert _claim(queue) == []
    queue.acknowledge(new)
    assert queue.next_time(REQUESTS_TOPIC) is None
    assert queue.dead_letters() == ()


def test_acknowledging_twice_is_harmless(queue: SqliteBus) -> None:
    """The second acknowledgement changes nothing for the next of the key."""
    for identity in ("1", "2"):
        queue.publish(_request(identity))
    (first,) = _claim(queue)
    queue.acknowledge(first)
    (second,) = _claim(queue)

    queue.acknowledge(first)

    assert _claim(queue) == []
    assert second.entry.message.id == "2"


def test_an_unreachable_subscriber_costs_no_attempt(
    queue: SqliteBus, clock: FakeClock
) -> None:
    """However often it is postponed, the message does not die."""
    queue.publish(_request("1"))
    for _ in range(50):
        (claim,) = _claim(queue)
        assert claim.attempt == 1
        queue.postpone(claim, seconds=0.5)
        assert _claim(queue) == []
        clock.advance(0.5)


def test_what_was_published_before_the_subscriber_is_delivered(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The first subscription finds all earlier messages; the second adds none."""
    queue = SqliteBus(tmp_path / "queue.db", clock=clock)
    for identity, key in [("a1", "a"), ("a2", "a"), ("x1", ""), ("x2", "")]:
        queue.publish(_request(identity, key))

    queue.subscribe(REQUESTS_TOPIC)
    queue.subscribe(REQUESTS_TOPIC)

    first = _claim(queue)
    assert _ids(first) == ["a1", "x1", "x2"]
    queue.acknowledge(first[0])
    assert _ids(_claim(queue)) == ["a2"]
    queue.close()


def test_the_log_is_read_by_cursor(queue: SqliteBus) -> None:
    """A cursor sees each message of its topic once, in pieces of any size."""
    for number in range(5):
        queue.publish(make_message(f"e{number}"))
        queue.publish(_request(f"r{number}"))
    topic = make_message().topic
    seen, cursor = [], 0
    while entries := queue.read(topic, after=cursor, limit=2):
        seen += [entry.message.id for entry in entries]
        cursor = entries[-1].sequence

    assert seen == [f"e{number}" for number in range(5)]
    assert queue.end(topic) == cursor
    assert queue.end("nothing") == 0


def test_pruning_forgets_only_what_is_done(queue: SqliteBus, clock: FakeClock) -> None:
    """Old messages go, but no pending one and no dead letter; cursors still grow."""
    queue.publish(make_message("old-event"))
    queue.publish(_request("pending"))
    queue.publish(make_message("dead", topic=DEAD_LETTERS_TOPIC))
    end = queue.end(DEAD_LETTERS_TOPIC)
    clock.advance(3600)
    queue.publish(make_message("new-event"))

    assert queue.prune(before=clock.now()) == 1

    left = [it.message.id for it in queue.read(make_message().topic, after=0, limit=9)]
    assert left == ["new-event"]
    assert _ids(_claim(queue)) == ["pending"]
    assert [it.entry.message.id for it in queue.dead_letters()] == ["dead"]
    assert queue.end(make_message().topic) > end


def test_a_watch_sees_what_others_write(queue: SqliteBus, tmp_path: Path) -> None:
    """A change is seen once, and only a change."""
    watch = Watch(tmp_path / "queue.db")
    watch.changed()

    assert not watch.changed()
    queue.publish(make_message())
    assert watch.changed()
    assert not watch.changed()
    watch.close()


def test_a_file_that_is_no_database_is_permanent(tmp_path: Path) -> None:
    """Damage is told with the file and what to do."""
    (tmp_path / "queue.db").write_bytes(b"no database at all" * 100)
    queue = SqliteBus(tmp_path / "queue.db")

    with pytest.raises(PermanentError, match="delete the file"):
        queue.publish(make_message())


def test_a_long_tail_of_one_key_costs_nothing(queue: SqliteBus) -> None:
    """Claiming looks at the heads alone: the plan walks one index, in order."""
    plan = queue._database.read(
        "EXPLAIN QUERY PLAN SELECT sequence FROM deliveries WHERE topic = ? "
        "AND available <= ? ORDER BY available, sequence LIMIT ?",
        (REQUESTS_TOPIC, 0, 1),
    )

    steps = " / ".join(str(row[-1]) for row in plan)
    assert "by_available" in steps
    assert "TEMP B-TREE" not in steps


def test_a_file_of_an_earlier_version_gains_the_new_column(tmp_path: Path) -> None:
    """What waited in it is delivered, and what comes now carries its trace."""
    path = tmp_path / "queue.db"
    earlier = SCHEMA.replace(",\n    trace TEXT NOT NULL DEFAULT ''", "")
    assert earlier != SCHEMA
    with Database(path, schema=earlier).write() as connection:
        connection.execute(
            "INSERT INTO log (topic, id, ordering_key, type, time, data, published) "
            "VALUES (?, 'old', 'a', '', 0, '{}', 0)",
            (REQUESTS_TOPIC,),
        )
    made = SqliteBus(path)
    made.publish(make_message("new", topic=REQUESTS_TOPIC, trace="00-a-b-01"))
    found = [it.message for it in made.read(REQUESTS_TOPIC, after=0, limit=9)]

    assert [(it.id, it.trace) for it in found] == [("old", ""), ("new", "00-a-b-01")]
    made.close()
