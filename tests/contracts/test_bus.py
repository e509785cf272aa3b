"""What every implementation of the Bus and Follower ports promises."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient

from fakes.builders import NOON, make_message
from fakes.bus import MemoryBus
from weightdrop.adapters.pubsub import PubsubBus, PubsubFollower, connection
from weightdrop.core.deployment.record import Message
from weightdrop.errors import NotFoundError, PermanentError, TransientError
from weightdrop.local.follower import SqliteFollower
from weightdrop.local.queue import SqliteBus
from weightdrop.ports import Bus, Follower

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass(frozen=True, slots=True)
class Place:
    """A bus, a follower of it, and topics that exist and are empty.

    In the cloud `retained` is one that keeps what was published; the emulator
    would show it to every new subscription, which Pub/Sub itself does not.
    """

    bus: Bus
    follower: Follower
    topic: str = "weightdrop-events"
    retained: str = "weightdrop-events"
    other: str = "weightdrop-requests"

    def message(self, identity: str, **fields: Any) -> Message:
        """A message on the topic."""
        return make_message(identity, **({"topic": self.topic} | fields))


def _cloud(endpoint: str) -> Iterator[Place]:
    project = f"test-{uuid.uuid4().hex[:20]}"
    with PublisherClient(**connection(PublisherClient, endpoint)) as admin:
        for topic in ("weightdrop-events", "weightdrop-requests"):
            admin.create_topic(name=f"projects/{project}/topics/{topic}")
        admin.create_topic(
            request={
                "name": f"projects/{project}/topics/retained",
                "message_retention_duration": timedelta(minutes=10),
            }
        )
    bus = PubsubBus(project, endpoint=endpoint)
    follower = PubsubFollower(project, endpoint=endpoint)
    yield Place(bus, follower, retained="retained")
    bus.close()


@pytest.fixture(
    params=["memory", "sqlite", pytest.param("pubsub", marks=pytest.mark.emulators)]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty topic of each kind."""
    if request.param == "memory":
        memory = MemoryBus()
        yield Place(memory, memory)
    elif request.param == "sqlite":
        local = SqliteBus(tmp_path / "queue.db")
        yield Place(local, SqliteFollower(tmp_path / "queue.db"))
        local.close()
    else:
        yield from _cloud(request.getfixturevalue("pubsub_endpoint"))


def _take(messages: Iterator[Message], count: int) -> list[Message]:
    """The next `count` messages without repeats, which are allowed."""
    taken: dict[str, Message] = {}
    for message in messages:
        taken.setdefault(message.id, message)
        if len(taken) == count:
            break
    return list(taken.values())


def test_an_event_arrives_as_it_was(place: Place) -> None:
    """Every field survives, text beyond ASCII and microseconds too."""
    event = place.message(
        "event-1",
        time=NOON + timedelta(microseconds=123456),
        data='{"message": "größer 模型 \\u0000"}',
        trace=TRACE,
    )
    with place.follower.follow(place.topic, idle_seconds=60) as messages:
        place.bus.publish(event)

        assert next(messages) == event


def test_a_request_arrives_as_it_was(place: Place) -> None:
    """A message without a type, which is no CloudEvent, survives too."""
    request = place.message("request-1", type="", trace=TRACE)
    with place.follower.follow(place.topic, idle_seconds=60) as messages:
        place.bus.publish(request)

        assert next(messages) == request


def test_a_follower_sees_only_what_comes_after(place: Place) -> None:
    """Without from_start, what was published before is not seen."""
    place.bus.publish(place.message("before"))
    with place.follower.follow(place.topic, idle_seconds=60) as messages:
        place.bus.publish(place.message("after"))

        assert next(messages).id == "after"


def test_a_follower_from_the_start_sees_what_is_retained(place: Place) -> None:
    """With from_start, earlier messages come first."""
    before, after = (
        make_message(identity, topic=place.retained) for identity in ("before", "after")
    )
    place.bus.publish(before)
    with place.follower.follow(
        place.retained, from_start=True, idle_seconds=60
    ) as messages:
        place.bus.publish(after)

        assert [message.id for message in _take(messages, 2)] == ["before", "after"]


def test_a_follower_sees_its_topic_alone(place: Place) -> None:
    """Messages of other topics are not mixed in."""
    with place.follower.follow(place.topic, idle_seconds=60) as messages:
        place.bus.publish(place.message("x", topic=place.other))
        place.bus.publish(place.message("y"))

        assert next(messages).id == "y"


def test_an_idle_follower_ends(place: Place) -> None:
    """The iterator ends when nothing came for as long as was asked."""
    with place.follower.follow(place.topic, idle_seconds=0.2) as messages:
        assert list(messages) == []


def test_followers_take_nothing_from_each_other(place: Place) -> None:
    """Two followers each see every message."""
    with (
        place.follower.follow(place.topic, idle_seconds=60) as one,
        place.follower.follow(place.topic, idle_seconds=60) as two,
    ):
        for number in range(3):
            place.bus.publish(place.message(f"m{number}"))

        assert [message.id for message in _take(one, 3)] == ["m0", "m1", "m2"]
        assert [message.id for message in _take(two, 3)] == ["m0", "m1", "m2"]


def test_publishing_again_is_harmless(place: Place) -> None:
    """The same message twice arrives at least once, with one id."""
    with place.follower.follow(place.topic, idle_seconds=60) as messages:
        for identity in ("same", "same", "end"):
            place.bus.publish(place.message(identity))

        assert [message.id for message in _take(messages, 2)] == ["same", "end"]


def test_order_within_a_key(place: Place) -> None:
    """Messages of one key arrive in the order of publishing, keys mixed."""
    with place.follower.follow(place.topic, idle_seconds=60) as messages:
        for number in range(60):
            place.bus.publish(
                place.message(f"{number:02}", ordering_key=f"key-{number % 3}")
            )
        seen = _take(messages, 60)

    for key in range(3):
        numbers = [int(it.id) for it in seen if it.ordering_key == f"key-{key}"]
        assert numbers == list(range(key, 60, 3))


def test_many_publishers_lose_nothing(place: Place) -> None:
    """Threads that publish at once through one bus: every message arrives."""
    start = threading.Barrier(8)

    def publish(thread: int) -> None:
        start.wait()
        for number in range(10):
            place.bus.publish(
                place.message(f"{thread}-{number}", ordering_key=f"key-{thread}")
            )

    with place.follower.follow(place.topic, idle_seconds=60) as messages:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(publish, range(8)))
        seen = _take(messages, 80)

    assert {f"{thread}-{number}" for thread in range(8) for number in range(10)} == {
        message.id for message in seen
    }
    own = [message.id for message in seen if message.ordering_key == "key-3"]
    assert own == [f"3-{number}" for number in range(10)]


# --------------------------------------------------------- each kind by itself


def test_a_local_bus_without_a_place_is_transient(tmp_path: Path) -> None:
    """What is not known to be safe is told as transient, with the file."""
    (tmp_path / "queue.db").mkdir()
    bus = SqliteBus(tmp_path / "queue.db")

    with pytest.raises(TransientError, match=r"queue\.db"):
        bus.publish(make_message())


@pytest.fixture
def cloud_place(pubsub_endpoint: str) -> Iterator[Place]:
    """An empty topic of the emulator."""
    yield from _cloud(pubsub_endpoint)


@pytest.mark.emulators
def test_a_missing_topic(pubsub_endpoint: str) -> None:
    """Publishing stays unsafe until the topic is made; following says so at once."""
    missing = make_message(topic="weightdrop-nothing")
    bus = PubsubBus("test-nothing", endpoint=pubsub_endpoint)
    follower = PubsubFollower("test-nothing", endpoint=pubsub_endpoint)

    with pytest.raises(TransientError, match="weightdrop-nothing"):
        bus.publish(missing)
    with (
        pytest.raises(NotFoundError, match="weightdrop-nothing"),
        follower.follow("weightdrop-nothing"),
    ):
        pass
    bus.close()


@pytest.mark.emulators
def test_an_unreachable_bus_is_transient(
    monkeypatch: pytest.MonkeyPatch, pubsub_endpoint: str
) -> None:
    """No server means the message is not known to be safe."""
    monkeypatch.setattr("weightdrop.adapters.pubsub.PUBLISH_SECONDS", 1.0)
    bus = PubsubBus("test-nobody", endpoint="127.0.0.1:1")

    with pytest.raises(TransientError, match="weightdrop-events"):
        bus.publish(make_message())
    bus.close()


@pytest.mark.emulators
def test_a_follower_leaves_no_subscription(
    cloud_place: Place, pubsub_endpoint: str
) -> None:
    """The temporary subscription is gone, also when the reader raised."""
    topic = f"projects/{cloud_place.bus._project}/topics/{cloud_place.topic}"  # type: ignore[attr-defined]

    def subscriptions() -> list[str]:
        with PublisherClient(**connection(PublisherClient, pubsub_endpoint)) as admin:
            return list(admin.list_topic_subscriptions(topic=topic))

    def interrupted() -> None:
        with cloud_place.follower.follow(cloud_place.topic):
            assert len(subscriptions()) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert subscriptions() == []


@pytest.mark.emulators
def test_events_carry_the_attributes_of_the_binding(
    cloud_place: Place, pubsub_endpoint: str
) -> None:
    """A subscriber in any language finds CloudEvents' binary form."""
    project = cloud_place.bus._project  # type: ignore[attr-defined]
    name = f"projects/{project}/subscriptions/reader"
    with SubscriberClient(**connection(SubscriberClient, pubsub_endpoint)) as reader:
        reader.create_subscription(
            name=name, topic=f"projects/{project}/topics/{cloud_place.topic}"
        )
        cloud_place.bus.publish(cloud_place.message("event-1"))
        received = reader.pull(subscription=name, max_messages=1, timeout=60)

    message = received.received_messages[0].message
    assert dict(message.attributes) == {
        "ce-specversion": "1.0",
        "ce-id": "event-1",
        "ce-type": "weightdrop.deployment.waiting.v1",
        "ce-source": "/weightdrop/deployments/tiny-12345678",
        "ce-subject": "tiny-12345678",
        "ce-time": "2026-01-01T12:00:00Z",
        "content-type": "application/json",
    }
    assert message.ordering_key == "tiny-12345678"


@pytest.mark.emulators
def test_a_foreign_message_is_named(cloud_place: Place, pubsub_endpoint: str) -> None:
    """Whoever else publishes on the topic is reported, not guessed at."""
    topic = f"projects/{cloud_place.bus._project}/topics/{cloud_place.topic}"  # type: ignore[attr-defined]
    with (
        cloud_place.follower.follow(cloud_place.topic, idle_seconds=60) as messages,
        PublisherClient(**connection(PublisherClient, pubsub_endpoint)) as admin,
    ):
        admin.publish(topic=topic, messages=[{"data": b"hello"}])

        with pytest.raises(PermanentError, match="none of Weightdrop's"):
            next(messages)
