"""kill -9 at any moment: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import base64
import os
import random
import resource
import sqlite3
import threading
import time
from pathlib import Path

import google_crc32c
import httpx
import pytest
from google.cloud import storage

from local.bucket.harness import Running, function, running, start, until
from weightdrop.local.bucket.database import Database
from weightdrop.local.bucket.recovery import recover
from weightdrop.local.bucket.tree import Tree

SEED = int(os.environ.get("WEIGHTDROP_TEST_SEED", str(time.time_ns() % 10**6)))


def whole(bucket: storage.Bucket) -> dict[str, str]:
    """Names and checksums; fails if bytes and checksums do not agree."""
    found = {}
    for blob in bucket.list_blobs():
        data = blob.download_as_bytes(checksum=None)
        crc = base64.b64encode(google_crc32c.Checksum(data).digest()).decode()
        assert (len(data), crc) == (blob.size, blob.crc32c), blob.name
        found[blob.name] = crc
    return found


def write_until_it_dies(server: Running, thread: int, told: dict[str, bytes]) -> None:
    """Upload, overwrite and note what was acknowledged, until the server dies."""
    with httpx.Client(base_url=server.url, timeout=30) as http:
        for number in range(100_000):
            name = f"{thread}/{number % 7}"
            data = f"{thread} {number} ".encode() * (1 + (number % 5) * 20_000)
            told.pop(name, None)
            try:
                answer = http.post(
                    "/upload/storage/v1/b/models/o",
                    params={"uploadType": "media", "name": name},
                    content=data,
                )
            except httpx.HTTPError:
                return
            assert answer.status_code == 200
            told[name] = data


@pytest.mark.parametrize("round_", range(4))
def test_killed_while_many_write(tmp_path: Path, round_: int) -> None:
    """Every acknowledged object is there and whole, and its event arrives."""
    chance = random.Random(SEED + round_)
    told: dict[str, bytes] = {}
    with function() as subject:
        options = ("--watch", "models", "--notify", subject.url)
        server = start(tmp_path, *options)
        writers = [
            threading.Thread(target=write_until_it_dies, args=(server, number, told))
            for number in range(4)
        ]
        for writer in writers:
            writer.start()
        until(lambda: len(told) > chance.randrange(20), "the first uploads")
        time.sleep(chance.uniform(0, 0.1))
        server.kill()
        for writer in writers:
            writer.join()
        assert server.process.stdout is not None
        server.process.stdout.close()
        with running(tmp_path, *options) as server:
            bucket = server.client().bucket("models")
            found = whole(bucket)
            for name, data in told.items():
                assert bucket.blob(name).download_as_bytes() == data, f"seed {SEED}"
            health = f"{server.url}/_weightdrop/health"
            until(lambda: httpx.get(health).json()["eventsWaiting"] == 0, "all events")
            told_of = {e.data["name"] for e in subject.taken if e.kind == "finalized"}

            assert set(found) <= told_of
            staged = list((tmp_path / "buckets/.weightdrop/staging").iterdir())
            assert staged == []


def test_a_resumable_upload_goes_on_after_a_kill(tmp_path: Path) -> None:
    """The session and what had arrived are still there."""
    data = os.urandom(3 << 20)
    server = start(tmp_path, "--watch", "models")
    port = int(server.url.rpartition(":")[2])
    url = httpx.post(
        f"{server.url}/upload/storage/v1/b/models/o?uploadType=resumable&name=r"
    ).headers["location"]
    piece = {"content-range": f"bytes 0-{(2 << 20) - 1}/*"}
    assert httpx.put(url, content=data[: 2 << 20], headers=piece).status_code == 308
    server.kill()
    assert server.process.stdout is not None
    server.process.stdout.close()
    with running(tmp_path, "--watch", "models", port=port) as server:
        asked = httpx.put(url, headers={"content-range": f"bytes */{len(data)}"})
        assert asked.headers["range"] == f"bytes=0-{(2 << 20) - 1}"
        rest = {"content-range": f"bytes {2 << 20}-{len(data) - 1}/{len(data)}"}
        done = httpx.put(url, content=data[2 << 20 :], headers=rest)

        assert done.status_code == 200
        blob = server.client().bucket("models").blob("r")
        assert blob.download_as_bytes() == data


def test_killed_between_transaction_and_rename(tmp_path: Path) -> None:
    """The promised rename is done at the next start; nothing else is left."""
    with running(tmp_path, "--watch", "models") as server:
        blob = server.client().bucket("models").blob("d/x")
        blob.upload_from_string(b"promised", content_type="a/b")
    tree = Tree(tmp_path / "buckets")
    # The state on the disk at that moment, made by hand.
    (tree.root / "models/d/x").rename(tree.staging / "moment")
    (tree.root / "models/d").rmdir()
    (tree.staging / "junk").write_text("of nobody")
    (tree.blobs / "junk").write_text("of nobody")
    with sqlite3.connect(tmp_path / "bucket.db") as database:
        database.execute("UPDATE objects SET stage = 'moment'")
    database.close()
    with running(tmp_path, "--watch", "models") as server:
        found = server.client().bucket("models").get_blob("d/x")

        assert found.download_as_bytes() == b"promised"
        assert (found.generation, found.content_type) == (blob.generation, "a/b")
        assert list(tree.staging.iterdir()) == []
        assert list(tree.blobs.iterdir()) == []


def test_recovering_twice_changes_nothing(tmp_path: Path) -> None:
    """A death during recovery is no worse than one before."""
    tree = Tree(tmp_path / "buckets")
    database = Database(tmp_path / "bucket.db")
    recover(database, tree)
    recover(database, tree)
    database.close()

    assert list(tree.staging.iterdir()) == []


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """507 with a reason, nothing half there, and service goes on after."""
    with running(tmp_path, "--watch", "models") as server:
        url = f"{server.url}/upload/storage/v1/b/models/o?uploadType=media&name=big"
        pid = server.process.pid
        old = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4 << 20, old[1]))
        full = httpx.post(url, content=b"x" * (9 << 20), timeout=60)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, old)
        after = httpx.post(url, content=b"x" * (9 << 20), timeout=60)

        assert (full.status_code, after.status_code) == (507, 200)
        assert "full" in full.json()["error"]["message"]
        assert list((server.root / ".weightdrop/staging").iterdir()) == []
