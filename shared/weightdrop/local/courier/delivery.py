"""Deploy requests out of the queue, posted as Eventarc would."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from weightdrop import codec
from weightdrop.core.deployment.record import Message
from weightdrop.errors import TransientError
from weightdrop.local.cloudevents import published
from weightdrop.local.log import Watch
from weightdrop.local.queue import Claim, SqliteBus

POLL_SECONDS = 0.02
"""How often another process's publish is looked for; one look takes microseconds."""

UNREACHABLE_SECONDS = 0.5
"""Wait after a refused connection: the function is just starting."""

REASON_LENGTH = 500
"""Characters of an answer that explain a refusal."""

PRUNE_SECONDS = 3600.0
RETAINED = timedelta(days=7)
"""How long the log keeps messages, as Pub/Sub does by default."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a topic's messages go.

    Attributes:
        topic: Name of the topic.
        url: The function's address.
        project: Named in the CloudEvent's source.
        timeout_seconds: How long the function may take to answer.
        parallel: Deliveries under way at once, each of another ordering key.
    """

    topic: str
    url: str
    project: str
    timeout_seconds: float = 120.0
    parallel: int = 8

    @property
    def lease_seconds(self) -> float:
        """Longer than any answer takes, so that no claim runs out meanwhile."""
        return self.timeout_seconds + 30.0


async def deliver(
    queue: SqliteBus, route: Route, client: httpx.AsyncClient, watch: Watch
) -> None:
    """Deliver the topic's messages until cancelled.

    A delivery that is cancelled is neither acknowledged nor refused: the next
    courier finds it claimed and delivers it again.
    """
    await asyncio.to_thread(queue.subscribe, route.topic)
    returned = await asyncio.to_thread(queue.recover, route.topic)
    if returned:
        _log.info("delivering %d messages of an earlier courier again", returned)
    under_way: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:
        while True:
            try:
                watch.changed()
                claims = await asyncio.to_thread(
                    queue.claim,
                    route.topic,
                    limit=route.parallel - len(under_way),
                    lease_seconds=route.lease_seconds,
                )
                next_time = await asyncio.to_thread(queue.next_time, route.topic)
            except TransientError as error:
                _log.warning("%s", error)
                await asyncio.sleep(UNREACHABLE_SECONDS)
                continue
            for claim in claims:
                task = group.create_task(_attempt(queue, route, client, claim))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await _change(route, under_way, watch, next_time)


async def prune(queue: SqliteBus) -> None:
    """Keep the log from growing without end, until cancelled."""
    while True:
        try:
            await asyncio.to_thread(queue.prune, before=datetime.now(UTC) - RETAINED)
        except TransientError as error:
            _log.warning("%s", error)
        await asyncio.sleep(PRUNE_SECONDS)


async def _change(
    route: Route,
    under_way: set[asyncio.Task[None]],
    watch: Watch,
    next_time: datetime | None,
) -> None:
    """Return when there may be something to claim."""
    while True:
        full = len(under_way) >= route.parallel
        if not full and (watch.changed() or _past(next_time)):
            return
        if not under_way:
            await asyncio.sleep(POLL_SECONDS)
            continue
        done, _ = await asyncio.wait(
            under_way,
            timeout=None if full else POLL_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if done:
            return


def _past(time: datetime | None) -> bool:
    return time is not None and datetime.now(UTC) >= time


async def _attempt(
    queue: SqliteBus, route: Route, client: httpx.AsyncClient, claim: Claim
) -> None:
    """Post one claim and write down how it ended."""
    message = claim.entry.message
    event = published(
        project=route.project,
        topic=route.topic,
        message_id=str(claim.entry.sequence),
        time=claim.entry.published,
        data=message.data,
        attributes=codec.attributes(message),
        ordering_key=message.ordering_key,
    )
    try:
        response = await client.post(
            route.url,
            content=event.data,
            headers=event.headers(),
            timeout=route.timeout_seconds,
        )
    except (httpx.ConnectError, httpx.ConnectTimeout):
        await _settle(
            lambda: queue.postpone(claim, seconds=UNREACHABLE_SECONDS), message
        )
        return
    except httpx.HTTPError as error:
        reason = f"{route.url} gave no answer: {type(error).__name__} {error}"
    else:
        if response.is_success:
            await _settle(lambda: queue.acknowledge(claim), message)
            return
        said = response.text[:REASON_LENGTH].strip()
        reason = f"{route.url} said {response.status_code}: {said}"
    _log.warning("%s, attempt %d: %s", message.ordering_key, claim.attempt, reason)
    await _settle(lambda: queue.refuse(claim, reason=reason), message)


async def _settle(write: Callable[[], object], message: Message) -> None:
    try:
        await asyncio.to_thread(write)
    except TransientError as error:
        # Its claim runs out, and it is delivered again: at least once.
        _log.warning("%s is left claimed: %s", message.ordering_key, error)
