"""google-cloud-storage, unmodified, against the bucket server."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import google_crc32c
import pytest
from google.api_core import exceptions
from google.cloud import storage
from google.cloud.storage import transfer_manager

from local.bucket.harness import Running

STORAGE = "google-cloud-storage 3.17"
# The same in every process: it is part of the tests' names.
DATA = random.Random(1).randbytes(3 * (1 << 20) + 12345)


def crc(data: bytes) -> str:
    """As Cloud Storage writes it."""
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


@pytest.mark.client(STORAGE, "uploads in one request, checksums, metadata")
def test_upload_gives_checksums_size_and_type(bucket: storage.Bucket) -> None:
    """A whole upload comes back with everything Cloud Storage tells of it."""
    blob = bucket.blob("a b/ü?#%.json")
    blob.metadata = {"k": "v"}
    blob.upload_from_string(b"{}", content_type="application/json")
    found = bucket.get_blob("a b/ü?#%.json")

    assert found.size == 2
    assert found.crc32c == crc(b"{}")
    assert found.md5_hash == base64.b64encode(hashlib.md5(b"{}").digest()).decode()
    assert (found.content_type, found.metadata) == ("application/json", {"k": "v"})
    assert found.metageneration == 1
    assert found.download_as_bytes() == b"{}"


@pytest.mark.parametrize("chunk", [None, 256 << 10, 1 << 20])
@pytest.mark.client(STORAGE, "resumable uploads, in chunks")
def test_large_uploads_arrive_whole(bucket: storage.Bucket, chunk: int | None) -> None:
    """One or many resumable chunks give the same bytes."""
    blob = bucket.blob("big", chunk_size=chunk)
    blob._MAX_MULTIPART_SIZE = 1
    blob.upload_from_file(io.BytesIO(DATA), size=len(DATA))

    assert blob.crc32c == crc(DATA)
    assert blob.download_as_bytes() == DATA


@pytest.mark.client(STORAGE, '`blob.open("wb")`: uploads of unknown size')
def test_upload_of_unknown_size(bucket: storage.Bucket) -> None:
    """A stream whose length nobody knows becomes an object when it ends."""
    with bucket.blob("stream").open("wb", chunk_size=256 << 10) as stream:
        for start in range(0, len(DATA), 100_000):
            stream.write(DATA[start : start + 100_000])

    assert bucket.blob("stream").download_as_bytes() == DATA


def test_empty_object(bucket: storage.Bucket) -> None:
    """Zero bytes are an object too, whichever way they are sent."""
    bucket.blob("none").upload_from_string(b"")
    bucket.blob("none2").upload_from_file(io.BytesIO(b""))

    assert bucket.blob("none").download_as_bytes() == b""
    assert bucket.get_blob("none2").size == 0


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 4, DATA[:5]), (10, None, DATA[10:]), (-7, None, DATA[-7:])],
)
@pytest.mark.client(STORAGE, "ranges, suffix ranges")
def test_ranges(
    bucket: storage.Bucket, start: int, end: int | None, expected: bytes
) -> None:
    """First bytes, open end and suffix give exactly those bytes."""
    blob = bucket.blob("r")
    blob.upload_from_string(DATA)

    assert blob.download_as_bytes(start=start, end=end, checksum=None) == expected


@pytest.mark.client(STORAGE, "416 beyond the end")
def test_range_beyond_the_end_is_refused(bucket: storage.Bucket) -> None:
    """416 where nothing of the range exists."""
    blob = bucket.blob("r")
    blob.upload_from_string(b"abc")

    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        blob.download_as_bytes(start=3, end=5)


@pytest.mark.client(STORAGE, "generations")
def test_overwriting_grows_the_generation_and_hides_the_old(
    bucket: storage.Bucket,
) -> None:
    """A read of a generation that was overwritten finds nothing."""
    blob = bucket.blob("g")
    blob.upload_from_string(b"one")
    first = blob.generation
    blob.upload_from_string(b"one")

    assert blob.generation > first
    with pytest.raises(exceptions.NotFound):
        bucket.blob("g", generation=first).download_as_bytes()
    with pytest.raises(exceptions.NotFound):
        bucket.blob("g", generation=first).reload()
    with pytest.raises(exceptions.NotFound):
        bucket.blob("g", generation=first).delete()


@pytest.mark.client(STORAGE, "`if_generation_match=0`: one winner of many")
def test_one_writer_of_many_wins(bucket: storage.Bucket) -> None:
    """Of sixteen that ask for generation 0, exactly one makes the object."""

    def write(number: int) -> bool:
        try:
            bucket.blob("w").upload_from_string(str(number), if_generation_match=0)
        except exceptions.PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(write, range(16)))

    assert sum(outcomes) == 1
    winner = outcomes.index(True)
    assert bucket.blob("w").download_as_bytes() == str(winner).encode()


@pytest.mark.client(STORAGE, "preconditions on upload, download, patch, delete")
def test_preconditions_hold_for_every_call(bucket: storage.Bucket) -> None:
    """Upload, download, patch and delete refuse with 412."""
    blob = bucket.blob("p")
    blob.upload_from_string(b"x")
    wrong = blob.generation + 1
    fresh = bucket.blob("p")
    calls = [
        lambda: fresh.upload_from_string(b"y", if_generation_match=wrong),
        lambda: fresh.download_as_bytes(if_generation_match=wrong),
        lambda: fresh.delete(if_generation_match=wrong),
        lambda: fresh.patch(if_metageneration_match=7),
    ]
    for call in calls:
        with pytest.raises(exceptions.PreconditionFailed):
            call()

    assert bucket.blob("p").download_as_bytes() == b"x"


@pytest.mark.client(STORAGE, "patch, metagenerations")
def test_patch_grows_the_metageneration_and_merges(bucket: storage.Bucket) -> None:
    """Metadata merges, null removes, the generation stays."""
    blob = bucket.blob("m")
    blob.metadata = {"a": "1", "b": "2"}
    blob.upload_from_string(b"x")
    generation = blob.generation
    blob.metadata = {"a": None, "c": "3"}
    blob.content_type = "text/x"
    blob.patch()
    found = bucket.get_blob("m")

    assert found.metadata == {"b": "2", "c": "3"}
    assert (found.generation, found.metageneration) == (generation, 2)
    assert found.content_type == "text/x"


@pytest.mark.client(STORAGE, "pages, prefix, delimiter, `match_glob`, `start_offset`")
def test_pages_prefixes_globs_and_offsets(bucket: storage.Bucket) -> None:
    """Listing is in byte order and knows Cloud Storage's parameters."""
    names = ["a/1", "a/2", "a/b/3", "a0", "b/1.json", "b/2.txt", "ä"]
    for name in names:
        bucket.blob(name).upload_from_string(b"")

    def found(**ask: object) -> list[str]:
        return [blob.name for blob in bucket.list_blobs(**ask)]

    assert found() == sorted(names, key=str.encode)
    assert found(page_size=2) == sorted(names, key=str.encode)
    assert found(prefix="a/") == ["a/1", "a/2", "a/b/3"]
    assert found(max_results=3) == ["a/1", "a/2", "a/b/3"]
    assert found(start_offset="a0", end_offset="b/2") == ["a0", "b/1.json"]
    assert found(match_glob="b/*.{json,md}") == ["b/1.json"]
    assert found(match_glob="a/*") == ["a/1", "a/2"]
    assert found(match_glob="a/**") == ["a/1", "a/2", "a/b/3"]
    listing = bucket.list_blobs(delimiter="/", page_size=1)

    assert [blob.name for blob in listing] == ["a0", "ä"]
    assert listing.prefixes == {"a/", "b/"}


@pytest.mark.client(STORAGE, "compose, copy, rewrite")
def test_compose_and_rewrite(client: storage.Client, bucket: storage.Bucket) -> None:
    """Composed objects have no MD5; a rewrite keeps bytes, type and metadata."""
    for name, data in (("1", b"ab"), ("2", b"cd")):
        bucket.blob(name).upload_from_string(data)
    joined = bucket.blob("joined")
    joined.content_type = "x/y"
    joined.compose([bucket.blob("1"), bucket.blob("2")])
    joined.reload()
    other = client.create_bucket(bucket.name + "-other")
    copy = other.blob("copy")
    token, done, total = copy.rewrite(joined)

    assert (joined.md5_hash, joined.component_count) == (None, 2)
    assert (token, done, total) == (None, 4, 4)
    assert copy.download_as_bytes() == b"abcd"
    assert (copy.crc32c, copy.content_type) == (joined.crc32c, "x/y")


def test_a_rewritten_copy_outlives_its_source_overwritten_in_place(
    server: Running, bucket: storage.Bucket
) -> None:
    """Somebody's `cp` over the source file never changes the copy's bytes."""
    source = bucket.blob("s")
    source.upload_from_string(b"old bytes")
    copy = bucket.blob("c")
    copy.rewrite(source)
    path = server.root / bucket.name / "s"
    with path.open("r+b") as stream:
        stream.write(b"new")

    assert bucket.blob("c").download_as_bytes() == b"old bytes"


def test_names_that_are_no_files(bucket: storage.Bucket) -> None:
    """Folder markers, `a` beside `a/b`, dots and double slashes are objects too."""
    names = ["a", "a/b", "a/b/c", "d/", "../x", "e//f", "/g", "h/./i", "n" * 300]
    for name in names:
        bucket.blob(name).upload_from_string(name)

    assert [blob.name for blob in bucket.list_blobs()] == sorted(names)
    for name in names:
        assert bucket.blob(name).download_as_bytes().decode() == name
    bucket.delete_blobs(list(bucket.list_blobs()))
    assert list(bucket.list_blobs()) == []


@pytest.mark.client(STORAGE, "batch")
def test_batch_deletes(client: storage.Client, bucket: storage.Bucket) -> None:
    """A batch answers each of its calls."""
    for number in range(5):
        bucket.blob(str(number)).upload_from_string(b"")
    with client.batch(raise_exception=False) as batch:
        for number in range(6):
            bucket.blob(str(number)).delete()
    statuses = [answer.status_code for answer in batch._responses]

    assert statuses == [204] * 5 + [404]
    assert list(bucket.list_blobs()) == []


@pytest.mark.client(STORAGE, "`transfer_manager` up (XML multipart) and down")
def test_transfer_manager_both_ways(bucket: storage.Bucket, tmp_path: Path) -> None:
    """Parallel parts up (the XML API) and parallel ranges down."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(DATA * 4)
    blob = bucket.blob("t/m.bin")
    options = {"worker_type": transfer_manager.THREAD, "max_workers": 3}
    transfer_manager.upload_chunks_concurrently(
        str(source), blob, chunk_size=5 << 20, **options
    )
    transfer_manager.download_chunks_concurrently(
        blob, str(target), chunk_size=3 << 20, **options
    )

    assert target.read_bytes() == DATA * 4
    assert bucket.get_blob("t/m.bin").crc32c == crc(DATA * 4)


@pytest.mark.client(STORAGE, "buckets: create, get, list, delete")
def test_buckets(client: storage.Client) -> None:
    """Create once, list, and delete only when empty."""
    made = client.create_bucket("b-buckets")
    made.blob("x").upload_from_string(b"")

    assert "b-buckets" in [found.name for found in client.list_buckets()]
    with pytest.raises(exceptions.Conflict):
        client.create_bucket("b-buckets")
    with pytest.raises(exceptions.Conflict):
        made.delete()
    made.delete(force=True)
    assert client.lookup_bucket("b-buckets") is None
    with pytest.raises(exceptions.NotFound):
        list(client.list_blobs("b-buckets"))
    with pytest.raises(exceptions.BadRequest):
        client.create_bucket("A-capital")


def test_notifications_are_refused(bucket: storage.Bucket) -> None:
    """A configuration that nothing would be sent for is not kept as if it were."""
    with pytest.raises(exceptions.GoogleAPICallError) as refused:
        bucket.notification(topic_name="topic").create()

    assert refused.value.code == 501
    assert "--notify" in str(refused.value)
    assert list(bucket.list_notifications()) == []
