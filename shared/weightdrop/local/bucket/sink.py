"""Takes a body as it arrives into a staged file, hashing beside the network."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Executor
from pathlib import Path

from weightdrop.local.bucket.digest import BLOCK, Digest, create, write_all
from weightdrop.local.bucket.model import Checksums


class Sink:
    """A file that grows.

    One block is written and hashed in a thread while the next one arrives;
    memory stays at two blocks a transfer.

    Args:
        path: The staged file; made when the first block is full.
        executor: Runs the writing.
        digest: Of what the file holds already.
    """

    def __init__(
        self, path: Path, *, executor: Executor, digest: Digest | None = None
    ) -> None:
        self.path = path
        self.digest = digest or Digest()
        self._executor = executor
        self._descriptor = -1 if digest is None else os.open(path, os.O_RDWR)
        if digest is not None:
            # A block that was cut short by a kill is written again.
            os.ftruncate(self._descriptor, digest.size)
            os.lseek(self._descriptor, digest.size, os.SEEK_SET)
        self.size = self.digest.size
        self._parts: list[bytes] = []
        self._waiting = 0
        self._running: asyncio.Future[None] | None = None

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._parts.append(chunk)
        self.size += len(chunk)
        self._waiting += len(chunk)
        if self._waiting >= BLOCK:
            await self._start()

    async def flush(self) -> None:
        """Return when everything is in the file."""
        if self._parts:
            await self._start()
        await self.join()

    async def join(self) -> None:
        """Return when no thread works on the file."""
        running, self._running = self._running, None
        if running is not None:
            await running

    async def _start(self) -> None:
        await self.join()
        block, self._parts, self._waiting = b"".join(self._parts), [], 0
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(self._executor, self._append, block)

    def _append(self, block: bytes) -> None:
        if self._descriptor < 0:
            self._descriptor = create(self.path)
        write_all(self._descriptor, block)
        self.digest.update(block)

    def finish(self) -> Checksums:
        """Write what is left and close the file; blocking, call after `join`."""
        rest, self._parts = b"".join(self._parts), []
        if rest or self._descriptor < 0:
            self._append(rest)
        self._close()
        return self.digest.checksums()

    def keep(self) -> None:
        """Close the file and leave it for a later Sink."""
        self._close()

    def discard(self) -> None:
        """Close and remove the file."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    async def settle(self) -> None:
        """Return when no thread works on the file, whatever its outcome."""
        running, self._running = self._running, None
        if running is not None:
            await asyncio.gather(running, return_exceptions=True)

    async def abandon(self) -> None:
        """Remove the file after a fault."""
        await self.settle()
        self.discard()
