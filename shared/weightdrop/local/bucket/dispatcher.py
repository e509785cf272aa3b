"""Posts the outbox's events until the function has taken each."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import httpx

from weightdrop.local.bucket.outbox import Outbox, Pending

P = ParamSpec("P")
T = TypeVar("T")
_LOG = logging.getLogger(__name__)
# First and longest pause between two tries of one event, in seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
# Eventarc gives a function ten minutes to answer.
_ANSWER_SECONDS = 600.0
_AT_ONCE = 32
# Seconds between two looks at the outbox that nobody asked for.
_IDLE = 30.0


def pause(tries: int) -> float:
    """Seconds to wait after `tries` failures, with jitter."""
    full = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries, 10))
    return full * random.uniform(0.75, 1.0)  # noqa: S311  (jitter is no secret)


class Dispatcher:
    """Delivers events at least once, each object's in order.

    Args:
        outbox: Where they wait.
        url: Where they go.
        executor: Runs the outbox's blocking calls.
        keep_seconds: How long an event is tried before it is given up.
    """

    def __init__(
        self, outbox: Outbox, *, url: str, executor: Executor, keep_seconds: float
    ) -> None:
        self._outbox = outbox
        self._url = url
        self._executor = executor
        self._keep = keep_seconds
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._busy: dict[int, asyncio.Task[None]] = {}
        self._failing = False
        self._started = time.time()

    def wake(self) -> None:
        """Look at the outbox now; from any thread."""
        with suppress(RuntimeError):  # the loop has ended: so has the server
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Deliver until cancelled."""
        limits = httpx.Limits(
            max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE
        )
        timeout = httpx.Timeout(_ANSWER_SECONDS, connect=5.0)
        async with httpx.AsyncClient(
            limits=limits, timeout=timeout, trust_env=False
        ) as client:
            try:
                while True:
                    await self._round(client)
            finally:
                for task in self._busy.values():
                    task.cancel()
                await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _round(self, client: httpx.AsyncClient) -> None:
        self._wake.clear()
        now = time.time()
        # Rows in flight come back from the query: ask for that many more. What
        # ends while the query runs may still be in its result.
        known = set(self._busy)
        heads, due = await self._call(self._look, now, limit=_AT_ONCE + len(known))
        for pending in heads:
            if len(self._busy) >= _AT_ONCE:
                break
            if pending.id not in known:
                task = asyncio.create_task(self._deliver(client, pending))
                self._busy[pending.id] = task
        idle = _IDLE if due is None else max(due - time.time(), 0.05)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), min(idle, _IDLE))

    def _look(self, now: float, *, limit: int) -> tuple[list[Pending], float | None]:
        return self._outbox.heads(now, limit=limit), self._outbox.next_due(now)

    async def _deliver(self, client: httpx.AsyncClient, pending: Pending) -> None:
        try:
            reason = await self._post(client, pending)
            await self._settle(pending, reason)
        except Exception:  # noqa: BLE001  (one event must not end the others)
            # The row is still there; the next round tries again.
            _LOG.exception("could not settle event %s", pending.delivery.id)
            await asyncio.sleep(_LONGEST_PAUSE)
        finally:
            del self._busy[pending.id]
            self._wake.set()

    async def _post(self, client: httpx.AsyncClient, pending: Pending) -> str:
        delivery = pending.delivery
        try:
            answer = await client.post(
                self._url, content=delivery.data.encode(), headers=delivery.headers()
            )
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        if answer.is_success:
            return ""
        return f"HTTP {answer.status_code}: {answer.text[:500]}"

    async def _settle(self, pending: Pending, reason: str) -> None:
        now = time.time()
        if not reason:
            self._failing = False
            await self._call(self._outbox.delivered, pending.id)
            return
        if not self._failing:
            self._failing = True
            host = urlsplit(self._url).netloc
            _LOG.warning("event not taken by %s, will retry: %s", host, reason)
        # The time this machine was off is not the event's fault.
        if now - max(pending.time / 1e6, self._started) > self._keep:
            _LOG.error("event %s given up: %s", pending.delivery.id, reason)
            await self._call(self._outbox.bury, pending.id, now=now, reason=reason)
            return
        due = now + pause(pending.tries)
        await self._call(self._outbox.postpone, pending.id, due=due, reason=reason)

    async def _call(
        self, function: Callable[P, T], *args: P.args, **named: P.kwargs
    ) -> T:
        call = functools.partial(function, *args, **named)
        return await self._loop.run_in_executor(self._executor, call)
