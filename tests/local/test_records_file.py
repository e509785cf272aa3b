"""The local records as a file that many processes share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from fakes.builders import NOON, make_deployment
from weightdrop import codec
from weightdrop.core.deployment.phases import Phase
from weightdrop.local.records import SqliteRecords

PROCESSES = 16

_COUNTER = """
import sys
from dataclasses import replace
from pathlib import Path
from fakes.builders import make_message
from weightdrop.errors import StaleError
from weightdrop.local.records import SqliteRecords
records, name, left = SqliteRecords(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
while left:
    there = records.get("tiny-12345678")
    number = int(there.deployment.region) + 1
    event = make_message(f"{number}", data=name)
    try:
        records.put(replace(there.deployment, region=str(number)),
                    version=there.version, events=(event,))
    except StaleError:
        continue
    left -= 1
    print(number, flush=True)
"""


def _counter(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _COUNTER, str(path), name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    )


def test_sixteen_processes_lose_no_increment(tmp_path: Path) -> None:
    """Each version has one winner, whoever writes: the count is exact."""
    path = tmp_path / "records.db"
    records = SqliteRecords(path)
    records.create(make_deployment(region="0"))

    counters = [_counter(path, f"p{it}", 5) for it in range(PROCESSES)]
    won = [
        int(it) for one in counters for it in one.communicate(timeout=240)[0].split()
    ]

    there = records.get("tiny-12345678")
    assert there is not None
    assert there.deployment.region == str(PROCESSES * 5)
    assert sorted(won) == list(range(1, PROCESSES * 5 + 1))
    told = [event.id for event in records.events("tiny-12345678", limit=1000)]
    assert told == [str(number) for number in range(1, PROCESSES * 5 + 1)]
    records.close()


def test_a_killed_writer_leaves_all_or_nothing(tmp_path: Path) -> None:
    """Kill -9 at any moment: record and events agree, and others can write."""
    path = tmp_path / "records.db"
    records = SqliteRecords(path)
    records.create(make_deployment(region="0"))
    for last in (1, 9, 40):
        start = int(_region(records))
        counter = _counter(path, "killed", 1_000_000)
        assert counter.stdout is not None
        for line in counter.stdout:
            if int(line) >= start + last:
                counter.kill()
                break
        told = [start + last, *map(int, counter.stdout.read().split())]
        counter.wait()
        counter.stdout.close()

        count = int(_region(records))
        events = [it.id for it in records.events("tiny-12345678", limit=1_000_000)]
        assert count >= told[-1]
        assert events == [str(number) for number in range(1, count + 1)]
    assert records._database.read("PRAGMA integrity_check") == [("ok",)]
    records.close()


def _region(records: SqliteRecords) -> str:
    there = records.get("tiny-12345678")
    assert there is not None
    return there.deployment.region


def test_a_forked_child_uses_a_connection_of_its_own(tmp_path: Path) -> None:
    """A server that forks after the first use stays correct on both sides."""
    records = SqliteRecords(tmp_path / "records.db")
    made = records.create(make_deployment(region="0"))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            records.put(made.deployment, version=made.version)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    there = records.get(made.deployment.id)
    assert there is not None
    assert there.version == "2"
    records.close()


def test_a_hundred_thousand_records_cost_what_is_returned(tmp_path: Path) -> None:
    """Due and pages walk an index in order, and stay fast beside many records."""
    records = SqliteRecords(tmp_path / "records.db")
    record = codec.encode(make_deployment())
    with records._database.write() as connection:
        connection.executemany(
            "INSERT INTO deployments VALUES (?, 1, ?, ?, ?, ?)",
            (
                (
                    f"d{number:06}",
                    Phase.READY.value,
                    codec.microseconds(NOON + timedelta(seconds=number)),
                    codec.microseconds(NOON + timedelta(seconds=number)),
                    record,
                )
                for number in range(100_000)
            ),
        )

    began = time.monotonic()
    for _ in range(100):
        due = records.due(NOON + timedelta(days=30), limit=50)
        records.page(phase=Phase.READY, size=20, token="")
        records.page(phase=Phase.FAILED, size=20, token="")
    seconds = (time.monotonic() - began) / 100

    assert due[:2] == ("d000000", "d000001")
    # A scan takes some 50 ms; the three index walks about 1 ms.
    assert seconds < 0.05
    for query in (
        "SELECT id FROM deployments WHERE due <= 9 ORDER BY due, id LIMIT 9",
        "SELECT record FROM deployments ORDER BY updated DESC, id DESC LIMIT 9",
        "SELECT record FROM deployments WHERE phase = '' AND (updated, id) < (1, '') "  # noqa: ISC004
        "ORDER BY updated DESC, id DESC LIMIT 9",
    ):
        plan = records._database.read(f"EXPLAIN QUERY PLAN {query}")
        steps = " / ".join(str(row[-1]) for row in plan)
        assert "USING" in steps
        assert "INDEX by_" in steps
        assert "TEMP B-TREE" not in steps
    records.close()
