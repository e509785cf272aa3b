"""Plain files that come and go in a bucket's folder."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path

import google_crc32c
import pytest
from google.api_core import exceptions
from google.cloud import storage

from local.bucket.harness import Running, running, until


@pytest.fixture
def folder(server: Running, bucket: storage.Bucket) -> Path:
    """The bucket's folder."""
    return server.root / bucket.name


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small folder to copy."""
    made = tmp_path / "model"
    (made / "deep" / "er").mkdir(parents=True)
    (made / "config.json").write_text("{}")
    (made / "deep" / "er" / "w.safetensors").write_bytes(os.urandom(2_000_000))
    for number in range(30):
        (made / "deep" / f"{number}.txt").write_text(str(number))
    return made


def names(bucket: storage.Bucket) -> list[str]:
    """Names of the live objects."""
    return [blob.name for blob in bucket.list_blobs()]


def test_cp_r_makes_objects(bucket: storage.Bucket, folder: Path, model: Path) -> None:
    """Every file of a copied tree becomes an object with the right bytes."""
    subprocess.run(["cp", "-r", model, folder / "m"], check=True)
    until(lambda: len(names(bucket)) == 32, "32 objects")
    for blob in bucket.list_blobs():
        expected = (model / blob.name.removeprefix("m/")).read_bytes()
        assert blob.download_as_bytes() == expected
    assert bucket.get_blob("m/config.json").content_type == "application/json"


def test_the_same_bytes_again_are_a_new_generation(
    bucket: storage.Bucket, folder: Path, model: Path
) -> None:
    """As in Cloud Storage, whether times are kept (cp -p) or not."""
    copy = ["cp", model / "config.json", folder]
    subprocess.run(copy, check=True)
    first = until(lambda: bucket.get_blob("config.json"), "object")
    for extra in ([], ["-p"], ["-p"]):
        subprocess.run([*copy, *extra], check=True)
        second = until(
            lambda old=first: (
                (found := bucket.get_blob("config.json")).generation > old.generation
                and found
            ),
            "a new generation",
        )
        assert second.crc32c == first.crc32c
        first = second


def test_half_a_file_is_no_object(bucket: storage.Bucket, folder: Path) -> None:
    """A file appears when it is closed, however often it was flushed before."""
    with (folder / "slow").open("wb") as stream:
        stream.write(b"half")
        stream.flush()
        os.fsync(stream.fileno())
        (folder / "marker").write_text("m")
        until(lambda: "marker" in names(bucket), "the marker")
        assert names(bucket) == ["marker"]
        stream.write(b" and half")
    until(lambda: "slow" in names(bucket), "the closed file")

    assert bucket.blob("slow").download_as_bytes() == b"half and half"


def test_a_file_held_open_in_a_new_folder_is_no_object(
    bucket: storage.Bucket, folder: Path, tmp_path: Path
) -> None:
    """Also where the folder is moved in with the writer still writing."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "done").write_text("d")
    with (outside / "open").open("wb") as stream:
        stream.write(b"ha")
        stream.flush()
        outside.rename(folder / "inside")
        until(lambda: names(bucket) == ["inside/done"], "the closed file only")
        stream.write(b"lf")
    until(lambda: "inside/open" in names(bucket), "the other file")

    assert bucket.blob("inside/open").download_as_bytes() == b"half"


def test_rename_in_as_rsync_does(bucket: storage.Bucket, folder: Path) -> None:
    """The temporary name never shows; the final one does, at once whole."""
    temporary = folder / ".w.safetensors.AbC123"
    temporary.write_bytes(b"bytes")
    (folder / "marker").write_text("m")
    until(lambda: "marker" in names(bucket), "the marker")
    assert names(bucket) == ["marker"]
    temporary.rename(folder / "w.safetensors")
    until(lambda: "w.safetensors" in names(bucket), "the renamed file")

    assert bucket.blob("w.safetensors").download_as_bytes() == b"bytes"


def test_moves_and_removals(bucket: storage.Bucket, folder: Path, model: Path) -> None:
    """Moved folders move their objects; removed files are deleted objects."""
    shutil.copytree(model, folder / "a")
    until(lambda: len(names(bucket)) == 32, "32 objects")
    (folder / "a").rename(folder / "b")
    until(
        lambda: (
            all(name.startswith("b/") for name in names(bucket))
            and len(names(bucket)) == 32
        ),
        "the moved folder",
    )
    shutil.rmtree(folder / "b" / "deep")
    until(lambda: names(bucket) == ["b/config.json"], "one object left")
    (folder / "b").rename(model.parent / "away")
    until(lambda: names(bucket) == [], "nothing left")


def test_a_bucket_folder_removed_and_made_again(
    server: Running, client: storage.Client
) -> None:
    """A folder made by hand is a bucket, also the second time."""
    path = server.root / "by-hand"
    for text in ("one", "two"):
        path.mkdir()
        (path / "f").write_text(text)
        raw = google_crc32c.Checksum(text.encode()).digest()
        crc = base64.b64encode(raw).decode()
        blob = until(
            lambda expected=crc: (
                client.lookup_bucket("by-hand")
                and (found := client.bucket("by-hand").get_blob("f"))
                and found.crc32c == expected
                and found
            ),
            "the object",
        )
        assert blob.download_as_bytes().decode() == text
        shutil.rmtree(path)
        until(lambda: client.lookup_bucket("by-hand") is None, "no bucket")


def test_links_are_no_objects(
    bucket: storage.Bucket, folder: Path, tmp_path: Path
) -> None:
    """Neither a link to a file outside nor a folder behind a link is served."""
    (tmp_path / "secret").write_text("secret")
    (folder / "file").symlink_to(tmp_path / "secret")
    (folder / "dir").symlink_to(tmp_path)
    (folder / "marker").write_text("m")
    until(lambda: "marker" in names(bucket), "the marker")
    bucket.blob("dir/up").upload_from_string(b"x")

    assert names(bucket) == ["dir/up", "marker"]
    assert not (tmp_path / "up").exists()


def test_a_pinned_read_of_an_overwritten_file(
    bucket: storage.Bucket, folder: Path
) -> None:
    """The old generation is gone; its name never answers with the new bytes."""
    blob = bucket.blob("f")
    blob.upload_from_string(b"old")
    (folder / "f").write_bytes(b"new")
    until(lambda: bucket.get_blob("f").generation != blob.generation, "new object")

    with pytest.raises(exceptions.NotFound):
        bucket.blob("f", generation=blob.generation).download_as_bytes()
    assert bucket.blob("f").download_as_bytes() == b"new"


def test_times_alone_make_no_generation(bucket: storage.Bucket, folder: Path) -> None:
    """Utime and chmod after the copy (shutil.copy2) leave the generation."""
    blob = bucket.blob("f")
    blob.upload_from_string(b"x")
    os.utime(folder / "f", (1, 1))
    (folder / "f").chmod(0o600)
    (folder / "marker").write_text("m")
    until(lambda: bucket.get_blob("marker"), "the marker")
    # Reads answer 503, which the client repeats, until the file was compared.
    assert bucket.blob("f").download_as_bytes() == b"x"
    assert bucket.get_blob("f").generation == blob.generation


def test_what_happened_while_the_server_was_down(tmp_path: Path) -> None:
    """Added, changed and removed files are found at the next start."""
    with running(tmp_path, "--watch", "models") as server:
        bucket = server.client().bucket("models")
        for name in ("kept", "changed", "gone", "d/gone"):
            bucket.blob(name).upload_from_string(b"old")
        before = {blob.name: blob.generation for blob in bucket.list_blobs()}
    folder = tmp_path / "buckets" / "models"
    (folder / "changed").write_bytes(b"new")
    (folder / "gone").unlink()
    shutil.rmtree(folder / "d")
    (folder / "added").write_bytes(b"added")
    with running(tmp_path, "--watch", "models") as server:
        bucket = server.client().bucket("models")
        until(lambda: bucket.get_blob("added"), "the added file")
        until(
            lambda: bucket.get_blob("changed").generation > before["changed"],
            "the changed file",
        )

        assert names(bucket) == ["added", "changed", "kept"]
        assert bucket.get_blob("kept").generation == before["kept"]
        assert bucket.blob("changed").download_as_bytes() == b"new"


def test_deep_trees_that_are_made_at_once_are_seen_whole(tmp_path: Path) -> None:
    """Hundreds of folders, each made before the one above it is watched."""
    with running(tmp_path, "--watch", "models") as server:
        for number in range(20):
            deep = server.root.joinpath("models", str(number), *"x" * 100)
            deep.mkdir(parents=True)
            (deep / "config.json").write_text("{}")
        client = server.client()
        until(lambda: len(names(client.bucket("models"))) == 20, "20 objects")
        client.close()


NOTICED_TWICE = """
import sys, threading, warnings
from pathlib import Path
from watchdog.observers.inotify_c import InotifyFD
from weightdrop.local.bucket.tree import Tree
from weightdrop.local.bucket.watcher import Watcher

class Intake:
    def scan(self, folder):
        return []

def twice(*words):
    once(*words)
    watch = once(*words)
    noticed.release()
    return watch

noticed, once = threading.Semaphore(0), InotifyFD.add_callback
InotifyFD.add_callback = twice
if sys.argv[2] == "planted":
    warnings.filterwarnings = lambda *words: None
root = Path(sys.argv[1])
(root / "models").mkdir()
watcher = Watcher(Tree(root), Intake())
watcher.start()
for folder in (root, root / "models"):
    assert noticed.acquire(timeout=30), folder
watcher.stop()
"""
"""Adds each folder's watch twice, as watchdog does with a folder that is made
while it looks into the one above."""


@pytest.mark.parametrize("kind", ["as it is", "planted"])
def test_a_folder_that_is_noticed_twice_is_taken_in_silence(
    tmp_path: Path, kind: str
) -> None:
    """Watchdog's sentences, thousands of words each, stay out of the log.

    Planted: without the filter they are there, so this would see them.
    """
    done = subprocess.run(
        [sys.executable, "-c", NOTICED_TWICE, str(tmp_path), kind],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert ("already exists" in done.stderr) == (kind == "planted")
    assert kind == "planted" or done.stderr == ""
