"""What is measured of the warm control plane."""

from __future__ import annotations

import datetime as dt
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import functions_framework
import httpx
from controllab.lab import BUCKET, Lab, free_port, lab

from contracts.counting import counted
from controlbench.loaded import ACTIVE, LLAMA, announce, lay_folder, make_due
from controlbench.rows import Row, grown, milliseconds, quantile
from drops.models import model_files
from fakes.bus import MemoryBus
from fakes.platform import MemoryPlatform
from weightdrop.adapters.firestore import FirestoreRecords
from weightdrop.bootstrap import App
from weightdrop.ports import Operation, Records
from weightdrop.settings import Backend, Settings
from weightdrop_functions import handlers

MAIN = Path(__file__).resolve().parents[2] / "functions" / "main.py"
LIMIT_REQUEST, LIMIT_STATUS = 0.300, 0.020
"""Seconds."""

Summary = tuple[dict[str, int], dict[str, int]]
"""Calls and documents by method."""


def event_to_request(runs: int) -> Row:
    """From the event's arrival to the answer, which follows the publish."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with lab(home) as made:
            files = model_files(LLAMA, shards=4)
            lay_folder(made, files)
            made.bucket(port=free_port())
            made.function("on_artifact")
            made.ready()
            announce(made, files)
            took = [_once(made) for _ in range(runs + 2)][2:]
            published = sum(1 for _ in _requests(made))
    if published < runs:
        raise SystemExit(f"only {published} of {runs} requests were published")
    median = statistics.median(took)
    return Row(
        "config.json's event to the published request, 8B-shaped set of "
        f"{len(files)} files, median of {runs}",
        f"{LIMIT_REQUEST * 1000:.0f} ms",
        f"{milliseconds(median)} (p90 {milliseconds(quantile(took, 0.9))})",
        median < LIMIT_REQUEST,
    )


def _once(made: Lab) -> float:
    """Forget every record, and send config.json's event once more."""
    base = f"{made.members['bucket'].url}/storage/v1/b/{BUCKET}/o"
    database = "emulator/v1/projects/local/databases/(default)/documents"
    with httpx.Client(timeout=600, trust_env=False) as client:
        client.delete(f"http://{made.firestore}/{database}").raise_for_status()
        body = client.get(f"{base}/source%2Fconfig.json").json()
        headers = {
            "ce-specversion": "1.0",
            "ce-id": uuid.uuid4().hex,
            "ce-type": "google.cloud.storage.object.v1.finalized",
            "ce-source": f"//storage.googleapis.com/projects/_/buckets/{BUCKET}",
            "ce-subject": "objects/source/config.json",
        }
        url = made.members["on_artifact"].url
        begin = time.perf_counter()
        client.post(url, json=body, headers=headers).raise_for_status()
        return time.perf_counter() - begin


def _requests(made: Lab) -> Iterator[Any]:
    """What was published: accepted drops, each told of by one event."""
    for message in made.pulled("weightdrop-lab-events"):
        if message.attributes["ce-type"].endswith("accepted.v1"):
            yield message


@contextmanager
def serving(app: App) -> Iterator[Any]:
    """A client of the real status function over this application."""
    before = handlers.app
    handlers.app = lambda: app  # type: ignore[assignment]  # one process, one app
    try:
        yield functions_framework.create_app("status", str(MAIN)).test_client()
    finally:
        handlers.app = before


def status_reads(app: App, count: int, reads: int) -> list[float]:
    """Seconds of reads of single deployments, all over the store."""
    took = []
    with serving(app) as client:
        for number in range(reads + 20):
            place = (number * 7919) % count
            begin = time.perf_counter()
            answer = client.get(f"/deployments/many-{place:08x}")
            took.append(time.perf_counter() - begin)
            if answer.status_code != 200:  # noqa: PLR2004  # OK
                raise SystemExit(f"status answered {answer.status_code}")
    return took[20:]


def ticks(app: App, runs: int) -> float:
    """The median of a tick's seconds, each with ten active deployments due."""
    took = []
    for _ in range(runs):
        make_due(app)
        begin = time.perf_counter()
        looked = app.tick.run()
        took.append(time.perf_counter() - begin)
        if looked != ACTIVE:
            raise SystemExit(f"a tick looked at {looked} records")
    return statistics.median(took)


def _asked_by_tick(app: App, records: FirestoreRecords) -> Summary:
    """The calls and documents of one tick, counted where they leave the process."""
    make_due(app)
    seen = counted(records)
    app.tick.run()
    return seen.summary


def application(records: Records, home: Path) -> App:
    """The real services over these records, and a platform that stays busy."""
    app = App(Settings(backend=Backend.LOCAL, buckets=(BUCKET,), home=home))
    app.records, app.bus, app.platform = records, MemoryBus(), _Busy()
    return app


class _Busy(MemoryPlatform):
    """A platform whose every operation is still under way."""

    def operation(self, name: str) -> Operation:
        """See weightdrop.ports.Platform."""
        return Operation(name=name, done=False, stage="DEPLOYING")


def many(
    kind: str,
    records: Records,
    load: Callable[[int, int], None],
    *,
    home: Path,
    counts: list[int],
) -> list[Row]:
    """Rows about one kind of store as it grows."""
    app = application(records, home)
    rows: list[Row] = []
    costs: list[float] = []
    asked: list[float] = []
    traffic: list[Summary] = []
    loaded = 0
    for count in counts:
        begin = time.monotonic()
        load(count, loaded)
        loaded = count
        print(f"{kind}: {count} records after {time.monotonic() - begin:.0f} s more")
        costs.append(ticks(app, 15))
        if isinstance(records, FirestoreRecords):
            traffic.append(_asked_by_tick(app, records))
        asked.append(questions(app, 15))
    took = status_reads(app, loaded, 1000)
    p99 = quantile(took, 0.99)
    rows.append(
        Row(
            f"status of one deployment among {loaded:,}, {kind}, p99 of 1,000",
            f"{LIMIT_STATUS * 1000:.0f} ms",
            f"{milliseconds(p99)} (median {milliseconds(statistics.median(took))})",
            p99 < LIMIT_STATUS,
        )
    )
    flat = max(costs) < 3 * min(costs)
    scans = isinstance(records, FirestoreRecords)
    rows.append(
        Row(
            f"tick with {ACTIVE} active, {kind}, median of 15",
            "none: the emulator has no indexes and scans" if scans else "flat",
            grown(counts, costs),
            flat or scans,
        )
    )
    rows.append(
        Row(
            f"the tick's one query for what is due, {kind}, median of 15",
            "",
            grown(counts, asked),
        )
    )
    if traffic:
        rows.append(_reads(counts, traffic))
    return rows


def _reads(counts: list[int], traffic: list[Summary]) -> Row:
    """What a tick asks Firestore, which reads what it answers by its indexes."""
    told = [
        f"{calls['RunQuery']} query with {documents['RunQuery']} documents, "
        f"{calls['BatchGetDocuments']} reads of one, {calls['Commit']} writes "
        f"among {count:,}"
        for count, (calls, documents) in zip(counts, traffic, strict=True)
    ]
    return Row(
        f"what a tick with {ACTIVE} active asks of Firestore, counted at the client",
        "the same",
        ", ".join(told),
        all(it == traffic[0] for it in traffic),
    )


def questions(app: App, runs: int) -> float:
    """The median of the seconds that the tick's query takes."""
    took = []
    for _ in range(runs):
        begin = time.perf_counter()
        app.records.due(dt.datetime.now(dt.UTC), limit=100)
        took.append(time.perf_counter() - begin)
    return statistics.median(took)
