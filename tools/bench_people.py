"""Time to first output of every command and page, beside 1,000 deployments.

    make bench-people          or      python tools/bench_people.py --runs 9

A real local stack runs; its records hold 1,000 deployments. Each command is a fresh
process of the installed program on a terminal, its byte code compiled; measured is the
time from its start to the first byte it writes, on either output. Pages are asked for
over one connection each. Writes docs/benchmarks/people.md; exit status 1 when a
median is over the limit.
"""

from __future__ import annotations

import argparse
import compileall
import datetime as dt
import http.client
import json
import os
import platform
import pty
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

from fakes.builders import make_message  # noqa: E402
from page import samples  # noqa: E402
from weightdrop.cli import own_stack  # noqa: E402
from weightdrop.core.deployment.naming import deployment_id  # noqa: E402
from weightdrop.local.records import FILE_NAME, SqliteRecords  # noqa: E402
from weightdrop.local.supervisor.stack import Stack  # noqa: E402
from weightdrop.local.tiny_model import make_tiny_llama  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks" / "people.md"
PROGRAM = Path(sys.executable).with_name("weightdrop")
LIMIT_MS = 200.0
COUNT = 1_000
PATIENCE = 5.0
ABOUT = """\
# For people: time to first output

Written by `make bench-people` on {when} ({machine}).
A local stack with {count} deployments. Of a command: from the start of its process to
the first byte it writes to a terminal, the start of Python included. Of a
page: from the request to the first byte of the answer. Medians of {runs}; the limit of
each is {limit:.0f} ms.

| what | first output | worst of {runs} |
| --- | ---: | ---: |
"""


@dataclass(frozen=True, slots=True)
class Found:
    """The times of one command or page, in milliseconds."""

    name: str
    times: list[float]

    @property
    def median(self) -> float:
        """What is held against the limit."""
        return statistics.median(self.times)


def fill(home: Path) -> list[str]:
    """Put the deployments into the records; returns the ids of the samples."""
    records = SqliteRecords(home / FILE_NAME)
    made = samples.samples()
    for number in range(COUNT - len(made)):
        like = made[number % len(made)]
        prefix = f"{like.prefix}-{number:04}"
        identity = deployment_id(like.bucket, prefix)
        later = like.updated - dt.timedelta(minutes=number)
        one = replace(like, id=identity, prefix=prefix, updated=later, due=None)
        events = tuple(
            make_message(f"{identity}-{it}", ordering_key=identity) for it in range(8)
        )
        records.create(replace(one, outbox=(), leased_until=None), events=events)
    for one in made:
        records.create(replace(one, due=None, outbox=(), leased_until=None))
    records.close()
    return [one.id for one in made]


def commands(model: Path, ids: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Every command as people type it, by what they type."""
    ready, failed = ids["ready"], ids["failed"]
    typed = (
        *("--help", "--version", "completion bash"),
        *("status", f"status {ready}", "status --json", "status --phase failed"),
        *("status --watch", f"status {failed} --watch"),
        *("events", f"events {ready}", "events --follow"),
        *(f"check {model}", f"plan {model}", f"drop {model} gs://models/new"),
        f"ask {failed} Hello",
        *(f"retry {ready}", f"rollback {failed}", f"undeploy {failed}"),
        *("dead-letters", "up --port 1", "demo"),
    )
    names = ("demo", "up", "check", "plan", "drop", "status", "events", "ask")
    names += ("retry", "rollback", "undeploy", "dead-letters")
    every = (*typed, *(f"{name} --help" for name in names))
    shown = {str(model): "FOLDER", ready: "ID", failed: "ID"}
    found = {}
    for words in every:
        name = " ".join(shown.get(word, word) for word in words.split())
        found[name] = tuple(words.split())
    return found


def first_output(words: tuple[str, ...], home: Path) -> float:
    """Milliseconds from the start of a command to the first byte it writes."""
    environment = {
        "HOME": str(home.parent),
        "WEIGHTDROP_HOME": str(home),
        "PATH": os.environ["PATH"],
        "COLUMNS": "120",
        "TERM": "xterm",
    }
    began = time.perf_counter()
    near, far = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=far,
        stderr=far,
        cwd=home.parent,
    )
    select.select([near], [], [], PATIENCE)
    took = time.perf_counter() - began
    process.kill()
    process.wait()
    os.close(near)
    os.close(far)
    return took * 1000


def first_byte(port: int, path: str, kind: str) -> float:
    """Milliseconds from a request to the first byte of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    began = time.perf_counter()
    connection.request("GET", path, headers={"Accept": kind})
    answer = connection.getresponse()
    took = time.perf_counter() - began
    answer.read()
    connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise SystemExit(f"{path} answered {answer.status}")
    return took * 1000


@contextmanager
def stack(home: Path) -> Iterator[Stack]:
    """A local stack with its deployments."""
    process, found = own_stack.start(home)
    with own_stack.ended(process, home):
        yield found


def measure(runs: int) -> list[Found]:
    """Every command and page."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        home, model = Path(folder, "state"), Path(folder, "model")
        home.mkdir()
        make_tiny_llama(model, shards=2)
        with stack(home) as running:
            ids = fill(home)
            phases = {one.phase.value: one.id for one in samples.samples()}
            for name, words in commands(model, phases).items():
                times = [first_output(words, home) for _ in range(runs + 1)]
                found.append(Found(f"`weightdrop {name}`", times[1:]))
            paths = ["/", "/?phase=failed", "/deploy"]
            paths += [f"/deployments/{one}" for one in ids]
            for path in paths:
                times = [
                    first_byte(running.port, path, "text/html") for _ in range(runs + 1)
                ]
                found.append(Found(f"the page `{path}`", times[1:]))
            token = _next(running.port)
            asked = f"/deployments?pageToken={token}"
            times = [
                first_byte(running.port, asked, "application/json")
                for _ in range(runs + 1)
            ]
            found.append(Found("the next page of `GET /deployments`", times[1:]))
    return found


def _next(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/deployments")
    token: str = json.load(connection.getresponse())["nextPageToken"]
    connection.close()
    return token


def page(found: list[Found], runs: int) -> str:
    """The documentation's page, the slowest first."""
    python = f"Python {platform.python_version()}"
    machine = f"{os.cpu_count()} processors, {platform.machine()}, {python}"
    head = ABOUT.format(
        when=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        machine=f"{machine}, load {os.getloadavg()[1]:.1f}",
        count=f"{COUNT:,}",
        runs=runs,
        limit=LIMIT_MS,
    )
    slowest = sorted(found, key=lambda it: -it.median)
    rows = [
        f"| {one.name} | {one.median:.0f} ms | {max(one.times):.0f} ms |\n"
        for one in slowest
    ]
    return head + "".join(rows)


def main() -> int:
    """Measure, write the page, and say whether the limit is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--page", type=Path, default=PAGE)
    chosen = parser.parse_args()
    compileall.compile_dir(ROOT / "shared", quiet=1)
    found = measure(chosen.runs)
    text = page(found, chosen.runs)
    chosen.page.write_text(text, encoding="utf-8")
    print(text)
    missed = [one for one in found if one.median > LIMIT_MS]
    for one in missed:
        print(f"over {LIMIT_MS:.0f} ms: {one.name}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
