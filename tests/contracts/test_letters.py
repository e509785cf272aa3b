"""What every implementation of the DeadLetters port promises."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.pubsub_v1 import PublisherClient, SubscriberClient

from fakes.builders import NOON, make_message
from weightdrop import codec, letters
from weightdrop.adapters import pubsub_letters
from weightdrop.adapters.pubsub import PubsubBus, PubsubFollower, connection
from weightdrop.adapters.pubsub_letters import PubsubDeadLetters
from weightdrop.core.deployment.events import DEAD_LETTERS_TOPIC, REQUESTS_TOPIC
from weightdrop.core.deployment.record import Message
from weightdrop.errors import ConflictError, NotFoundError
from weightdrop.local.follower import SqliteFollower
from weightdrop.local.letters import SqliteDeadLetters
from weightdrop.local.queue import SqliteBus
from weightdrop.ports import Bus, DeadLetters, Follower

PROJECT = "local"


@dataclass(frozen=True, slots=True)
class Place:
    """Dead letters, and the bus they are on."""

    letters: DeadLetters
    bus: Bus
    follower: Follower

    def bury(self, message: Message, **changes: Any) -> None:
        """Keep `message` as a handler does that cannot handle it."""
        data = {
            "message": {
                "data": base64.b64encode(message.data.encode()).decode(),
                "attributes": codec.attributes(message),
                "messageId": "7",
                "orderingKey": message.ordering_key,
            },
            "subscription": "projects/p/subscriptions/s",
        }
        source = f"//pubsub.googleapis.com/projects/{PROJECT}/topics/{message.topic}"
        attributes: dict[str, Any] = {"id": "7", "source": source} | changes
        self.bus.publish(
            letters.bury(attributes, data, reason="no such thing", now=NOON)
        )


@pytest.fixture(params=["sqlite", pytest.param("pubsub", marks=pytest.mark.emulators)])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """No dead letters yet, of each kind."""
    if request.param == "sqlite":
        path = tmp_path / "queue.db"
        local, bus = SqliteDeadLetters(path), SqliteBus(path)
        yield Place(local, bus, SqliteFollower(path))
        bus.close()
        local.close()
        return
    monkeypatch.setattr(pubsub_letters, "FIND_SECONDS", 5.0)
    monkeypatch.setattr(pubsub_letters, "PULL_SECONDS", 1.0)
    endpoint = request.getfixturevalue("pubsub_endpoint")
    project = f"test-{uuid.uuid4().hex[:20]}"
    with PublisherClient(**connection(PublisherClient, endpoint)) as admin:
        for topic in (REQUESTS_TOPIC, DEAD_LETTERS_TOPIC):
            admin.create_topic(name=f"projects/{project}/topics/{topic}")
    with SubscriberClient(**connection(SubscriberClient, endpoint)) as reader:
        reader.create_subscription(
            name=f"projects/{project}/subscriptions/{DEAD_LETTERS_TOPIC}",
            topic=f"projects/{project}/topics/{DEAD_LETTERS_TOPIC}",
        )
    cloud = PubsubDeadLetters(project, endpoint=endpoint)
    cloud_bus = PubsubBus(project, endpoint=endpoint)
    yield Place(cloud, cloud_bus, PubsubFollower(project, endpoint=endpoint))
    cloud.close()
    cloud_bus.close()


def _request(identity: str = "request-1") -> Message:
    return make_message(identity, topic=REQUESTS_TOPIC, type="")


def test_a_buried_message_is_listed_with_its_reason(place: Place) -> None:
    """Whoever looks learns what it was, where it came from, and why it is here."""
    place.bury(_request())

    (letter,) = place.letters.letters(limit=10)
    assert (letter.origin, letter.reason) == (REQUESTS_TOPIC, "no such thing")
    assert letter.ordering_key == "tiny-12345678"
    assert json.loads(letter.data)["event"] == "request-1"


def test_looking_takes_nothing_away(place: Place) -> None:
    """A second look sees the same letters."""
    place.bury(_request())

    first = place.letters.letters(limit=10)
    assert first == place.letters.letters(limit=10)
    assert len(first) == 1


def test_no_letters_is_an_empty_list(place: Place) -> None:
    """Nothing is wrong when all is well."""
    assert place.letters.letters(limit=10) == ()


def test_a_redriven_letter_is_published_as_it_was(place: Place) -> None:
    """The subscriber sees the message once more, and the letter is gone."""
    place.bury(_request())
    (letter,) = place.letters.letters(limit=10)

    with place.follower.follow(REQUESTS_TOPIC, idle_seconds=60) as messages:
        redriven = place.letters.redrive(letter.id)

        assert next(messages) == _request()
    assert redriven == letter
    assert place.letters.letters(limit=10) == ()


def test_redriving_one_leaves_the_others(place: Place) -> None:
    """Each letter goes by itself."""
    for number in range(3):
        place.bury(_request(f"request-{number}"), id=str(number))
    kept = place.letters.letters(limit=10)

    place.letters.redrive(kept[1].id)

    left = {it.id for it in place.letters.letters(limit=10)}
    assert left == {kept[0].id, kept[2].id}


@pytest.mark.parametrize(
    "source",
    [
        "",
        7,
        "//pubsub.googleapis.com/projects/local/topics/foreign",
        "//pubsub.googleapis.com/projects/a/b/topics/weightdrop-requests",
    ],
)
def test_a_letter_from_nowhere_stays(place: Place, source: object) -> None:
    """What a forged event says of its topic does not make us publish there."""
    place.bury(_request(), source=source)
    (letter,) = place.letters.letters(limit=10)

    with pytest.raises(ConflictError, match="came"):
        place.letters.redrive(letter.id)

    assert letter.origin == ""
    assert [it.id for it in place.letters.letters(limit=10)] == [letter.id]


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 10_000, '{"reason": 7}', "null"])
def test_a_letter_of_any_form_is_shown(place: Place, text: str) -> None:
    """Whatever is published on the topic is listed and never crashes the list."""
    place.bus.publish(make_message(topic=DEAD_LETTERS_TOPIC, data=text or " "))

    (letter,) = place.letters.letters(limit=10)
    assert (letter.origin, letter.data) == ("", text or " ")


def test_an_unknown_letter_is_named(place: Place) -> None:
    """A wrong id is an error that says where to look."""
    with pytest.raises(NotFoundError, match="dead-letters"):
        place.letters.redrive("4711")


@pytest.mark.emulators
def test_what_pubsub_gave_up_goes_back_to_its_topic(pubsub_endpoint: str) -> None:
    """Its own dead letters name the subscription, which names the topic."""
    project = f"test-{uuid.uuid4().hex[:20]}"
    topics = f"projects/{project}/topics"
    subscriptions = f"projects/{project}/subscriptions"
    with PublisherClient(**connection(PublisherClient, pubsub_endpoint)) as admin:
        for topic in (REQUESTS_TOPIC, DEAD_LETTERS_TOPIC):
            admin.create_topic(name=f"{topics}/{topic}")
    port = PubsubDeadLetters(project, endpoint=pubsub_endpoint)
    bus = PubsubBus(project, endpoint=pubsub_endpoint)
    with SubscriberClient(**connection(SubscriberClient, pubsub_endpoint)) as reader:
        reader.create_subscription(
            name=f"{subscriptions}/{DEAD_LETTERS_TOPIC}",
            topic=f"{topics}/{DEAD_LETTERS_TOPIC}",
        )
        reader.create_subscription(
            request={
                "name": f"{subscriptions}/function",
                "topic": f"{topics}/{REQUESTS_TOPIC}",
                "dead_letter_policy": {
                    "dead_letter_topic": f"{topics}/{DEAD_LETTERS_TOPIC}",
                    "max_delivery_attempts": 5,
                },
            }
        )
        bus.publish(_request())
        letter = _refused_until_dead(reader, f"{subscriptions}/function", port)
        port.redrive(letter)

        again = reader.pull(
            subscription=f"{subscriptions}/function", max_messages=1, timeout=60
        ).received_messages[0]

    assert again.message.data.decode() == _request().data
    assert dict(again.message.attributes) == codec.attributes(_request())
    assert port.letters(limit=10) == ()
    port.close()
    bus.close()


def _refused_until_dead(reader: Any, name: str, port: DeadLetters) -> str:
    """Refuse what is delivered until it is a dead letter; gives the letter's id."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            found = reader.pull(
                subscription=name, max_messages=1, retry=None, timeout=3
            ).received_messages
        except DeadlineExceeded:
            found = []
        for received in found:
            reader.modify_ack_deadline(
                subscription=name, ack_ids=[received.ack_id], ack_deadline_seconds=0
            )
        if not found and (dead := port.letters(limit=1)):
            assert (dead[0].origin, dead[0].attempts) == (REQUESTS_TOPIC, 5)
            return dead[0].id
    pytest.fail("it never became a dead letter")
