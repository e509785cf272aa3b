"""The Artifacts port's contract, held by every implementation."""

from __future__ import annotations

import gc
import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.bucket.harness import Running, running
from weightdrop.adapters.gcs import GcsArtifacts
from weightdrop.core.artifacts.keeping import Deletion, Keeping
from weightdrop.errors import (
    NotFoundError,
    PermanentError,
    StaleError,
    TransientError,
)
from weightdrop.local.folder import FolderArtifacts
from weightdrop.ports import Artifacts


@dataclass
class Subject:
    """An implementation, and a bucket of it that the test can write."""

    port: Artifacts
    bucket: str
    put: Callable[[str, bytes], None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running bucket server."""
    with running(tmp_path_factory.mktemp("artifacts")) as started:
        yield started


@pytest.fixture
def gcs(server: Running, request: pytest.FixtureRequest) -> Iterator[Subject]:
    """The adapter over google-cloud-storage, on the bucket server."""
    client = server.client()
    bucket = client.create_bucket(f"contract-{abs(hash(request.node.name)) % 10**9}")

    def put(name: str, data: bytes) -> None:
        bucket.blob(name).upload_from_string(data)

    port = GcsArtifacts(project="local", endpoint=server.url)
    yield Subject(port, bucket.name, put)
    port.close()
    client.close()


@pytest.fixture
def folder(tmp_path: Path) -> Subject:
    """The reader of plain folders."""
    root = tmp_path / "root"
    root.mkdir()

    def put(name: str, data: bytes) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return Subject(FolderArtifacts(), str(root), put)


@pytest.fixture(params=["gcs", "folder"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each implementation in turn."""
    found: Subject = request.getfixturevalue(request.param)
    return found


def listed(subject: Subject, prefix: str, limit: int = 100) -> list[str]:
    """Names below a prefix."""
    listing = subject.port.list(subject.bucket, prefix, limit=limit)
    return [stored.name for stored in listing.objects]


def test_list_is_what_lies_below_the_prefix(subject: Subject) -> None:
    """Neighbours whose names only begin alike are left out."""
    for name in ("m/a", "m/b/c", "m2/a", "m.json", "n/a"):
        subject.put(name, b"x")

    assert listed(subject, "m") == ["m/a", "m/b/c"]
    assert listed(subject, "m/b") == ["m/b/c"]
    assert listed(subject, "nothing") == []
    assert listed(subject, "") == ["m.json", "m/a", "m/b/c", "m2/a", "n/a"]


def test_list_says_that_it_was_cut(subject: Subject) -> None:
    """The first in name order, and whether there are more."""
    for name in ("a/x", "a/y", "a/z", "a-b", "a.c", "b"):
        subject.put(name, b"")

    cut = subject.port.list(subject.bucket, "", limit=2)
    exact = subject.port.list(subject.bucket, "", limit=6)

    assert [stored.name for stored in cut.objects] == ["a-b", "a.c"]
    assert (cut.truncated, exact.truncated) == (True, False)


def test_list_and_stat_agree(subject: Subject) -> None:
    """Name, size and a time with its zone."""
    subject.put("m/ü b.bin", b"12345")
    (stored,) = subject.port.list(subject.bucket, "m", limit=10).objects

    assert stored == subject.port.stat(subject.bucket, "m/ü b.bin")
    assert (stored.name, stored.size) == ("m/ü b.bin", 5)
    assert abs(datetime.now(UTC) - stored.updated) < timedelta(minutes=5)


def test_a_bucket_that_is_not_there(subject: Subject) -> None:
    """NotFoundError for the listing of no bucket."""
    with pytest.raises(NotFoundError):
        subject.port.list(subject.bucket + "-not", "", limit=1)


def test_an_object_that_is_not_there(subject: Subject) -> None:
    """NotFoundError for stat and for a read of whatever is there."""
    with pytest.raises(NotFoundError):
        subject.port.stat(subject.bucket, "none")
    with pytest.raises(NotFoundError):
        subject.port.read(subject.bucket, "none", generation=0, start=0, length=1)


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 3, b"abc"),
        (2, 100, b"cdef"),
        (5, 1, b"f"),
        (6, 1, b""),
        (99, 5, b""),
        (1, 0, b""),
    ],
)
def test_read_is_cut_at_the_end(
    subject: Subject, start: int, length: int, expected: bytes
) -> None:
    """Shorter where the object ends, empty behind it."""
    subject.put("f", b"abcdef")
    found = subject.port.stat(subject.bucket, "f")
    data = subject.port.read(
        subject.bucket, "f", generation=found.generation, start=start, length=length
    )

    assert data == expected


def test_an_empty_object_reads_as_nothing(subject: Subject) -> None:
    """Zero bytes are no error."""
    subject.put("e", b"")
    read = subject.port.read(subject.bucket, "e", generation=0, start=0, length=9)

    assert read == b""


def test_many_threads_read_at_once(subject: Subject) -> None:
    """32 readers each get their own bytes."""
    data = bytes(range(256)) * 64
    subject.put("t", data)
    generation = subject.port.stat(subject.bucket, "t").generation

    def read(number: int) -> bytes:
        return subject.port.read(
            subject.bucket, "t", generation=generation, start=number, length=64
        )

    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(read, range(320)))

    assert found == [data[number : number + 64] for number in range(320)]


def test_a_generation_that_was_overwritten_is_stale(gcs: Subject) -> None:
    """A pinned read never answers with other bytes; generation 0 does."""
    gcs.put("g", b"old")
    old = gcs.port.stat(gcs.bucket, "g").generation
    gcs.put("g", b"new")

    with pytest.raises(StaleError):
        gcs.port.read(gcs.bucket, "g", generation=old, start=0, length=3)
    assert gcs.port.read(gcs.bucket, "g", generation=0, start=0, length=3) == b"new"


def test_how_a_bucket_keeps_its_objects(gcs: Subject, server: Running) -> None:
    """Versions, soft delete and the rules that delete; others are left out."""
    plain = gcs.port.keeping(gcs.bucket)
    client = server.client()
    bucket = client.get_bucket(gcs.bucket)
    bucket.versioning_enabled = True
    bucket.soft_delete_policy.retention_duration_seconds = 8 * 86400
    bucket.add_lifecycle_delete_rule(age=30, matches_prefix=["team/"])
    bucket.add_lifecycle_set_storage_class_rule("NEARLINE", age=7)
    bucket.patch()
    client.close()

    assert plain == Keeping(versioning=False, soft_delete_seconds=7 * 86400)
    assert gcs.port.keeping(gcs.bucket) == Keeping(
        versioning=True,
        soft_delete_seconds=8 * 86400,
        deletions=(Deletion(True, True, prefixes=("team/",), words="age 30"),),
    )


def test_nobody_keeps_a_folder(folder: Subject) -> None:
    """There is nothing to warn of."""
    assert folder.port.keeping(folder.bucket) is None


def test_a_listing_of_many_pages_is_whole(gcs: Subject) -> None:
    """More objects than one page of Cloud Storage holds."""
    names = [f"p/{number:04d}" for number in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: gcs.put(name, b""), names))

    assert listed(gcs, "p", limit=2000) == names
    assert gcs.port.list(gcs.bucket, "p", limit=1004).truncated


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that answers every call with one status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    fake = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=fake.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{fake.server_address[1]}"
    finally:
        fake.shutdown()
        fake.server_close()
        thread.join()


# google-cloud-storage drops the responses that it repeats without closing them.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, PermanentError),
        (401, PermanentError),
        (403, PermanentError),
        (404, NotFoundError),
        (412, StaleError),
        (429, TransientError),
        (500, TransientError),
        (503, TransientError),
    ],
)
def test_googles_errors_become_ours(status: int, kind: type[Exception]) -> None:
    """Each status is one of the kinds that handlers know, for each call."""
    with answering(status) as url:
        port = GcsArtifacts(project="local", endpoint=url, deadline=0.5)
        calls = [
            lambda: port.list("bucket", "p", limit=1),
            lambda: port.stat("bucket", "name"),
            lambda: port.read("bucket", "name", generation=0, start=0, length=1),
            lambda: port.keeping("bucket"),
        ]
        for call in calls:
            with pytest.raises(kind) as caught:
                call()
            assert "gs://bucket/" in str(caught.value)
        port.close()
        gc.collect()


def test_nobody_there_is_transient(free_endpoint: str) -> None:
    """A refused connection may be accepted later."""
    port = GcsArtifacts(project="local", endpoint=free_endpoint, deadline=0.5)
    with pytest.raises(TransientError):
        port.stat("bucket", "name")
    port.close()


@pytest.fixture
def free_endpoint() -> str:
    """An address at which nobody listens."""
    with answering(200) as url:
        pass
    return url


def test_importing_the_adapter_is_cheap() -> None:
    """Google's client is imported at the first call, not before."""
    program = (
        "import sys, weightdrop.adapters.gcs;"
        "print('google.cloud.storage' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"
