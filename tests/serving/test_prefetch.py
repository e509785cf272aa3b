"""Copying weights: whole, checked, and through whatever the network does."""

from __future__ import annotations

import base64
import os
import threading
import tracemalloc
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servingbench.emulator import Conditions, Emulator, emulator

from fakes import ends
from weightdrop.core.artifacts.objects import StoredObject, artifact_set
from weightdrop.local.tiny_model import make_tiny_llama
from weightdrop_serving import crc, environment, prefetch, selection, storage
from weightdrop_serving.environment import EnvironmentFaultError
from weightdrop_serving.failures import Exit, ServingError
from weightdrop_serving.model import EXPECTED, BucketModel
from weightdrop_serving.prefetch import Prefetch
from weightdrop_serving.storage import Bucket


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "_RANGE", 100_000)
    monkeypatch.setattr(prefetch, "_FIRST_WAIT", 0.001)


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """A bucket's folder with a model below `m`."""
    make_tiny_llama(tmp_path / "bucket" / "m")
    return tmp_path / "bucket"


def _fetch(service: Emulator, folder: Path) -> BucketModel:
    folder.mkdir()
    model = BucketModel(Bucket("gs://bench/m", service.url), folder, streams=8)
    model.fetch_small()
    model.fetch_weights()
    return model


def _same(drop: Path, folder: Path) -> bool:
    names = {path.name for path in (drop / "m").iterdir()}
    got = {path.name for path in folder.iterdir()} - {EXPECTED}
    return names == got and all(
        (drop / "m" / name).read_bytes() == (folder / name).read_bytes()
        for name in names
    )


def test_everything_arrives_as_it_was(drop: Path, tmp_path: Path) -> None:
    """All files, in many ranges, byte for byte."""
    with emulator(drop) as service:
        _fetch(service, tmp_path / "out")
    assert _same(drop, tmp_path / "out")


@pytest.mark.parametrize("fault", [500, 503, 429, "cut"])
def test_faults_that_pass_are_waited_out(
    drop: Path, tmp_path: Path, fault: int | str
) -> None:
    """Every range fails twice and arrives in the end, counted once."""
    seen: dict[tuple[str, int], int] = {}
    lock = threading.Lock()

    def twice(name: str, start: int) -> int | str | None:
        with lock:
            seen[name, start] = seen.get((name, start), 0) + 1
            return fault if seen[name, start] <= 2 else None

    with emulator(drop, Conditions(fault=twice)) as service:
        model = _fetch(service, tmp_path / "out")
    assert _same(drop, tmp_path / "out")
    progress = model._copy.progress
    assert progress.size_done == progress.size


@pytest.mark.parametrize(
    ("fault", "status", "word"),
    [
        (500, Exit.STORAGE_UNREACHABLE, "after 8 tries"),
        (403, Exit.STORAGE_DENIED, "objectViewer"),
        (404, Exit.WEIGHTS_MISSING, "deleted or replaced"),
        ("corrupt", Exit.WEIGHTS_UNUSABLE, "crc32c"),
    ],
)
def test_faults_that_stay_end_the_copy(
    drop: Path, tmp_path: Path, fault: int | str, status: Exit, word: str
) -> None:
    """The error has its status and says what to do; no file looks complete."""

    def third(name: str, start: int) -> int | str | None:
        return fault if "00003" in name and start == 100_000 else None

    with (
        emulator(drop, Conditions(fault=third)) as service,
        pytest.raises(ServingError, match=word) as caught,
    ):
        _fetch(service, tmp_path / "out")
    assert caught.value.status is status
    assert not (tmp_path / "out" / "model-00003-of-00004.safetensors").exists()


def test_a_bucket_that_goes_away_is_given_up(drop: Path, tmp_path: Path) -> None:
    """Streams break off, connections are refused: after the last try it is said."""
    asked = threading.Event()

    def leave(name: str, start: int) -> str | None:
        if not start or not name.endswith(".safetensors"):
            return None
        asked.set()
        return "cut"

    with emulator(drop, Conditions(fault=leave)) as service:
        threading.Thread(target=lambda: asked.wait() and service.stop()).start()
        with pytest.raises(ServingError, match="after 8 tries") as caught:
            _fetch(service, tmp_path / "out")
    assert caught.value.status is Exit.STORAGE_UNREACHABLE
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_a_bucket_that_falls_silent_is_given_up(
    drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections are kept and nothing comes: each try ends with its time.

    Here with short times; with those of the image it ends within the documented one.
    """
    waits = sum(0.2 * 2**number for number in range(prefetch._TRIES - 1))
    longest = prefetch._TRIES * storage._TIMEOUT_SECONDS + waits
    monkeypatch.setattr(storage, "_TIMEOUT_SECONDS", 0.2)
    release = threading.Event()

    def silent(name: str, _start: int) -> None:
        if name.endswith(".safetensors"):
            release.wait(60)

    with emulator(drop, Conditions(fault=silent)) as service:
        with pytest.raises(ServingError, match=ends.BUCKET_SILENT.says) as caught:
            _fetch(service, tmp_path / "out")
        release.set()
    assert caught.value.status is ends.BUCKET_SILENT.status
    assert longest < ends.BUCKET_SILENT.seconds


def test_a_replaced_file_is_noticed(drop: Path, tmp_path: Path) -> None:
    """Weights that change while they are read are not mixed with the old ones."""
    victim = drop / "m" / "model-00002-of-00004.safetensors"

    def replaced(name: str, _start: int) -> None:
        if name.endswith("00001-of-00004.safetensors") and victim.stat().st_mtime > 1:
            os.utime(victim, (1, 1))

    with (
        emulator(drop, Conditions(fault=replaced)) as service,
        pytest.raises(ServingError, match="deleted or replaced"),
    ):
        _fetch(service, tmp_path / "out")


def test_a_full_disk_is_said_before_anything_is_read(
    drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the folder and the setting."""
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr(prefetch.shutil, "disk_usage", lambda _: usage)
    with (
        emulator(drop) as service,
        pytest.raises(ServingError, match="WEIGHTDROP_SERVING_SCRATCH") as caught,
    ):
        _fetch(service, tmp_path / "out")
    assert caught.value.status is Exit.DISK_FULL
    assert service.served == 0


def test_nothing_at_the_address(drop: Path, tmp_path: Path) -> None:
    """A prefix without objects is said to be empty, by name."""
    (tmp_path / "out").mkdir()
    with emulator(drop) as service:
        bucket = Bucket("gs://bench/other", service.url)
        model = BucketModel(bucket, tmp_path / "out", streams=2)
        with pytest.raises(ServingError, match="gs://bench/other") as caught:
            model.fetch_small()
    assert caught.value.status is Exit.WEIGHTS_MISSING


def test_only_what_was_validated_is_served(drop: Path, tmp_path: Path) -> None:
    """The digest is the deploying side's own; one other byte and nothing is read."""
    (tmp_path / "out").mkdir()
    with emulator(drop) as service:
        bucket = Bucket("gs://bench/m", service.url)
        objects = [service.facts(name) or {} for name in service.names("m/")]
        stored = tuple(
            StoredObject(
                name=facts["name"],
                generation=int(facts["generation"]),
                size=int(facts["size"]),
                crc32c=facts["crc32c"],
                updated=datetime.now(UTC),
            )
            for facts in objects
        )
        digest = artifact_set("bench", "m", stored).digest
        good = BucketModel(bucket, tmp_path / "out", streams=2, digest=digest)
        good.fetch_small()
        (drop / "m" / "tokenizer.json").write_bytes(b"{}")
        bad = BucketModel(bucket, tmp_path / "out", streams=2, digest=digest)
        with pytest.raises(ServingError, match="not what was validated") as caught:
            bad.fetch_small()
    assert caught.value.status is Exit.WEIGHTS_UNUSABLE


def test_pinned_files_are_read_and_nothing_else(drop: Path, tmp_path: Path) -> None:
    """Nothing is listed; a generation that is gone is said by name."""
    with emulator(drop) as service:
        bucket = Bucket("gs://bench/m", service.url)
        files = tuple(bucket.files())
        bucket.release()
        digest = selection.digest(files)
        (drop / "m" / "evil.json").write_bytes(b"{}")
        for folder, kept in (("one", digest), ("two", digest[::-1])):
            (tmp_path / folder).mkdir()
            model = BucketModel(
                bucket, tmp_path / folder, streams=2, digest=kept, files=files
            )
            if kept != digest:
                with pytest.raises(ServingError, match="not what was validated"):
                    model.fetch_small()
                continue
            model.fetch_small()
            model.fetch_weights()
        gone = tuple(replace(file, generation=1) for file in files)
        (tmp_path / "three").mkdir()
        model = BucketModel(bucket, tmp_path / "three", streams=2, files=gone)
        with pytest.raises(ServingError, match=r"config\.json.*Restore it") as caught:
            model.fetch_small()

    assert not (tmp_path / "one" / "evil.json").exists()
    (drop / "m" / "evil.json").unlink()
    assert _same(drop, tmp_path / "one")
    assert caught.value.status is Exit.WEIGHTS_MISSING


@pytest.mark.parametrize(
    "text",
    ["x", "", "eJw", base64.urlsafe_b64encode(zlib.compress(b"[[1]]")).decode()],
)
def test_a_list_of_files_that_is_none_is_refused(text: str) -> None:
    """By name of the variable, before anything is read."""
    if not text:
        assert environment.load({"WEIGHTDROP_FILES": text}).files == ()
        return
    with pytest.raises(EnvironmentFaultError, match="WEIGHTDROP_FILES"):
        environment.load({"WEIGHTDROP_FILES": text})


def test_a_copy_can_be_stopped(drop: Path, tmp_path: Path) -> None:
    """A cancelled copy ends although the service never answers well."""
    (tmp_path / "out").mkdir()
    asked = threading.Event()

    def never(_name: str, _start: int) -> int:
        asked.set()
        return 500

    with emulator(drop, Conditions(fault=never)) as service:
        copy = Prefetch(
            Bucket("gs://bench/m", service.url), tmp_path / "out", streams=4
        )
        files = copy.listing()
        threading.Thread(target=lambda: asked.wait() and copy.cancel()).start()
        with pytest.raises(ServingError) as caught:
            copy.copy(files)
    assert caught.value.status is Exit.STOPPED


def test_a_copy_that_was_stopped_before_does_not_look_complete(
    drop: Path, tmp_path: Path
) -> None:
    """Returning means that everything is there."""
    (tmp_path / "out").mkdir()
    with emulator(drop) as service:
        copy = Prefetch(
            Bucket("gs://bench/m", service.url), tmp_path / "out", streams=4
        )
        files = copy.listing()
        copy.cancel()
        with pytest.raises(ServingError) as caught:
            copy.copy(files)
    assert caught.value.status is Exit.STOPPED


def test_after_the_last_try_nothing_is_waited_for(
    drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight tries have seven waits between them, each longer than the one before."""
    waits: list[int] = []

    def noted(number: int) -> float:
        waits.append(number)
        return 0.0

    longest = [
        max(prefetch._wait_before(number) for _ in range(100)) for number in range(1, 8)
    ]
    monkeypatch.setattr(prefetch, "_wait_before", noted)
    (tmp_path / "out").mkdir()
    with emulator(drop, Conditions(fault=lambda *_: 500)) as service:
        copy = Prefetch(
            Bucket("gs://bench/m", service.url), tmp_path / "out", streams=1
        )
        with pytest.raises(ServingError, match="after 8 tries"):
            copy.copy(copy.listing()[:1])
    assert waits == list(range(1, 8))
    assert longest == sorted(longest)


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    """64 MB in 4 streams need a few blocks of 1 MiB, not the file."""
    (tmp_path / "bucket" / "m").mkdir(parents=True)
    (tmp_path / "bucket" / "m" / "model.safetensors").write_bytes(bytes(64 << 20))
    (tmp_path / "out").mkdir()
    with emulator(tmp_path / "bucket") as service:
        copy = Prefetch(
            Bucket("gs://bench/m", service.url), tmp_path / "out", streams=4
        )
        files = copy.listing()
        tracemalloc.start()
        copy.copy(files)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 24 << 20


@given(st.lists(st.binary(max_size=300), max_size=12))
def test_checksums_of_parts_make_that_of_the_whole(parts: list[bytes]) -> None:
    """For any split, the joined checksum is the library's of the whole."""
    sums = [(google_crc32c.value(part), len(part)) for part in parts]
    assert crc.joined(sums) == google_crc32c.value(b"".join(parts))
