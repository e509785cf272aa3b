"""Notices plain files: inotify for what happens, scans for what was missed."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import warnings
from collections import OrderedDict
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

from weightdrop.local.bucket.intake import Intake, Outcome
from weightdrop.local.bucket.tree import BUCKET, Tree

_LOG = logging.getLogger(__name__)
_WORKERS = 2
# Seconds until a file that was being written is looked at again (its closing
# is noticed at once; this is for closings that were missed), and until
# everything is compared anew in case the kernel dropped notices.
_AGAIN, _SCAN = 1.0, 30.0
# The same where the kernel gives no notices at all.
_BLIND_SCAN = 2.0
# Seconds for a file that is being read when the server stops.
_LAST = 2.0
_EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
]


class Watcher(FileSystemEventHandler):
    """Keeps the objects what the plain files are.

    Args:
        tree: The folder that holds the buckets.
        intake: Looks at one path.
    """

    def __init__(self, tree: Tree, intake: Intake) -> None:
        self._tree = tree
        self._intake = intake
        self._observer = Observer()
        self._pending: OrderedDict[Path, bool] = OrderedDict()
        self._later: dict[Path, float] = {}
        self._active: set[Path] = set()
        self._condition = threading.Condition()
        self._stopping = False
        self._watched: dict[str, ObservedWatch] = {}
        self._scan_seconds = _SCAN
        # The observer holds a lock while it tells us something, and takes it
        # again when a folder is to be watched: so that is done by one thread of
        # its own.
        self._folders: queue.SimpleQueue[tuple[Path, bool] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name="intake", daemon=True)
            for _ in range(_WORKERS)
        ]
        self._threads.append(
            threading.Thread(target=self._look_at_folders, name="folders", daemon=True)
        )

    def start(self) -> None:
        """Watch, and compare everything once; files are read in threads."""
        # watchdog notices some new folders twice and says so, with the list of all
        # folders in each sentence. The second notice replaces an equal first.
        words = "Callback with id .* already exists"
        warnings.filterwarnings("ignore", words, RuntimeWarning)
        self._observer.start()
        self._watch("", self._tree.root)
        self._scan()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop watching; a file that is being read is left for the next start."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self._folders.put(None)
        self._observer.stop()
        self._observer.join()
        for thread in self._threads:
            thread.join(_LAST)

    def _scan(self) -> None:
        for folder in sorted(self._tree.root.iterdir()):
            if BUCKET.match(folder.name) and not folder.is_symlink():
                self._scan_bucket(folder)

    def _scan_bucket(self, folder: Path) -> None:
        # Watched first: what is closed after that is noticed, what was closed
        # before is seen.
        if folder.is_dir():
            self._watch(folder.name, folder)
            self._compare(folder)

    def _compare(self, folder: Path) -> None:
        for path in self._intake.scan(folder):
            self._queue(path, written=False)

    def _watch(self, name: str, folder: Path) -> None:
        if name in self._watched:
            return
        try:
            self._watched[name] = self._observer.schedule(
                self, str(folder), recursive=bool(name), event_filter=_EVENTS
            )
        except OSError as error:
            if self._scan_seconds == _BLIND_SCAN:
                return
            self._scan_seconds = _BLIND_SCAN
            _LOG.warning(
                "no notices of files copied into %s (%s): looking every %g s",
                folder,
                error.strerror,
                _BLIND_SCAN,
            )

    # ------------------------------------------------------------ notices

    def dispatch(self, event: FileSystemEvent) -> None:
        """Take one notice, in the observer's thread."""
        try:
            self._notice(event)
        except Exception:  # noqa: BLE001  (one notice must not end the others)
            _LOG.exception("could not look at %s", event.src_path)

    def _notice(self, event: FileSystemEvent) -> None:
        paths = [os.fsdecode(event.src_path)]
        if isinstance(event, (FileMovedEvent, DirMovedEvent)):
            paths.append(os.fsdecode(event.dest_path))
        for text in paths:
            path = Path(text)
            if event.is_directory:
                gone = isinstance(event, (DirDeletedEvent, DirMovedEvent))
                self._folders.put((path, gone and text == paths[0]))
            elif text:
                self._queue(path, written=isinstance(event, FileClosedEvent))

    def _look_at_folders(self) -> None:
        while True:
            try:
                taken = self._folders.get(timeout=self._scan_seconds)
                if taken is None:
                    return
                self._folder(taken[0], gone=taken[1])
            except queue.Empty:
                self._scan()
            except Exception:  # noqa: BLE001  (one folder must not end the others)
                _LOG.exception("could not look at a folder")

    def _folder(self, path: Path, *, gone: bool) -> None:
        try:
            bucket = path.relative_to(self._tree.root).parts[0]
        except (ValueError, IndexError):
            return
        if not BUCKET.match(bucket):
            return
        if path == self._tree.root / bucket:
            if gone and bucket in self._watched:
                # Its watch ended with it, even if a new one has its name by now.
                self._observer.unschedule(self._watched.pop(bucket))
            self._scan_bucket(path)
        self._compare(path)
        # An object of the folder's own name is no longer a file.
        self._queue(path, written=False)

    def doubt(self, path: Path) -> None:
        """Compare one file with its object soon; from any thread."""
        self._queue(path, written=False)

    def _queue(self, path: Path, *, written: bool) -> None:
        with self._condition:
            self._pending[path] = written or self._pending.get(path, False)
            self._condition.notify()

    # ------------------------------------------------------------ working

    def _work(self) -> None:
        while True:
            taken = self._next()
            if taken is None:
                return
            path, written = taken
            try:
                outcome = self._intake.look(path, written=written)
            except Exception:  # noqa: BLE001  (one file must not end the others)
                _LOG.exception("%s could not become an object", path)
                outcome = Outcome.AGAIN
            with self._condition:
                self._active.discard(path)
                if outcome is Outcome.AGAIN:
                    self._later[path] = time.monotonic() + _AGAIN
                self._condition.notify()

    def _next(self) -> tuple[Path, bool] | None:
        with self._condition:
            while not self._stopping:
                self._recall()
                for path, written in self._pending.items():
                    if path not in self._active:
                        del self._pending[path]
                        self._later.pop(path, None)
                        self._active.add(path)
                        return path, written
                soon = min(self._later.values(), default=None)
                pause = None if soon is None else max(0.0, soon - time.monotonic())
                self._condition.wait(pause)
        return None

    def _recall(self) -> None:
        now = time.monotonic()
        for path in [path for path, due in self._later.items() if due <= now]:
            del self._later[path]
            self._pending.setdefault(path, False)
