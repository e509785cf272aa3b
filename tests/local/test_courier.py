"""The courier as a process: what it posts, what it survives."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from functions_framework import create_app

from fakes.builders import make_message
from weightdrop.core.deployment.events import REQUESTS_TOPIC
from weightdrop.core.deployment.record import Message
from weightdrop.local.queue import FILE_NAME, Retry, SqliteBus

PATIENCE = 60.0
"""Seconds after which something that should happen never will."""

HOLD = 600.0
"""How long a function that never answers holds on: longer than any patience."""


@dataclass
class Functions:
    """A server in the place of the functions: keeps what it is sent.

    Attributes:
        posts: Path, headers and body of every request, in order of arrival.
        answer: Gives the status for a body; may wait.
    """

    answer: Callable[[str, dict[str, Any]], int] = lambda _path, _body: 204
    posts: list[tuple[str, dict[str, str], dict[str, Any]]] = field(
        default_factory=list
    )
    changed: threading.Condition = field(default_factory=threading.Condition)
    url: str = ""

    def requests(self) -> list[str]:
        """The data of the requests that were delivered, in order of arrival."""
        return [
            base64.b64decode(body["message"]["data"]).decode()
            for path, _, body in list(self.posts)
            if path == "/request"
        ]

    def ticks(self) -> int:
        """How many ticks came."""
        return sum(path == "/tick" for path, _, _ in list(self.posts))

    def wait(self, happened: Callable[[], bool]) -> None:
        """Return when `happened`, which is asked after every post."""
        with self.changed:
            assert self.changed.wait_for(happened, PATIENCE), self.posts[-5:]

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """What http.server makes for every request."""
        functions = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # http.server's name
                length = int(self.headers["content-length"])
                body = json.loads(self.rfile.read(length))
                headers = {key.lower(): value for key, value in self.headers.items()}
                with functions.changed:
                    functions.posts.append((self.path, headers, body))
                    functions.changed.notify_all()
                self.send_response(functions.answer(self.path, body))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def functions() -> Iterator[Functions]:
    """A listening server that says yes to everything."""
    made = Functions()
    with ThreadingHTTPServer(("127.0.0.1", 0), made.handler()) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The stack's home."""
    return tmp_path / "home"


@pytest.fixture
def queue(home: Path) -> Iterator[SqliteBus]:
    """The bus as a function would use it."""
    made = SqliteBus(home / FILE_NAME)
    yield made
    made.close()


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(home: Path, functions: Functions) -> Iterator[Start]:
    """Start a courier; what still runs at the end is killed."""
    started = []

    def begin(url: str = functions.url, seconds: float = 3600) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "weightdrop.local.courier"),
                *("--home", str(home), "--request-url", f"{url}/request"),
                *("--tick-url", f"{url}/tick", "--tick-seconds", str(seconds)),
            ],
            stderr=subprocess.PIPE,
            text=True,
            # A proxy that nobody may ask.
            env={"PATH": os.defpath, "HTTP_PROXY": "http://127.0.0.1:1"},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def _request(identity: str, key: str = "a") -> Message:
    return make_message(
        identity, topic=REQUESTS_TOPIC, ordering_key=key, type="", data=identity
    )


def _done(queue: SqliteBus) -> Callable[[], bool]:
    return lambda: queue.next_time(REQUESTS_TOPIC) is None


def _until(happened: Callable[[], bool]) -> None:
    """Look until it happened: another process's file gives no sign."""
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if happened():
            return
        waiting.wait(0.02)
    pytest.fail("it never happened")


def _leave_one_attempt(queue: SqliteBus) -> None:
    """Put all but the last attempt behind the first request."""
    queue.subscribe(REQUESTS_TOPIC)
    with queue._database.write() as connection:
        connection.execute(
            "UPDATE deliveries SET attempts = ? WHERE sequence = 1",
            (Retry().attempts - 1,),
        )


def _postponed(queue: SqliteBus) -> bool:
    """Whether a request was tried, and waits for less than a lease."""
    time = queue.next_time(REQUESTS_TOPIC)
    if time is None:
        return False
    return timedelta(0) < time - datetime.now(UTC) < timedelta(seconds=1)


def test_a_request_arrives_as_eventarc_sends_it(
    start: Start, functions: Functions, queue: SqliteBus
) -> None:
    """What is posted is a CloudEvent that functions-framework understands."""
    start()
    queue.publish(_request("r1", "tiny-12345678"))
    functions.wait(lambda: bool(functions.requests()))

    (_, headers, body) = next(it for it in functions.posts if it[0] == "/request")
    assert headers["ce-type"] == "google.cloud.pubsub.topic.v1.messagePublished"
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-source"] == (
        f"//pubsub.googleapis.com/projects/local/topics/{REQUESTS_TOPIC}"
    )
    assert body["message"]["messageId"] == headers["ce-id"]
    assert body["message"]["orderingKey"] == "tiny-12345678"
    assert body["message"]["attributes"]["id"] == "r1"
    _until(_done(queue))


def test_functions_framework_takes_what_is_posted(
    start: Start, functions: Functions, queue: SqliteBus, tmp_path: Path
) -> None:
    """The real framework hands the event to a CloudEvent function."""
    start()
    queue.publish(_request("r1"))
    functions.wait(lambda: bool(functions.requests()))
    (_, headers, body) = next(it for it in functions.posts if it[0] == "/request")
    source = tmp_path / "main.py"
    source.write_text(
        "import functions_framework\n"
        "seen = []\n"
        "@functions_framework.cloud_event\n"
        "def handle(event):\n"
        "    assert event['type'].endswith('messagePublished')\n"
        "    assert event.data['message']['orderingKey'] == 'a'\n"
    )
    app = create_app("handle", str(source), "cloudevent")

    response = app.test_client().post("/", headers=headers, data=json.dumps(body))

    assert response.status_code == 200


def test_a_refused_request_comes_again_and_holds_nobody_else(
    start: Start, functions: Functions, queue: SqliteBus
) -> None:
    """500 is tried again; another key goes on meanwhile, its own key waits."""

    def answer(_: str, body: dict[str, Any]) -> int:
        first_try = functions.requests().count("a1") < 2
        data = base64.b64decode(body.get("message", {}).get("data", b""))
        return 500 if data == b"a1" and first_try else 200

    functions.answer = answer
    for identity, key in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")]:
        queue.publish(_request(identity, key))
    start()
    functions.wait(lambda: len(functions.requests()) == 5)

    seen = functions.requests()
    assert [it for it in seen if it[0] == "a"] == ["a1", "a1", "a2"]
    assert [it for it in seen if it[0] == "b"] == ["b1", "b2"]
    assert seen.index("b2") < seen.index("a2")
    _until(_done(queue))


def test_a_slow_function_holds_only_its_key(
    start: Start, functions: Functions, queue: SqliteBus
) -> None:
    """While one request is being answered, those of other keys are delivered."""
    release = threading.Event()

    def answer(_: str, body: dict[str, Any]) -> int:
        if body.get("message", {}).get("orderingKey") == "slow":
            release.wait(HOLD)
        return 200

    functions.answer = answer
    for identity, key in [("s1", "slow"), ("s2", "slow"), ("f1", "fast")]:
        queue.publish(_request(identity, key))
    start()
    functions.wait(lambda: "f1" in functions.requests())
    queue.publish(_request("f2", "fast"))
    functions.wait(lambda: "f2" in functions.requests())

    assert "s2" not in functions.requests()
    release.set()
    functions.wait(lambda: "s2" in functions.requests())


def test_kill_minus_nine_loses_nothing(
    start: Start, functions: Functions, queue: SqliteBus
) -> None:
    """A request under way when the courier is killed is delivered by the next one."""
    hold = threading.Event()

    def answer(_path: str, _body: dict[str, Any]) -> int:
        hold.wait(HOLD)
        return 200

    functions.answer = answer
    for identity in ("1", "2"):
        queue.publish(_request(identity))
    courier = start()
    functions.wait(lambda: functions.requests() == ["1"])
    courier.kill()
    courier.wait()
    hold.set()
    start()
    functions.wait(lambda: functions.requests() == ["1", "1", "2"])

    _until(_done(queue))
    assert queue.dead_letters() == ()


def test_a_function_that_is_not_up_yet_costs_no_attempt(
    start: Start, functions: Functions, queue: SqliteBus, tmp_path: Path
) -> None:
    """Refused connections are no refusals: the request waits for the function."""
    queue.publish(_request("1"))
    _leave_one_attempt(queue)
    courier = start(url="http://127.0.0.1:1", seconds=0.1)
    _until(lambda: _postponed(queue))
    courier.send_signal(signal.SIGTERM)
    _, said = courier.communicate(timeout=PATIENCE)
    start()
    functions.wait(lambda: functions.requests() == ["1"])

    assert queue.dead_letters() == ()
    assert courier.returncode == 0
    # Said once, however often it happens.
    assert said.count("ticks fail") == 1
    assert "Traceback" not in said


def test_terminate_ends_at_once_and_cleanly(
    start: Start, functions: Functions, queue: SqliteBus
) -> None:
    """SIGTERM ends the courier with status 0, even while a function is slow."""
    hold = threading.Event()
    functions.answer = lambda _path, _body: 200 if hold.wait(HOLD) else 500
    queue.publish(_request("1"))
    courier = start()
    functions.wait(lambda: functions.requests() == ["1"])

    courier.send_signal(signal.SIGTERM)
    _, said = courier.communicate(timeout=PATIENCE)

    hold.set()
    assert courier.returncode == 0
    assert "Traceback" not in said


def test_ticks_come_one_at_a_time(start: Start, functions: Functions) -> None:
    """Ticks repeat, but never while one is under way; a failing one stops nothing."""
    under_way: list[int] = []
    most: list[int] = []

    def answer(path: str, _body: dict[str, Any]) -> int:
        if path != "/tick":
            return 200
        under_way.append(1)
        most.append(len(under_way))
        threading.Event().wait(0.05)
        under_way.pop()
        return 500 if len(most) == 2 else 200

    functions.answer = answer
    start(seconds=0.01)
    functions.wait(lambda: functions.ticks() >= 5)

    assert max(most) == 1
    assert {"/tick"} == {path for path, _, body in functions.posts if body == {}}


def test_a_second_courier_is_refused(
    start: Start, functions: Functions, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two couriers on one home: the second says so and ends with status 2."""
    start(seconds=0.1)
    functions.wait(lambda: functions.ticks() > 0)

    second = start()
    _, said = second.communicate(timeout=PATIENCE)

    assert second.returncode == 2
    assert "Another courier" in said
    assert str(home) in said


def test_events_are_left_to_followers(
    start: Start, functions: Functions, queue: SqliteBus
) -> None:
    """Messages of the events topic stay in the log and go to no function."""
    start()
    queue.publish(make_message("event"))
    queue.publish(_request("request"))
    functions.wait(lambda: bool(functions.requests()))
    _until(_done(queue))

    assert functions.requests() == ["request"]
    log = queue.read(make_message().topic, after=0, limit=10)
    assert [entry.message.id for entry in log] == ["event"]


def test_a_poisoned_request_becomes_a_dead_letter(
    start: Start, functions: Functions, queue: SqliteBus, tmp_path: Path
) -> None:
    """At its last attempt it dies with the function's words; the next follows."""

    def answer(_: str, body: dict[str, Any]) -> int:
        data = base64.b64decode(body.get("message", {}).get("data", b""))
        return 503 if data == b"poison" else 200

    functions.answer = answer
    for identity in ("poison", "next"):
        queue.publish(_request(identity))
    _leave_one_attempt(queue)
    start()
    functions.wait(lambda: functions.requests() == ["poison", "next"])

    _until(_done(queue))
    (dead,) = queue.dead_letters()
    assert dead.entry.message.id == "poison"
    assert "said 503" in dead.reason
    assert dead.attempts == 10
