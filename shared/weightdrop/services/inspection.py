"""Run the pure inspection over a bucket: batches of reads, many at a time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from threading import Lock
from typing import overload

from weightdrop.core.artifacts import codes
from weightdrop.core.artifacts.exchange import (
    Answer,
    RenderTemplates,
    Request,
)
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.inspect import inspect, with_findings
from weightdrop.core.artifacts.objects import ArtifactSet
from weightdrop.core.artifacts.policy import Policy
from weightdrop.core.artifacts.report import Reads, Report
from weightdrop.core.artifacts.safekeeping import judge
from weightdrop.errors import NotFoundError, PermanentError, TransientError
from weightdrop.ports import Artifacts
from weightdrop.services.templates import render

__all__ = ["Policy", "Report", "inspect_artifacts", "report_json"]

THREADS = 32
"""Reads under way at once: as many connections as the adapter keeps open."""


class _Driver:
    """Answers requests from a store, and counts what that costs."""

    def __init__(self, store: Artifacts, artifacts: ArtifactSet) -> None:
        self._store = store
        self._artifacts = artifacts
        self._files = {file.path: file for file in artifacts.files}
        self._lock = Lock()
        self.reads = Reads()

    def answer(self, request: Request) -> Answer:
        """The answer to one request; called from many threads.

        Raises:
            StaleError: If an object was replaced since it was listed.
            NotFoundError: If it was removed.
            TransientError: If the store cannot answer now.
        """
        if isinstance(request, RenderTemplates):
            return render(request.templates)
        file = self._files[request.path]
        data = self._store.read(
            self._artifacts.bucket,
            self._artifacts.object_name(request.path),
            generation=file.generation,
            start=request.start,
            length=request.length,
        )
        with self._lock:
            spent = self.reads
            self.reads = Reads(spent.requests + 1, spent.bytes + len(data))
        return data


class _Arriving(Sequence[Answer]):
    """Answers that are waited for one by one, while the rest is on its way."""

    def __init__(
        self, futures: Sequence[Future[Answer]], remaining: Callable[[], float]
    ) -> None:
        self._futures = futures
        self._remaining = remaining

    def __len__(self) -> int:
        return len(self._futures)

    @overload
    def __getitem__(self, at: int) -> Answer: ...

    @overload
    def __getitem__(self, at: slice) -> _Arriving: ...

    def __getitem__(self, at: int | slice) -> Answer | _Arriving:
        if isinstance(at, slice):
            return _Arriving(self._futures[at], self._remaining)
        try:
            return self._futures[at].result(timeout=max(0.0, self._remaining()))
        except TimeoutError:
            raise TransientError(
                "The folder could not be read within the time an inspection may take."
            ) from None


@contextmanager
def _collection_paused() -> Iterator[None]:
    """No search for cyclic garbage meanwhile.

    The tables of a large model are some hundred thousand objects without a
    cycle among them, and walking them again and again takes a third of the
    time. What an inspection holds is bounded by its policy.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def inspect_artifacts(
    store: Artifacts,
    artifacts: ArtifactSet,
    *,
    policy: Policy,
    monotonic: Callable[[], float] = time.monotonic,
) -> Report:
    """Inspect an artifact set at exactly the generations that were listed.

    Args:
        store: Where the objects are.
        artifacts: The pinned objects.
        policy: Limits and strictness.
        monotonic: Seconds, for the time limit.

    Raises:
        StaleError: If an object was replaced meanwhile: list again.
        NotFoundError: If one was removed meanwhile: list again.
        TransientError: If the store did not answer in time.
    """
    driver = _Driver(store, artifacts)
    deadline = monotonic() + policy.time_limit_seconds
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="inspect")
    inspection = inspect(artifacts, policy)
    try:
        with _collection_paused():
            batch = next(inspection)
            while True:
                futures = [pool.submit(driver.answer, request) for request in batch]
                batch = inspection.send(
                    _Arriving(futures, lambda: deadline - monotonic())
                )
    except StopIteration as stop:
        report: Report = stop.value
        if policy.direct:
            report = with_findings(report, _kept(store, artifacts))
        return replace(report, reads=driver.reads)
    finally:
        inspection.close()
        pool.shutdown(wait=False, cancel_futures=True)


def _kept(store: Artifacts, artifacts: ArtifactSet) -> list[Finding]:
    """What may take the files from replicas that read the bucket itself."""
    try:
        keeping = store.keeping(artifacts.bucket)
    except NotFoundError:
        raise
    except PermanentError as error:
        return [codes.BUCKET_UNKNOWN.found(str(error))]
    return judge(artifacts, keeping) if keeping else []


def report_json(report: Report) -> dict[str, object]:
    """The document that `weightdrop check --json` prints."""
    model = report.model
    states = (
        ("served", report.served_files),
        ("missing", report.missing),
        ("ignored", report.ignored),
    )
    return {
        "verdict": report.verdict.value,
        "base_model": model.base_model if model else "",
        "architecture": model.architecture if model else "",
        "parameters": model.parameters if model else 0,
        "dtype": model.dtype if model else "",
        "quantization": model.quantization if model else "",
        "files": [
            {"path": path, "state": state} for state, paths in states for path in paths
        ],
        "findings": [asdict(finding) for finding in report.findings],
        "reads": asdict(report.reads),
    }
