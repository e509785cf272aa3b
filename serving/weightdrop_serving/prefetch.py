"""Copies a model from its bucket, in parallel, while the engine starts.

Small files come first and the call returns once they are there; files of tensors
follow in the background and appear under their names when they are complete and
their checksum is right. Memory stays at one block per stream.
"""

from __future__ import annotations

import os
import queue
import random
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import google_crc32c

from weightdrop_serving import crc
from weightdrop_serving.failures import Exit, ServingError, disk_full
from weightdrop_serving.storage import Bucket, Source, TransferError

_T = TypeVar("_T")

PARTIAL: Final = ".partial"
_RANGE: Final = 32 << 20  # bytes; at 60 MB/s half a second: the first byte is cheap
_TRIES: Final = 8  # waits of 0.2 s doubling between them: 25 s in all, or half of it
_FIRST_WAIT: Final = 0.2
_SPARE_DISK: Final = 64 << 20  # bytes to leave free


@dataclass(slots=True)
class Progress:
    """How far a copy is; read without a lock, written under one."""

    files: int = 0
    files_done: int = 0
    size: int = 0
    size_done: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Bytes per second since the start."""
        return self.size_done / max(time.monotonic() - self.started, 1e-3)


@dataclass(slots=True)
class _Open:
    """A file being written: its descriptor and the checksums of its ranges."""

    source: Source
    descriptor: int
    left: int
    sums: dict[int, tuple[int, int]] = field(default_factory=dict)

    def close(self) -> None:
        """Close the descriptor, once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Prefetch:
    """One copy of some files of a bucket into a folder.

    Args:
        bucket: Where they are.
        folder: Where they go.
        streams: How many ranges are read at a time.
    """

    def __init__(self, bucket: Bucket, folder: Path, *, streams: int) -> None:
        self._bucket = bucket
        self._folder = folder
        self._streams = streams
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self.progress = Progress()

    def cancel(self) -> None:
        """Make a running copy end soon."""
        self._stop.set()

    def listing(self) -> list[Source]:
        """The bucket's files, asked for as often as a range would be."""
        try:
            return self._again(self._bucket.files, f"the listing of {self._bucket.uri}")
        finally:
            self._bucket.release()

    def copy(self, files: Sequence[Source]) -> None:
        """Copy `files` and return when all are complete and checked.

        Raises:
            ServingError: With what went wrong, or that it was cancelled; nothing
                half-written is left under a final name.
        """
        self._reserve(files)
        with self._lock:
            self.progress.files += len(files)
            self.progress.size += sum(file.size for file in files)
        opened = [self._open(file) for file in files]
        try:
            self._run(opened)
        finally:
            for one in opened:
                one.close()
        if self._failure is not None:
            raise self._failure
        if any(one.left for one in opened):
            raise _stopped()

    def _run(self, files: Sequence[_Open]) -> None:
        ranges: queue.SimpleQueue[tuple[_Open, int, int]] = queue.SimpleQueue()
        count = 0
        for opened in files:
            size = opened.source.size
            starts = range(0, size, _RANGE)
            opened.left = len(starts)
            if not starts:
                self._finish(opened)
            for start in starts:
                ranges.put((opened, start, min(start + _RANGE, size)))
                count += 1
        threads = [
            threading.Thread(target=self._work, args=(ranges,), daemon=True)
            for _ in range(min(self._streams, count))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _reserve(self, files: Sequence[Source]) -> None:
        wanted = sum(file.size for file in files) + _SPARE_DISK
        free = shutil.disk_usage(self._folder).free
        if wanted > free:
            raise ServingError(
                Exit.DISK_FULL,
                f"the model needs {wanted} bytes in {self._folder}, which has {free} "
                "free: choose a machine with a larger disk, or set "
                "WEIGHTDROP_SERVING_SCRATCH to a larger one",
            )

    def _open(self, file: Source) -> _Open:
        path = self._folder / (file.path + PARTIAL)
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            if file.size:
                os.posix_fallocate(descriptor, 0, file.size)
        except OSError as error:
            raise disk_full(error, str(path)) from error
        return _Open(source=file, descriptor=descriptor, left=0)

    def _work(self, ranges: queue.SimpleQueue[tuple[_Open, int, int]]) -> None:
        try:
            self._work_through(ranges)
        finally:
            self._bucket.release()

    def _work_through(self, ranges: queue.SimpleQueue[tuple[_Open, int, int]]) -> None:
        while not self._stop.is_set():
            try:
                opened, start, stop = ranges.get_nowait()
            except queue.Empty:
                return
            try:
                self._fetch(opened, start, stop)
            except BaseException as error:  # noqa: BLE001  # handed to the caller
                with self._lock:
                    self._failure = self._failure or error
                self._stop.set()

    def _fetch(self, opened: _Open, start: int, stop: int) -> None:
        source = opened.source

        def once() -> int:
            checksum, offset = 0, start
            try:
                for block in self._bucket.read(source, start, stop):
                    if self._stop.is_set():
                        raise _stopped()
                    checksum = google_crc32c.extend(checksum, block)
                    _write(opened.descriptor, block, offset, self._folder / source.path)
                    offset += len(block)
                    self._count(len(block))
            except TransferError:
                self._count(start - offset)
                raise
            return checksum

        checksum = self._again(once, f"{source.path} of {self._bucket.uri}")
        with self._lock:
            opened.sums[start] = (checksum, stop - start)
            opened.left -= 1
            last = not opened.left
        if last:
            self._finish(opened)

    def _count(self, size: int) -> None:
        with self._lock:
            self.progress.size_done += size

    def _finish(self, opened: _Open) -> None:
        source = opened.source
        opened.close()
        got = crc.encoded(crc.joined(part for _, part in sorted(opened.sums.items())))
        if source.crc32c and got != source.crc32c:
            raise ServingError(
                Exit.WEIGHTS_UNUSABLE,
                f"{source.path} of {self._bucket.uri} arrived with crc32c {got}, the "
                f"bucket says {source.crc32c}: the bytes were damaged or replaced on "
                "the way. Deploy again.",
            )
        final = self._folder / source.path
        final.with_name(final.name + PARTIAL).rename(final)
        with self._lock:
            self.progress.files_done += 1

    def _again(self, attempt: Callable[[], _T], what: str) -> _T:
        last: TransferError | None = None
        for number in range(_TRIES):
            if number and self._stop.wait(_wait_before(number)):
                raise _stopped()
            try:
                return attempt()
            except TransferError as error:
                last = error
        raise ServingError(
            Exit.STORAGE_UNREACHABLE,
            f"cannot read {what} after {_TRIES} tries: {last}",
        ) from last


def _wait_before(number: int) -> float:
    """Seconds before try `number`, drawn at random so that streams do not crowd."""
    return _FIRST_WAIT * (1 << number - 1) * random.uniform(0.5, 1.0)  # noqa: S311


def _stopped() -> ServingError:
    return ServingError(Exit.STOPPED, "stopped while downloading")


def _write(descriptor: int, block: bytes, offset: int, path: Path) -> None:
    view = memoryview(block)
    try:
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
    except OSError as error:
        raise disk_full(error, str(path)) from error
