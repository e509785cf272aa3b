"""The tick, which Cloud Scheduler gives in the cloud."""

from __future__ import annotations

import asyncio
import logging
import time

import httpx

TIMEOUT_SECONDS = 300.0
"""How long one tick may take; the next waits for it."""

_log = logging.getLogger(__name__)


async def tick(url: str, *, seconds: float, client: httpx.AsyncClient) -> None:
    """Post a tick every `seconds` until cancelled, never two at a time.

    A tick that fails is not repeated: the next one looks at the same world.
    """
    failing = False
    while True:
        began = time.monotonic()
        fault = await _post(url, client)
        if fault and not failing:
            _log.warning("ticks fail: %s", fault)
        if failing and not fault:
            _log.info("ticks arrive again")
        failing = bool(fault)
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))


async def _post(url: str, client: httpx.AsyncClient) -> str:
    """Post one tick; returns what went wrong, or nothing."""
    try:
        response = await client.post(url, json={}, timeout=TIMEOUT_SECONDS)
    except httpx.HTTPError as error:
        return f"{url} gave no answer: {type(error).__name__} {error}"
    if response.is_success:
        return ""
    return f"{url} said {response.status_code}: {response.text[:500].strip()}"
