"""`weightdrop up --emulators`: the cloud's adapters on one machine.

The servers are small stand-ins for vLLM: what is new here is where records and
messages are.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contracts import emulators
from end_to_end.conftest import LocalStack, small_stack, until
from weightdrop.adapters.firestore import FirestoreRecords
from weightdrop.adapters.pubsub import PubsubFollower
from weightdrop.core.deployment.events import EVENTS_TOPIC
from weightdrop.local import emulators as commands

pytestmark = pytest.mark.emulators


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack on emulators."""
    try:
        commands.firestore("127.0.0.1", 1)
        commands.pubsub("127.0.0.1", 1)
    except emulators.EmulatorsMissingError as error:
        if emulators.required():
            pytest.fail(f"EMULATORS MISSING: {error}")
        pytest.skip(f"EMULATORS MISSING: {error}")
    home, image = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("image")
    with small_stack(home, image, "--emulators") as running:
        yield running


def address(stack: LocalStack, name: str) -> str:
    """Host and port of an emulator."""
    return stack.stack.urls[name].removeprefix("http://")


def types(stack: LocalStack) -> set[str]:
    """Short types of the events that Pub/Sub still holds."""
    follower = PubsubFollower("local", endpoint=address(stack, "pubsub"))
    with follower.follow(EVENTS_TOPIC, from_start=True, idle_seconds=1) as messages:
        return {message.type.split(".")[2] for message in messages}


def test_a_drop_becomes_an_endpoint_with_its_record_in_firestore(
    stack: LocalStack, model: Path
) -> None:
    """Requests are pushed by Pub/Sub, and the events are read from there."""
    stack.copy(model, "mine")
    view = stack.when("mine", "ready")
    records = FirestoreRecords(project="local", endpoint=address(stack, "firestore"))
    held = records.get(stack.id_of("mine"))
    records.close()

    assert held is not None
    assert held.deployment.phase == "ready"
    assert view["endpoint"]["baseUrl"].startswith(stack.stack.urls["vertex"])
    assert {"accepted", "progress", "ready"} <= types(stack)
    assert not (stack.home / "records.db").exists()
    assert not (stack.home / "queue.db").exists()


def test_a_foreign_name_is_refused_as_on_any_local_stack(stack: LocalStack) -> None:
    """Nobody asks for a password here, so no other site may lead here."""
    answer = httpx.get(
        stack.stack.urls["status"],
        headers={"Host": "evil.example", "Accept": "text/html"},
        trust_env=False,
    )

    assert answer.status_code == 403


def test_an_emulator_that_died_is_told_its_topics_again(
    stack: LocalStack, model: Path
) -> None:
    """It keeps everything in memory; the next drop works all the same."""
    before = stack.pids()["pubsub"]
    os.kill(before, signal.SIGKILL)
    until(lambda: stack.pids().get("pubsub", before) not in {0, before}, "it is back")

    stack.copy(model, "later")

    assert stack.when("later", "ready")["phase"] == "ready"


def test_records_and_what_stands_for_them_end_together(stack: LocalStack) -> None:
    """After a start, what lies in the bucket is noticed again and deployed anew."""
    stack.process.terminate()
    stack.process.wait(15)
    stack.start()

    assert stack.when("mine", "ready")["revision"] == 1
