"""The programs that pages hand out do what they say."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import functions_framework
import pytest

from contracts import emulators
from docs.answering import Handler
from docs.blocks import blocks
from page import samples
from weightdrop import codec
from weightdrop.adapters.pubsub import PubsubBus
from weightdrop.core.deployment.events import EVENTS_TOPIC
from weightdrop.core.deployment.record import Message
from weightdrop.core.deployment.views import SAMPLE_PROMPT, endpoint_view
from weightdrop.local.cloudevents import published
from weightdrop_functions.page.sight import python_snippet

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "events.md"
PATIENCE = 60


def program(name: str, folder: Path) -> Path:
    """A program of the guide, in a file."""
    (text,) = (it.text for it in blocks(GUIDE) if it.detail == name)
    path = folder / name
    path.write_text(text)
    return path


def ready() -> Message:
    """The event that says that a deployment answers."""
    return samples.told(samples.ready())[-1]


def test_the_function_prints_where_to_ask(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Called as Eventarc calls it, with the message as it is published."""
    main = program("main.py", tmp_path)
    client = functions_framework.create_app("on_event", str(main)).test_client()
    event = ready()
    delivery = published(
        project="p",
        topic=EVENTS_TOPIC,
        message_id="1",
        time=event.time,
        data=event.data,
        attributes=codec.attributes(event),
    )

    answer = client.post("/", headers=delivery.headers(), data=delivery.data)

    assert answer.status_code == 200, answer.text
    said = capfd.readouterr().out
    assert f"{event.ordering_key} answers at https://wd-support-bot" in said


@pytest.fixture
def pubsub() -> Iterator[str]:
    """Where a Pub/Sub emulator listens."""
    try:
        with emulators.pubsub() as endpoint:
            yield endpoint
    except emulators.EmulatorsMissingError as error:
        if emulators.required():
            pytest.fail(str(error))
        pytest.skip(f"EMULATORS MISSING: {error}")


def put(endpoint: str, path: str, body: str) -> None:
    """Make something in the emulator."""
    connection = http.client.HTTPConnection(endpoint, timeout=PATIENCE)
    connection.request("PUT", f"/v1/{path}", body)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.emulators
def test_the_subscriber_prints_each_event_once(pubsub: str, tmp_path: Path) -> None:
    """Published by our own adapter, twice, and received through the emulator."""
    topic, subscription = f"projects/p/topics/{EVENTS_TOPIC}", "inbox"
    put(pubsub, topic, "{}")
    put(pubsub, f"projects/p/subscriptions/{subscription}", f'{{"topic": "{topic}"}}')
    bus = PubsubBus("p", endpoint=pubsub)
    rejected = next(it for it in samples.samples() if it.phase == "rejected")
    for event in (ready(), ready(), samples.told(rejected)[-1]):
        bus.publish(event)
    bus.close()
    process = subprocess.Popen(
        [sys.executable, program("subscribe.py", tmp_path), "p", subscription],
        env={**os.environ, "PUBSUB_EMULATOR_HOST": pubsub},
        stdout=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    timer.cancel()
    process.kill()
    process.communicate()

    answers = [line for line in lines if "answers at https://wd-support-bot" in line]
    assert len(answers) == 1
    assert sum(samples.ERROR.detail in line for line in lines) == 1


def test_the_program_on_the_page_asks() -> None:
    """The Python that the page offers gets an answer from the endpoint it names."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    deployment = samples.ready()
    endpoint: dict[str, Any] = endpoint_view(deployment, deployment.revisions[-1])
    endpoint["baseUrl"] = f"http://127.0.0.1:{server.server_port}/v1"

    done = subprocess.run(
        [sys.executable, "-c", python_snippet(endpoint)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    server.shutdown()
    server.server_close()
    thread.join()

    assert done.stdout == f"You asked: {SAMPLE_PROMPT}\n", done.stderr


def test_the_program_for_the_cloud_compiles() -> None:
    """The same, with a token."""
    deployment = samples.ready()
    endpoint = endpoint_view(deployment, deployment.revisions[-1])
    text = python_snippet(endpoint)

    compile(text, "snippet", "exec")
    assert "google.auth.default" in text
    assert "api_key=token" in text
