"""Topics and subscriptions on a Pub/Sub emulator, which forgets them when it ends."""

from __future__ import annotations

import asyncio
import logging

from weightdrop.adapters.pubsub_topics import Topics
from weightdrop.errors import WeightdropError

LOOK_SECONDS = 2.0
"""How soon an emulator that was started again knows its topics."""

_SOON_SECONDS = 0.2

_log = logging.getLogger(__name__)


async def keep_topics(endpoint: str, *, project: str, request_url: str) -> None:
    """Make what is missing, again and again, until cancelled.

    Args:
        endpoint: "host:port" of the emulator.
        project: Whose topics they are.
        request_url: Function that deploy requests are pushed to.
    """
    topics = Topics(project, endpoint=endpoint)
    there = False
    while True:
        try:
            await asyncio.to_thread(topics.ensure, request_url=request_url)
        except WeightdropError as error:
            if there:
                _log.warning("no topics: %s", error)
            there = False
        else:
            if not there:
                _log.info("the topics are there")
            there = True
        await asyncio.sleep(LOOK_SECONDS if there else _SOON_SECONDS)
