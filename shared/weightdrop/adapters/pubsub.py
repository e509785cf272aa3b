"""The Bus and Follower ports on Pub/Sub.

The generated clients are used without the batching layer on top of them: one
synchronous call is known to be safe when it returns, keeps the order of one
publisher, and leaves no thread behind in a function that has answered.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from weightdrop import codec, logs
from weightdrop.adapters.faults import translated
from weightdrop.core.deployment.record import Message
from weightdrop.errors import NotFoundError, TransientError

log = logging.getLogger(__name__)

PUBLISH_SECONDS = 20.0
"""How long a publish may take, its retries included."""

PULL_SECONDS = 5.0
"""How long one pull waits for a message."""

PULL_BATCH = 100

LONGEST_RETENTION = timedelta(days=31)
"""Pub/Sub's upper bound for what a topic retains."""

FOLLOWER_PREFIX = "weightdrop-follow-"
"""Names of temporary subscriptions begin with this."""

FOLLOWER_EXPIRES = timedelta(days=1)
"""Pub/Sub removes a temporary subscription that nobody pulls from after this
(its shortest), should its follower have been killed."""


class PubsubBus:
    """Publishes on Pub/Sub topics that exist already.

    Args:
        project: Google Cloud project id.
        endpoint: "host:port" of an emulator; empty for Google's.
    """

    def __init__(self, project: str, *, endpoint: str = "") -> None:
        self._project = project
        self._endpoint = endpoint

    @cached_property
    def _client(self) -> Any:
        from google.pubsub_v1.services.publisher import (  # noqa: PLC0415
            PublisherClient,
        )

        return PublisherClient(**connection(PublisherClient, self._endpoint))

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if "_client" in self.__dict__:
            self.__dict__.pop("_client").transport.close()

    def publish(self, message: Message) -> None:
        """See weightdrop.ports.Bus."""
        action = f"publish on topic {message.topic} of project {self._project}"
        try:
            with translated(action):
                self._client.publish(
                    topic=f"projects/{self._project}/topics/{message.topic}",
                    messages=[
                        {
                            "data": message.data.encode(),
                            "attributes": codec.attributes(message),
                            "ordering_key": message.ordering_key,
                        }
                    ],
                    retry=retrying(PUBLISH_SECONDS),
                    timeout=PUBLISH_SECONDS,
                )
        except NotFoundError as error:
            # Dropping the message would not make the topic.
            raise TransientError(f"{error}. Apply the Terraform module.") from error
        if message.type:
            facts = {logs.EVENT: message.type, logs.DEPLOYMENT: message.ordering_key}
            log.info("published %s", message.type, extra={"facts": facts})


class PubsubFollower:
    """Follows a topic through a subscription that lives as long as it looks.

    Args:
        project: Google Cloud project id.
        endpoint: "host:port" of an emulator; empty for Google's.
    """

    def __init__(self, project: str, *, endpoint: str = "") -> None:
        self._project = project
        self._endpoint = endpoint

    @contextmanager
    def follow(
        self,
        topic: str,
        *,
        from_start: bool = False,
        idle_seconds: float | None = None,
    ) -> Iterator[Iterator[Message]]:
        """See weightdrop.ports.Follower."""
        from google.pubsub_v1.services.subscriber import (  # noqa: PLC0415
            SubscriberClient,
        )

        name = f"projects/{self._project}/subscriptions/{FOLLOWER_PREFIX}{uuid.uuid4()}"
        action = f"follow topic {topic} of project {self._project}"
        with translated(action):
            made = SubscriberClient(**connection(SubscriberClient, self._endpoint))
        with made as client:
            with translated(action):
                self._subscribe(client, name, topic=topic)
            try:
                if from_start:
                    with translated(action):
                        _rewind(client, name)
                yield _pulled(client, name, topic=topic, idle=idle_seconds)
            finally:
                with translated(f"delete the subscription {name}"):
                    client.delete_subscription(subscription=name)

    def _subscribe(self, client: Any, name: str, *, topic: str) -> None:
        client.create_subscription(
            request={
                "name": name,
                "topic": f"projects/{self._project}/topics/{topic}",
                "enable_message_ordering": True,
                "expiration_policy": {"ttl": FOLLOWER_EXPIRES},
            },
            timeout=PUBLISH_SECONDS,
        )


def _rewind(client: Any, name: str) -> None:
    """Let the subscription begin with the oldest message its topic retains."""
    from google.api_core import exceptions  # noqa: PLC0415

    start = datetime.now(UTC) - LONGEST_RETENTION
    # The emulator cannot seek an ordered subscription, but begins a new one
    # with what is retained anyway; Pub/Sub itself begins with what is new.
    with suppress(exceptions.MethodNotImplemented):
        client.seek(
            request={"subscription": name, "time": start}, timeout=PUBLISH_SECONDS
        )


def _pulled(
    client: Any, name: str, *, topic: str, idle: float | None
) -> Iterator[Message]:
    waiting_since = time.monotonic()
    while True:
        left = PULL_SECONDS
        if idle is not None:
            left = min(left, waiting_since + idle - time.monotonic())
            if left <= 0:
                return
        with translated(f"read from topic {topic}"):
            messages = _pull(client, name, seconds=left)
        for message in messages:
            yield codec.received(
                topic=topic,
                data=message.data,
                attributes=message.attributes,
                ordering_key=message.ordering_key,
            )
        if messages:
            waiting_since = time.monotonic()


def _pull(client: Any, name: str, *, seconds: float) -> list[Any]:
    """The next messages, acknowledged; none if there were none in time."""
    from google.api_core import exceptions  # noqa: PLC0415

    try:
        pulled = client.pull(
            subscription=name, max_messages=PULL_BATCH, retry=None, timeout=seconds
        ).received_messages
    except (exceptions.DeadlineExceeded, exceptions.ServiceUnavailable):
        return []
    if pulled:
        client.acknowledge(subscription=name, ack_ids=[it.ack_id for it in pulled])
    return [it.message for it in pulled]


def retrying(seconds: float) -> Any:
    """A retry for calls that may be repeated, for so many seconds altogether."""
    from google.api_core import exceptions, retry  # noqa: PLC0415

    return retry.Retry(
        predicate=retry.if_exception_type(
            exceptions.Aborted,
            exceptions.DeadlineExceeded,
            exceptions.InternalServerError,
            exceptions.ResourceExhausted,
            exceptions.ServiceUnavailable,
            exceptions.Unknown,
        ),
        initial=0.1,
        maximum=5.0,
        timeout=seconds,
    )


def connection(client: Any, endpoint: str) -> dict[str, Any]:
    """What the client's constructor needs to reach an emulator, or Google."""
    if not endpoint:
        return {}
    import grpc  # type: ignore[import-untyped]  # noqa: PLC0415

    transport = client.get_transport_class("grpc")
    return {"transport": transport(channel=grpc.insecure_channel(endpoint))}
