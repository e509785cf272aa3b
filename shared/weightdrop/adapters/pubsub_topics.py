"""The topics and subscriptions on an emulator, which Terraform makes in the cloud."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from weightdrop.adapters.faults import translated
from weightdrop.adapters.pubsub import connection
from weightdrop.core.deployment.events import (
    DEAD_LETTERS_TOPIC,
    EVENTS_TOPIC,
    REQUESTS_TOPIC,
)

PUSHED = "on-request"
"""The subscription that has requests pushed to a function."""

_RETAINED = timedelta(days=7)
_ACK_SECONDS = 120
_ATTEMPTS = 100
_BACK_OFF = (timedelta(seconds=1), timedelta(seconds=10))


class Topics:
    """What the pipeline publishes on and is called by, in one project.

    Args:
        project: Its id.
        endpoint: "host:port" of the emulator.
    """

    def __init__(self, project: str, *, endpoint: str) -> None:
        self._project = project
        self._endpoint = endpoint

    def ensure(self, *, request_url: str = "") -> None:
        """Make what is missing; what is there stays as it is.

        Args:
            request_url: Function that deploy requests are pushed to, as Eventarc
                does it; empty for none.

        Raises:
            TransientError: If the emulator does not answer.
        """
        from google.pubsub_v1 import (  # noqa: PLC0415  # costs a start
            PublisherClient,
            SubscriberClient,
        )

        with (
            translated("make the topics"),
            PublisherClient(**connection(PublisherClient, self._endpoint)) as publisher,
            SubscriberClient(
                **connection(SubscriberClient, self._endpoint)
            ) as subscriber,
        ):
            for topic in (EVENTS_TOPIC, REQUESTS_TOPIC, DEAD_LETTERS_TOPIC):
                _once(
                    publisher.create_topic,
                    name=self._path("topics", topic),
                    message_retention_duration=_RETAINED,
                )
            self._subscribe(subscriber, DEAD_LETTERS_TOPIC, DEAD_LETTERS_TOPIC)
            if request_url:
                self._push(subscriber, request_url)

    def subscribe(self, subscription: str, topic: str) -> None:
        """Make a subscription to be pulled from; what is there stays as it is."""
        from google.pubsub_v1 import SubscriberClient  # noqa: PLC0415

        with (
            translated(f"make the subscription {subscription}"),
            SubscriberClient(
                **connection(SubscriberClient, self._endpoint)
            ) as subscriber,
        ):
            self._subscribe(subscriber, subscription, topic)

    def _subscribe(self, subscriber: Any, name: str, topic: str) -> None:
        _once(
            subscriber.create_subscription,
            name=self._path("subscriptions", name),
            topic=self._path("topics", topic),
            ack_deadline_seconds=600,
        )

    def _push(self, subscriber: Any, url: str) -> None:
        topic = self._path("topics", REQUESTS_TOPIC)
        _once(
            subscriber.create_subscription,
            name=self._path("subscriptions", PUSHED),
            topic=topic,
            # functions-framework makes the CloudEvent of a push, and takes the
            # topic from the path.
            push_config={"push_endpoint": f"{url}/{topic}"},
            ack_deadline_seconds=_ACK_SECONDS,
            dead_letter_policy={
                "dead_letter_topic": self._path("topics", DEAD_LETTERS_TOPIC),
                "max_delivery_attempts": _ATTEMPTS,
            },
            retry_policy={
                "minimum_backoff": _BACK_OFF[0],
                "maximum_backoff": _BACK_OFF[1],
            },
        )

    def _path(self, kind: str, name: str) -> str:
        return f"projects/{self._project}/{kind}/{name}"


def _once(create: Any, **fields: Any) -> None:
    from google.api_core.exceptions import AlreadyExists  # noqa: PLC0415

    try:
        create(request=fields, timeout=10)
    except AlreadyExists:
        return
