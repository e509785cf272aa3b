"""The last lines of a server's log, out of a small Cloud Logging."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from weightdrop.adapters.vertex import VertexPlatform
from weightdrop.ports import ServerLog

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ENDPOINT = "projects/p/locations/us-central1/endpoints/wd-llama"
LOG = "projects/p/logs/aiplatform.googleapis.com%2Fprediction_container"


def entry(seconds: int, **fields: Any) -> dict[str, Any]:
    """An entry as Vertex AI writes it."""
    made: dict[str, Any] = {
        "logName": LOG,
        "resource": {
            "type": "aiplatform.googleapis.com/Endpoint",
            "labels": {"endpoint_id": "wd-llama", "location": "us-central1"},
        },
        "labels": {"deployed_model_id": "1234567890", "replica_id": "r"},
        "timestamp": (NOON + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "jsonPayload": {"message": f"line {seconds}"},
    }
    return made | fields


@dataclass
class Cloud:
    """What the fake knows and was asked.

    Attributes:
        entries: All of them.
        status: What it answers with.
        text: Sent instead of an answer, if not empty.
        asked: The bodies of requests.
        paths: Their paths.
    """

    entries: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    text: bytes = b""
    asked: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """What entries:list answers: the filter's comparisons, order and page."""
        found = [one for one in self.entries if matches(one, body["filter"])]
        found.sort(key=lambda one: one["timestamp"], reverse="desc" in body["orderBy"])
        kept = ("textPayload", "jsonPayload")
        return {
            "entries": [
                {key: one[key] for key in kept if key in one}
                for one in found[: body["pageSize"]]
            ]
        }


def matches(one: dict[str, Any], text: str) -> bool:
    """Whether an entry is what a filter of plain comparisons asks for."""
    for part in text.split(" AND "):
        name, _, wanted = part.partition("=")
        at_least = name.endswith(">")
        value: Any = one
        for step in name.rstrip(">").split("."):
            value = value.get(step, "")
        want = json.loads(wanted)
        if (value < want) if at_least else (value != want):
            return False
    return True


@contextmanager
def serving(cloud: Cloud) -> Iterator[str]:
    """The fake, listening."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            cloud.asked.append(json.loads(body))
            cloud.paths.append(self.path)
            answer = cloud.text or json.dumps(cloud.answer(cloud.asked[-1])).encode()
            self.send_response(cloud.status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def read(cloud: Cloud) -> ServerLog:
    """What the adapter makes of it."""
    with serving(cloud) as url:
        platform = VertexPlatform(project="p", endpoint="http://x", logging=url)
        found = platform.server_log(ENDPOINT, "1234567890", since=NOON)
        platform._clients.http().close()
    return found


def test_the_last_lines_of_this_server_are_read() -> None:
    """Not those of another endpoint, log or time; oldest first; each form of text."""
    foreign = {"type": "aiplatform.googleapis.com/Endpoint", "labels": {}}
    cloud = Cloud(
        [
            entry(3, textPayload="Traceback\n  boom", jsonPayload=None),
            entry(1),
            entry(2, jsonPayload={"event": "x"}),
            entry(-1),
            entry(2, resource=foreign),
            entry(2, labels={"deployed_model_id": "2"}),
            entry(2, logName="projects/p/logs/prediction_access"),
        ]
    )

    found = read(cloud)

    assert found == ServerLog(("line 1", '{"event": "x"}', "Traceback", "  boom"))
    assert cloud.paths[0].startswith("/v2/entries:list?")
    assert cloud.asked[0]["resourceNames"] == ["projects/p"]


def test_few_lines_are_kept_and_none_is_long() -> None:
    """A record has room for forty lines, and no more."""
    long = [entry(n, jsonPayload={"message": "x" * 9000}) for n in range(10)]
    many = [entry(n) for n in range(100, 200)]

    assert {len(line) for line in read(Cloud(long)).lines} == {500}
    lines = read(Cloud(many)).lines
    assert (lines[0], lines[-1], len(lines)) == ("line 160", "line 199", 40)


@pytest.mark.parametrize(
    ("cloud", "words"),
    [
        (Cloud(status=403), "grant the functions logging.logEntries.list"),
        (Cloud(status=401), "grant the functions logging.logEntries.list"),
        (Cloud(status=500), "HTTP 500"),
        (Cloud(text=b"<html>"), "did not answer"),
        (Cloud(text=b"\xff"), "did not answer"),
    ],
)
def test_what_cannot_be_read_is_a_hint(cloud: Cloud, words: str) -> None:
    """The failure itself is told in any case."""
    found = read(cloud)

    assert found.lines == ()
    assert words in found.hint


@pytest.mark.parametrize(
    "text", [b"[]", b'{"entries": [7, {}, {"jsonPayload": []}]}', b"{}"]
)
def test_odd_answers_are_no_lines(text: bytes) -> None:
    """Nobody trusts what a log holds."""
    assert read(Cloud(text=text)) == ServerLog(())


def test_nobody_there_is_a_hint() -> None:
    """Cloud Logging may be away when a server fails."""
    platform = VertexPlatform(
        project="p", endpoint="http://x", logging="http://127.0.0.1:9"
    )

    assert (
        "did not answer" in platform.server_log(ENDPOINT, "1234567890", since=NOON).hint
    )


def test_a_stand_in_has_no_cloud_logging() -> None:
    """It tells a server's last words with the operation."""
    platform = VertexPlatform(project="p", endpoint="http://127.0.0.1:9")

    assert platform.server_log(ENDPOINT, "1", since=NOON) == ServerLog(())
