"""The DeadLetters port on the subscription of Pub/Sub's dead-letter topic.

Two kinds of letters are there: those that a handler wrote, which say what
they hold (`weightdrop.letters`), and those that Pub/Sub forwarded when nobody
acknowledged them, which name the subscription that gave up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from weightdrop import letters
from weightdrop.adapters.faults import translated
from weightdrop.adapters.pubsub import PULL_BATCH, connection, retrying
from weightdrop.core.deployment.events import DEAD_LETTERS_TOPIC
from weightdrop.errors import ConflictError, NotFoundError
from weightdrop.ports import DeadLetter

CALL_SECONDS = 20.0
PULL_SECONDS = 4.0
"""How long one pull waits before the subscription counts as read."""

FIND_SECONDS = 45.0
"""How long a letter is looked for: one that was just looked at comes back late,
because Pub/Sub waits before it delivers again. Below the 60 s of the
subscription's deadline, so that nothing that was pulled comes twice."""

_FORWARDED = "CloudPubSubDeadLetter"
_SUBSCRIPTION = "CloudPubSubDeadLetterSourceSubscription"
_COUNT = "CloudPubSubDeadLetterSourceDeliveryCount"


@dataclass(frozen=True, slots=True)
class _Taken:
    """A letter that was pulled, and what is published when it is re-driven."""

    letter: DeadLetter
    ack_id: str
    data: bytes
    attributes: Mapping[str, str]


class PubsubDeadLetters:
    """The dead letters of one project.

    Args:
        project: Google Cloud project id.
        endpoint: "host:port" of an emulator; empty for Google's.
        subscription: On the dead-letter topic; nobody else pulls from it.
    """

    def __init__(
        self,
        project: str,
        *,
        endpoint: str = "",
        subscription: str = DEAD_LETTERS_TOPIC,
    ) -> None:
        self._project = project
        self._endpoint = endpoint
        self._name = f"projects/{project}/subscriptions/{subscription}"
        self._origins: dict[str, str] = {}

    @cached_property
    def _client(self) -> Any:
        from google.pubsub_v1.services.subscriber import (  # noqa: PLC0415
            SubscriberClient,
        )

        with translated("reach Pub/Sub"):
            return SubscriberClient(**connection(SubscriberClient, self._endpoint))

    @cached_property
    def _publisher(self) -> Any:
        from google.pubsub_v1.services.publisher import (  # noqa: PLC0415
            PublisherClient,
        )

        with translated("reach Pub/Sub"):
            return PublisherClient(**connection(PublisherClient, self._endpoint))

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        for name in ("_client", "_publisher"):
            if name in self.__dict__:
                self.__dict__.pop(name).transport.close()

    def letters(self, *, limit: int) -> tuple[DeadLetter, ...]:
        """See weightdrop.ports.DeadLetters."""
        found: dict[str, DeadLetter] = {}
        with self._released() as held:
            for taken in self._pull(held):
                found.setdefault(taken.letter.id, taken.letter)
                if len(found) >= limit:
                    break
        return tuple(sorted(found.values(), key=lambda it: (it.time, it.id)))

    def redrive(self, letter_id: str) -> DeadLetter:
        """See weightdrop.ports.DeadLetters."""
        deadline = time.monotonic() + FIND_SECONDS
        with self._released() as held:
            while True:
                for taken in self._pull(held):
                    if taken.letter.id == letter_id:
                        self._publish(taken)
                        held.remove(taken.ack_id)
                        return taken.letter
                if time.monotonic() > deadline:
                    raise NotFoundError(
                        f"There is no dead letter {letter_id!r} in {self._name}: "
                        "`weightdrop dead-letters` lists what there is."
                    )

    # -------------------------------------------------------------------------

    @contextmanager
    def _released(self) -> Iterator[list[str]]:
        """Gives back at the end what was pulled and not dealt with."""
        held: list[str] = []
        try:
            yield held
        finally:
            for start in range(0, len(held), PULL_BATCH):
                with translated(f"give back letters to {self._name}"):
                    self._client.modify_ack_deadline(
                        subscription=self._name,
                        ack_ids=held[start : start + PULL_BATCH],
                        ack_deadline_seconds=0,
                        timeout=CALL_SECONDS,
                    )

    def _pull(self, held: list[str]) -> Iterator[_Taken]:
        """What is there now, until a pull brings nothing."""
        from google.api_core import exceptions  # noqa: PLC0415

        while True:
            with translated(f"read from {self._name}"):
                try:
                    pulled = self._client.pull(
                        subscription=self._name,
                        max_messages=PULL_BATCH,
                        retry=None,
                        timeout=PULL_SECONDS,
                    ).received_messages
                except exceptions.DeadlineExceeded:
                    return
            if not pulled:
                return
            held += [received.ack_id for received in pulled]
            for received in pulled:
                yield self._taken(received)

    def _taken(self, received: Any) -> _Taken:
        message = received.message
        buried = letters.read(message.data.decode(errors="replace"))
        origin = self._origin(message.attributes)
        data, attributes = message.data, dict(message.attributes)
        key, reason = message.ordering_key, "Nobody acknowledged it in time."
        if buried and not origin:
            origin, key, reason = buried.origin, buried.ordering_key, buried.reason
            data, attributes = buried.data, dict(buried.attributes)
        letter = DeadLetter(
            id=message.message_id,
            origin=origin,
            reason=reason,
            attempts=int(message.attributes.get(_COUNT) or 0),
            time=message.publish_time,
            ordering_key=key,
            data=data.decode(errors="replace"),
        )
        return _Taken(letter, received.ack_id, data, attributes)

    def _origin(self, attributes: Mapping[str, str]) -> str:
        """The topic of the subscription that gave a message up; empty if unknown."""
        name = attributes.get(_SUBSCRIPTION, "")
        if not name or "/" in name:
            return ""
        if name not in self._origins:
            path = f"projects/{self._project}/subscriptions/{name}"
            try:
                with translated(f"look at the subscription {name}"):
                    found = self._client.get_subscription(
                        subscription=path, timeout=CALL_SECONDS
                    ).topic
            except NotFoundError:
                found = ""
            ours = f"projects/{self._project}/topics/"
            self._origins[name] = (
                found.removeprefix(ours) if found.startswith(ours) else ""
            )
        return self._origins[name]

    def _publish(self, taken: _Taken) -> None:
        """Publish first and acknowledge after: at worst it is published twice."""
        if not taken.letter.origin:
            raise ConflictError(
                f"Nobody knows from which topic the dead letter {taken.letter.id} came."
            )
        kept = {
            name: value
            for name, value in taken.attributes.items()
            if not name.startswith(_FORWARDED)
        }
        with translated(f"publish on topic {taken.letter.origin}"):
            self._publisher.publish(
                topic=f"projects/{self._project}/topics/{taken.letter.origin}",
                messages=[
                    {
                        "data": taken.data,
                        "attributes": kept,
                        "ordering_key": taken.letter.ordering_key,
                    }
                ],
                retry=retrying(CALL_SECONDS),
                timeout=CALL_SECONDS,
            )
        with translated(f"acknowledge in {self._name}"):
            self._client.acknowledge(
                subscription=self._name, ack_ids=[taken.ack_id], timeout=CALL_SECONDS
            )
