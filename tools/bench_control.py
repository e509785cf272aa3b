"""Measure the warm control plane, and write docs/benchmarks/control.md.

- From config.json's event to the published request: the real on_artifact under
  functions-framework, Firestore's and Pub/Sub's emulators, the bucket server, a
  folder with the headers of Llama-3.1-8B at their real shapes (sparse files).
- A status read with many deployments in the store, over SQLite and over
  Firestore's emulator.
- A tick's cost with ten active deployments among more and more records.

Exit status: 0 when every limit is kept, 1 when one is broken.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import functions_framework
import httpx
from controllab.lab import BUCKET, Lab, free_port, lab

from contracts.counting import counted
from drops.models import model_files
from drops.stores import File, Sparse
from fakes.builders import make_deployment, make_revision
from fakes.bus import MemoryBus
from fakes.platform import MemoryPlatform
from weightdrop import codec
from weightdrop.adapters.firestore import DEPLOYMENTS, FirestoreRecords, _fields
from weightdrop.bootstrap import App
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment
from weightdrop.local.records import SqliteRecords
from weightdrop.ports import Records
from weightdrop.settings import Backend, Settings
from weightdrop_functions import handlers

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "control.md"
LIMIT_REQUEST, LIMIT_STATUS = 0.300, 0.020
Summary = tuple[dict[str, int], dict[str, int]]
"""Calls and documents by method."""
ACTIVE = 10
BATCH = 400

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the page.

    Attributes:
        what: Was measured.
        limit: In words.
        value: In words.
        kept: Whether the limit is kept.
    """

    what: str
    limit: str
    value: str
    kept: bool = True


def quantile(values: list[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def milliseconds(seconds: float) -> str:
    """For the table."""
    return f"{seconds * 1000:.1f} ms"


# ------------------------------------------------------- config.json to request


def event_to_request(runs: int) -> Row:
    """From the event's arrival to the answer, which follows the publish."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with lab(home) as made:
            files = model_files(LLAMA, shards=4)
            _lay(made, files)
            made.bucket(port=free_port())
            made.function("on_artifact")
            made.ready()
            _settled(made, files)
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


def _lay(made: Lab, files: dict[str, File]) -> None:
    """Write all but config.json as plain files, weights without their bytes."""
    target = made.folder / "source"
    target.mkdir(parents=True)
    for name in sorted(set(files) - {"config.json"}):
        file = files[name]
        with (target / name).open("wb") as out:
            out.write(file.head if isinstance(file, Sparse) else file)
            out.truncate(file.size if isinstance(file, Sparse) else len(file))


def _settled(made: Lab, files: dict[str, File]) -> None:
    """Wait until the weights are read once; then config.json comes, and announces."""
    url = f"{made.members['bucket'].url}/storage/v1/b/{BUCKET}/o"
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        answer = httpx.get(url, params={"prefix": "source/"}, timeout=900)
        if len(answer.json().get("items", ())) == len(files) - 1:
            break
        time.sleep(0.5)
    else:
        raise SystemExit("the bucket server did not take the files")
    server = made.members["bucket"].url
    httpx.post(
        f"{server}/upload/storage/v1/b/{BUCKET}/o",
        params={"uploadType": "media", "name": "source/config.json"},
        content=json.dumps(LLAMA),
        timeout=60,
    ).raise_for_status()


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


# ------------------------------------------------------------------ many records


def deployment(number: int, *, active: bool) -> Deployment:
    """One of many: ready and resting, or at work and due."""
    now = dt.datetime.now(dt.UTC)
    phase = Phase.DEPLOYING if active else Phase.READY
    revision = make_revision(
        phase=phase,
        phase_since=now,
        operation="operations/1" if active else "",
        model_name="projects/p/locations/l/models/m",
        deployed=True,
        deadline=now + dt.timedelta(hours=2) if active else None,
    )
    return make_deployment(
        f"many-{number:08x}",
        revisions=(revision,),
        created=now,
        updated=now - dt.timedelta(microseconds=number),
        due=now - dt.timedelta(seconds=1) if active else None,
        endpoint_id=f"wd-many-{number:08x}",
    )


def load_sqlite(path: Path, count: int, start: int) -> None:
    """Put records in at once, in the form in which the port keeps them."""
    records = SqliteRecords(path)
    with records._database.write() as connection:  # noqa: SLF001  # in bulk
        for number in range(start, count):
            made = deployment(number, active=number < ACTIVE)
            due = codec.microseconds(made.due) if made.due else None
            connection.execute(
                "INSERT INTO deployments (id, version, phase, updated, due, record) "
                "VALUES (?, 1, ?, ?, ?, ?)",
                (
                    made.id,
                    made.phase.value,
                    codec.microseconds(made.updated),
                    due,
                    codec.encode(made),
                ),
            )
    records.close()


def load_firestore(records: FirestoreRecords, count: int, start: int) -> None:
    """Put records in by batches."""
    client = records._client  # noqa: SLF001  # in bulk

    def write(first: int) -> None:
        batch = client.batch()
        for number in range(first, min(first + BATCH, count)):
            made = deployment(number, active=number < ACTIVE)
            place = client.collection(DEPLOYMENTS).document(made.id)
            batch.set(place, _fields(made, writes=1))
        batch.commit(timeout=120)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(start, count, BATCH)))


@contextmanager
def serving(app: App) -> Iterator[Any]:
    """A client of the real status function over this application."""
    before = handlers.app
    handlers.app = lambda: app  # type: ignore[assignment]  # one process, one app
    try:
        main = ROOT / "functions" / "main.py"
        yield functions_framework.create_app("status", str(main)).test_client()
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


def make_due(app: App) -> None:
    """Have the next tick look at all that is active."""
    now = dt.datetime.now(dt.UTC)
    for number in range(ACTIVE):
        held = app.records.get(f"many-{number:08x}")
        if held is None:
            raise SystemExit("an active record is gone")
        due = replace(held.deployment, due=now - dt.timedelta(seconds=1))
        app.records.put(due, version=held.version)


def application(records: Records, home: Path) -> App:
    """The real services over these records, and a platform that stays busy."""
    app = App(Settings(backend=Backend.LOCAL, buckets=(BUCKET,), home=home))
    app.records, app.bus, app.platform = records, MemoryBus(), _Busy()
    return app


class _Busy(MemoryPlatform):
    """A platform whose every operation is still under way."""

    def operation(self, name: str) -> Any:
        """See weightdrop.ports.Platform."""
        from weightdrop.ports import Operation  # noqa: PLC0415  # only here

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
            _grown(counts, costs),
            flat or scans,
        )
    )
    rows.append(
        Row(
            f"the tick's one query for what is due, {kind}, median of 15",
            "",
            _grown(counts, asked),
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


def _grown(counts: list[int], costs: list[float]) -> str:
    return ", ".join(
        f"{milliseconds(cost)} among {count:,}"
        for count, cost in zip(counts, costs, strict=True)
    )


def page(rows: list[Row]) -> str:
    """The documentation's page."""
    when = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    load = os.getloadavg()[1]
    python = f"Python {platform.python_version()}, load {load:.1f}"
    machine = f"{os.cpu_count()} processors, {platform.machine()}, {python}"
    lines = [
        "# The warm control plane",
        "",
        f"Written by `make bench-control` on {when} ({machine}).",
        ABOUT,
        "",
        "| what | limit | measured |",
        "| --- | --- | --- |",
        *(f"| {row.what} | {row.limit} | {row.value} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


ABOUT = """\
Emulators and stand-ins run on the same processors as what is measured: ratios say
more than figures. The request is measured from sending the event to the answer of
`on_artifact` under functions-framework; the request is published before it answers.
The Firestore emulator has no indexes and scans the collection, so its times grow where
the real service's do not: that one reads what a query answers. So answers are counted,
and a test (`tests/contracts/test_firestore_cost.py`) holds every query to an index that
Terraform makes."""


def main() -> int:
    """Measure, write the page, and say whether the limits are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--page", type=Path, default=PAGE)
    chosen = parser.parse_args()
    rows = [event_to_request(chosen.runs)]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        local = SqliteRecords(home / "records.db")
        rows += many(
            "SQLite",
            local,
            lambda count, start: load_sqlite(home / "records.db", count, start),
            home=home,
            counts=chosen.counts,
        )
        local.close()
        with lab(home) as made:
            cloud = FirestoreRecords("local", endpoint=made.firestore)
            rows += many(
                "Firestore's emulator",
                cloud,
                lambda count, start: load_firestore(cloud, count, start),
                home=home,
                counts=chosen.counts,
            )
            cloud.close()
    text = page(rows)
    chosen.page.parent.mkdir(parents=True, exist_ok=True)
    chosen.page.write_text(text, encoding="utf-8")
    print(text)
    missed = [row.what for row in rows if not row.kept]
    for what in missed:
        print(f"over its limit: {what}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
