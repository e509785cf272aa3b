"""The local queue under any history, and under processes that are killed."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fakes.builders import make_message
from fakes.clock import FakeClock
from weightdrop.core.deployment.events import REQUESTS_TOPIC
from weightdrop.core.deployment.record import Message
from weightdrop.local.queue import Claim, Retry, SqliteBus

LEASE = 60.0
RETRY = Retry(attempts=3, first_seconds=1, longest_seconds=10)


def _request(identity: str, key: str) -> Message:
    return make_message(identity, topic=REQUESTS_TOPIC, ordering_key=key, type="")


def _claim(queue: SqliteBus, limit: int = 10) -> list[Claim]:
    return queue.claim(REQUESTS_TOPIC, limit=limit, lease_seconds=LEASE)


def _ids(claims: list[Claim]) -> list[str]:
    return [claim.entry.message.id for claim in claims]


class _Histories(RuleBasedStateMachine):
    """Any order of publishing, claiming, ending and crashing, against a model."""

    folder: Path
    count = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).count += 1
        self.clock = FakeClock()
        self.queue = SqliteBus(
            self.folder / f"{self.count}.db", clock=self.clock, retry=RETRY
        )
        self.queue.subscribe(REQUESTS_TOPIC)
        self.waiting: dict[str, list[str]] = {"": [], "a": [], "b": []}
        self.claims: list[Claim] = []
        self.dead: list[str] = []
        self.published = 0

    @rule(key=st.sampled_from(["", "a", "b"]))
    def publish(self, key: str) -> None:
        identity = str(self.published)
        self.published += 1
        self.queue.publish(_request(identity, key))
        self.waiting[key].append(identity)

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        for claim in _claim(self.queue, limit):
            message = claim.entry.message
            waiting = self.waiting[message.ordering_key]
            if message.ordering_key:
                assert message.id == waiting[0]
            assert message.id in waiting
            assert message.id not in _ids(self.claims)
            self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        claim = self._take(data)
        self.queue.acknowledge(claim)
        message = claim.entry.message
        self.waiting[message.ordering_key].remove(message.id)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        claim = self._take(data)
        if self.queue.refuse(claim, reason="no"):
            message = claim.entry.message
            self.waiting[message.ordering_key].remove(message.id)
            self.dead.append(message.id)

    @rule(seconds=st.sampled_from([0.5, 1, 10]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def crash(self) -> None:
        self.queue.close()
        self.claims.clear()
        self.queue.recover(REQUESTS_TOPIC)

    def _take(self, data: st.DataObject) -> Claim:
        return self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))

    @invariant()
    def nothing_is_lost(self) -> None:
        rows = self.queue._database.read(
            "SELECT id FROM log JOIN deliveries USING (sequence)"
        )
        assert {row[0] for row in rows} == {
            identity for waiting in self.waiting.values() for identity in waiting
        }
        assert [it.entry.message.id for it in self.queue.dead_letters()] == self.dead

    def teardown(self) -> None:
        """Once faults stop, everything is delivered, each key in order."""
        self.crash()
        left = {key: list(waiting) for key, waiting in self.waiting.items()}
        while any(left.values()):
            self.clock.advance(RETRY.longest_seconds)
            claims = _claim(self.queue)
            assert claims
            for claim in claims:
                message = claim.entry.message
                if message.ordering_key:
                    assert left[message.ordering_key][0] == message.id
                left[message.ordering_key].remove(message.id)
                self.queue.acknowledge(claim)
        assert _claim(self.queue) == []
        self.queue.close()


def test_any_history_loses_nothing_and_keeps_order(tmp_path: Path) -> None:
    """Whatever happens in whatever order: nothing lost, keys in order."""

    class Histories(_Histories):
        folder = tmp_path

    run_state_machine_as_test(
        Histories,
        settings=settings(max_examples=40, stateful_step_count=40, deadline=None),
    )


# ------------------------------------------------------------- many at one file

_PUBLISHER = """
import sys
from pathlib import Path
from fakes.builders import make_message
from weightdrop.core.deployment.events import REQUESTS_TOPIC
from weightdrop.local.queue import SqliteBus
queue = SqliteBus(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    queue.publish(make_message(f"{sys.argv[2]}-{number}", topic=REQUESTS_TOPIC,
                               ordering_key=sys.argv[2], type=""))
    print(number, flush=True)
"""


def _publisher(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PUBLISHER, str(path), name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    )


def test_processes_publish_and_threads_consume(tmp_path: Path) -> None:
    """Four publishers, four consumers: each message once, each key in order."""
    path = tmp_path / "queue.db"
    queue = SqliteBus(path)
    queue.subscribe(REQUESTS_TOPIC)
    publishers = [_publisher(path, f"p{number}", 25) for number in range(4)]
    deadline = time.monotonic() + 120
    done: list[str] = []

    def consume(_: int) -> None:
        own = SqliteBus(path)
        while len(done) < 100 and time.monotonic() < deadline:
            for claim in _claim(own, limit=2):
                done.append(claim.entry.message.id)
                own.acknowledge(claim)
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(consume, range(4)))
    for publisher in publishers:
        publisher.communicate(timeout=60)

    assert sorted(done) == sorted(set(done))
    for number in range(4):
        own = [identity for identity in done if identity.startswith(f"p{number}-")]
        assert own == [f"p{number}-{it}" for it in range(25)]
    queue.close()


def test_a_killed_publisher_loses_nothing_it_was_told_is_safe(tmp_path: Path) -> None:
    """Kill -9 at any moment: every message whose publish returned is there."""
    path = tmp_path / "queue.db"
    queue = SqliteBus(path)
    queue.subscribe(REQUESTS_TOPIC)
    for turn, last in enumerate((0, 7, 30)):
        publisher = _publisher(path, f"t{turn}", 1_000_000)
        assert publisher.stdout is not None
        for line in publisher.stdout:
            if int(line) >= last:
                publisher.kill()
                break
        told = last + len(publisher.stdout.read().split())
        publisher.wait()
        publisher.stdout.close()

        log = queue.read(REQUESTS_TOPIC, after=0, limit=1_000_000)
        own = [it.message.id for it in log if it.message.ordering_key == f"t{turn}"]
        assert own == [f"t{turn}-{number}" for number in range(len(own))]
        assert len(own) >= told + 1
    assert queue._database.read("PRAGMA integrity_check") == [("ok",)]
    queue.close()
