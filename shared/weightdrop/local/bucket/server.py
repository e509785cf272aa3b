"""Puts the bucket server together and runs it."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from weightdrop.errors import UsageError
from weightdrop.local.bucket.admin import Admin
from weightdrop.local.bucket.buckets import Buckets
from weightdrop.local.bucket.copies import Copies
from weightdrop.local.bucket.database import Database
from weightdrop.local.bucket.dispatcher import Dispatcher
from weightdrop.local.bucket.http import Edge
from weightdrop.local.bucket.intake import Intake
from weightdrop.local.bucket.objects import Objects
from weightdrop.local.bucket.outbox import Outbox
from weightdrop.local.bucket.problems import ApiError
from weightdrop.local.bucket.recovery import recover
from weightdrop.local.bucket.resumable import Resumables
from weightdrop.local.bucket.router import Router
from weightdrop.local.bucket.store import Store
from weightdrop.local.bucket.tree import Tree
from weightdrop.local.bucket.watcher import Watcher
from weightdrop.local.bucket.xml import Xml

_LOG = logging.getLogger(__name__)
# Two cores are typical; more threads than that only wait for the disk.
_THREADS = 12
_GRACE_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Options:
    """How the server is run.

    Attributes:
        port: On 127.0.0.1; 0 takes a free one.
        root: Folder that holds the buckets.
        state: The SQLite file.
        watch: Buckets whose events are posted.
        notify: Where they are posted; empty for nowhere.
        keep_seconds: How long an event is tried before it is given up.
    """

    port: int
    root: Path
    state: Path
    watch: tuple[str, ...] = ()
    notify: str = ""
    keep_seconds: float = 86400.0


def bind(port: int) -> socket.socket:
    """A listening socket on loopback; UsageError if the port is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"The bucket server cannot listen on 127.0.0.1:{port}: {error.strerror}. "
            "Stop what uses that port or choose another with --port."
        ) from None
    listener.listen(512)
    return listener


def claim(state: Path) -> int:
    """Take the state file for this process alone, until it ends."""
    state.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(
        state.with_name(state.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(f"Another bucket server is using {state}.") from None
    return descriptor


class _Http(uvicorn.Server):
    """Ends at SIGTERM and SIGINT without raising them again when it has."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


class Server:
    """Everything, wired.

    Args:
        options: How to run.

    Raises:
        UsageError: If the port, the folder or the state file cannot be used.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        try:
            self._claim = claim(options.state)
            self._tree = tree = Tree(options.root)
            self._database = Database(options.state)
        except (OSError, sqlite3.Error) as error:
            raise UsageError(
                f"The bucket server cannot use {options.root} and {options.state}: "
                f"{error}. Choose a folder it may write with --root and --state."
            ) from None
        self.listener = bind(options.port)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        watched = options.watch if options.notify else ()
        self._outbox = Outbox(self._database, watched=watched, base_url=self.url)
        self._wake: Callable[[], None] = lambda: None
        self._store = Store(
            database=self._database,
            tree=tree,
            outbox=self._outbox,
            changed=self._changed,
        )
        self._resumables = Resumables(self._store)
        self._buckets = Buckets(self._store)
        self._watcher = Watcher(tree, Intake(self._store))
        self._store.doubted = self._watcher.doubt
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="bucket")

    def _changed(self) -> None:
        self._wake()

    def prepare(self) -> None:
        """Recover, make the watched buckets, compare files with objects."""
        try:
            self._resumables.expire()
            recover(self._database, self._tree)
            for bucket in self._options.watch:
                self._buckets.ensure(bucket)
            self._watcher.start()
        except ApiError as refusal:
            raise UsageError(refusal.message) from None
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"The bucket server cannot start: {error}") from None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        router = Router(
            admin=Admin(self._outbox, self._changed),
            buckets=self._buckets,
            objects=Objects(self._store, self._resumables),
            copies=Copies(self._store),
            xml=Xml(self._store),
        )
        config = uvicorn.Config(
            Edge(router.handle, executor=self._executor),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        helpers: list[asyncio.Task[None]] = []
        if self._options.notify:
            dispatcher = Dispatcher(
                self._outbox,
                url=self._options.notify,
                executor=self._executor,
                keep_seconds=self._options.keep_seconds,
            )
            self._wake = dispatcher.wake
            helpers.append(asyncio.create_task(dispatcher.run()))
        try:
            await _Http(config).serve(sockets=[self.listener])
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    def close(self) -> None:
        """Stop every thread and close every file."""
        self._watcher.stop()
        self._executor.shutdown(cancel_futures=True)
        self._database.close()
        self.listener.close()
        os.close(self._claim)
