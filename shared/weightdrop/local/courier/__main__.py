"""`python -m weightdrop.local.courier`: see --help."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from weightdrop.core.deployment.events import REQUESTS_TOPIC
from weightdrop.errors import UsageError
from weightdrop.local.courier.delivery import Route, deliver, prune
from weightdrop.local.courier.ticker import tick
from weightdrop.local.courier.topics import keep_topics
from weightdrop.local.log import Watch
from weightdrop.local.queue import FILE_NAME, SqliteBus

LOCK_NAME = "courier.lock"
_LIMITS = httpx.Limits(max_keepalive_connections=0)
"""A kept connection that the function just closed would look like a refusal.
Everything is on loopback, so no proxy of the environment may see it either."""

LOCK_SECONDS = 5.0
"""How long a courier that is just ending is waited for."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m weightdrop.local.courier",
        description="Carries deploy requests and ticks to the local functions.",
    )
    parser.add_argument("--home", type=Path, required=True, help="the stack's home")
    parser.add_argument("--request-url", required=True, help="where on_request is")
    parser.add_argument("--tick-url", required=True, help="where on_tick is")
    parser.add_argument("--tick-seconds", type=float, default=1.0)
    parser.add_argument("--project", default="local")
    parser.add_argument(
        "--pubsub",
        default="",
        help="host:port of a Pub/Sub emulator, which delivers requests itself",
    )
    return parser.parse_args()


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the home's lock, which the kernel gives back when we end."""
    home.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_SECONDS
    with (home / LOCK_NAME).open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UsageError(
                        f"Another courier runs on {home}. Stop that stack first."
                    ) from None
                time.sleep(0.1)
        yield


async def _run(arguments: argparse.Namespace) -> None:
    if arguments.pubsub:
        await _beside_pubsub(arguments)
    else:
        await _with_queue(arguments)


async def _beside_pubsub(arguments: argparse.Namespace) -> None:
    """Only tick: what is published is pushed by the emulator, once it is told to."""
    async with (
        httpx.AsyncClient(trust_env=False, limits=_LIMITS) as client,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(
            keep_topics(
                arguments.pubsub,
                project=arguments.project,
                request_url=arguments.request_url,
            )
        )
        group.create_task(
            tick(arguments.tick_url, seconds=arguments.tick_seconds, client=client)
        )


async def _with_queue(arguments: argparse.Namespace) -> None:
    path = arguments.home / FILE_NAME
    queue, watch = SqliteBus(path), Watch(path)
    route = Route(
        topic=REQUESTS_TOPIC, url=arguments.request_url, project=arguments.project
    )
    try:
        async with (
            httpx.AsyncClient(trust_env=False, limits=_LIMITS) as client,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(deliver(queue, route, client, watch))
            group.create_task(prune(queue))
            group.create_task(
                tick(arguments.tick_url, seconds=arguments.tick_seconds, client=client)
            )
    finally:
        watch.close()
        queue.close()


async def _until_told(arguments: argparse.Namespace) -> None:
    work = asyncio.create_task(_run(arguments))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work


def main() -> int:
    """Run until SIGTERM; returns the exit status."""
    arguments = _arguments()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        with _only_one(arguments.home):
            asyncio.run(_until_told(arguments))
    except UsageError as error:
        print(error, file=sys.stderr)  # noqa: T201  # no log line: for a person
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
