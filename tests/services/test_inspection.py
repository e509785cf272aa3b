"""Driving the inspection: generations, time, concurrency, and the document."""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Event
from typing import Any

import pytest

from drops.models import TINY_LLAMA, model_files, tensors_of, weight_files
from drops.stores import MemoryArtifacts, pinned
from weightdrop.core.artifacts.exchange import Template
from weightdrop.core.artifacts.findings import Severity
from weightdrop.core.artifacts.keeping import Keeping
from weightdrop.core.artifacts.objects import artifact_set
from weightdrop.core.artifacts.policy import Policy
from weightdrop.errors import (
    NotFoundError,
    PermanentError,
    StaleError,
    TransientError,
)
from weightdrop.local.folder import FolderArtifacts
from weightdrop.services.inspection import inspect_artifacts, report_json
from weightdrop.services.templates import render


def tiny() -> MemoryArtifacts:
    """A store with a tiny model in two shards."""
    return MemoryArtifacts(model_files(TINY_LLAMA, shards=2))


def test_a_replaced_object_surfaces_so_that_the_caller_lists_again() -> None:
    """What was listed is what is read, or nothing is."""
    store = tiny()
    artifacts = pinned(store)
    store.generations["config.json"] = 2

    with pytest.raises(StaleError):
        inspect_artifacts(store, artifacts, policy=Policy())


def test_replicas_that_read_the_bucket_are_warned_for() -> None:
    """Only then, after the worse findings, and whatever may not be read."""
    store = tiny()
    store.kept = Keeping(versioning=False, soft_delete_seconds=0)
    artifacts = pinned(store)

    copied = inspect_artifacts(store, artifacts, policy=Policy())
    direct = inspect_artifacts(store, artifacts, policy=Policy(direct=True))
    store.kept = PermanentError("forbidden")
    hidden = inspect_artifacts(store, artifacts, policy=Policy(direct=True))

    assert "bucket-forgets" not in {one.code for one in copied.findings}
    assert "bucket-forgets" in {one.code for one in direct.findings}
    assert "bucket-unknown" in {one.code for one in hidden.findings}
    order = [list(Severity).index(one.severity) for one in direct.findings]
    assert order == sorted(order)


def test_a_removed_object_surfaces() -> None:
    """An object that went away between listing and read is no finding."""
    files = model_files(TINY_LLAMA)
    artifacts = pinned(MemoryArtifacts(files))
    less = {name: data for name, data in files.items() if name != "config.json"}

    with pytest.raises(NotFoundError):
        inspect_artifacts(MemoryArtifacts(less), artifacts, policy=Policy())


@dataclass
class Stuck(MemoryArtifacts):
    """A store that does not answer until it is let go."""

    let_go: Event = field(default_factory=Event)

    def read(self, *names: Any, **how: Any) -> bytes:
        """Wait, then answer."""
        self.let_go.wait(60)
        return super().read(*names, **how)


def test_a_store_that_hangs_ends_at_the_time_limit() -> None:
    """The caller tries again later; nothing waits for ever."""
    store = Stuck(model_files(TINY_LLAMA))

    with pytest.raises(TransientError, match="within the time"):
        inspect_artifacts(store, pinned(store), policy=Policy(time_limit_seconds=0.05))
    store.let_go.set()


@dataclass
class Together(MemoryArtifacts):
    """A store that answers weight files only if several are asked for at once."""

    barrier: Barrier = field(default_factory=lambda: Barrier(16))
    met: bool = True

    def read(self, bucket: str, name: str, **how: Any) -> bytes:
        """Wait for fifteen others."""
        if name.endswith(".safetensors"):
            try:
                self.barrier.wait(20)
            except BrokenBarrierError:
                self.met = False
        return super().read(bucket, name, **how)


def test_reads_of_a_batch_are_under_way_together() -> None:
    """Sixteen shards are asked for at once, twice."""
    files = model_files(TINY_LLAMA) | weight_files(tensors_of(TINY_LLAMA), 21)
    del files["model.safetensors"]
    store = Together(files)
    shards = [name for name in files if name.endswith(".safetensors")]
    store.barrier = Barrier(len(shards))
    report = inspect_artifacts(store, pinned(store), policy=Policy())

    assert report.verdict == "accepted"
    assert store.met
    assert report.reads.requests == 5 - 1 + 1 + 2 * len(shards)


def test_the_garbage_collector_is_left_as_it_was() -> None:
    """Paused while tables are built, and running again after, come what may."""
    store = tiny()
    inspect_artifacts(store, pinned(store), policy=Policy())

    assert gc.isenabled()


def test_the_document_is_what_check_prints() -> None:
    """Every key of the contract, as JSON."""
    store = tiny()
    report = inspect_artifacts(store, pinned(store), policy=Policy())
    document = json.loads(json.dumps(report_json(report)))

    assert list(document) == [
        "verdict",
        "base_model",
        "architecture",
        "parameters",
        "dtype",
        "quantization",
        "files",
        "findings",
        "reads",
    ]
    assert document["verdict"] == "accepted"
    assert document["architecture"] == "LlamaForCausalLM"
    assert {"path": "config.json", "state": "served"} in document["files"]
    assert document["findings"][0]["code"] == "architecture-unlisted"
    assert document["findings"][0]["severity"] == "notice"
    assert document["reads"]["requests"] == 9


def test_the_document_of_nothing_is_whole() -> None:
    """A folder without anything has all keys too."""
    store = MemoryArtifacts({})
    report = inspect_artifacts(store, pinned(store), policy=Policy())
    document = report_json(report)

    assert document["verdict"] == "incomplete"
    assert {"path": "config.json", "state": "missing"} in document["files"]


def test_one_bad_template_spoils_no_other() -> None:
    """A template that takes its process down is found among good ones."""
    slow = "{% for i in range(99999) %}" * 2 + "{% endfor %}" * 2
    templates = tuple(Template("f", "", text) for text in ("a", slow, "b"))

    assert [r.fault for r in render(templates)] == ["", "time", ""]


def test_templates_see_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that renders gets nothing it could give away."""
    monkeypatch.setenv("WEIGHTDROP_SECRET", "hush")
    probe = "{{ self._TemplateReference__context.environment.globals }}"
    found = render((Template("f", "", probe),))[0]

    assert "hush" not in found.prompt
    assert found.fault


# --------------------------------------------------------------------- folders


def folder(path: Path) -> Path:
    """A tiny model on disk."""
    for name, data in model_files(TINY_LLAMA).items():
        if isinstance(data, bytes):
            (path / name).write_bytes(data)
        else:
            with (path / name).open("wb") as file:
                file.write(data.head)
                file.truncate(data.size)
    return path


def listed(path: Path) -> dict[str, int]:
    """The files a folder's store lists."""
    objects = FolderArtifacts().list(str(path), "", limit=100).objects
    return {stored.name: stored.size for stored in objects}


def test_a_folder_is_inspected_like_a_bucket(tmp_path: Path) -> None:
    """The same files give the same report."""
    store, path = FolderArtifacts(), str(folder(tmp_path))
    objects = store.list(path, "", limit=100).objects
    here = inspect_artifacts(store, artifact_set(path, "", objects), policy=Policy())
    memory = MemoryArtifacts(model_files(TINY_LLAMA))
    there = inspect_artifacts(memory, pinned(memory), policy=Policy())

    assert here == there
    assert {stored.generation for stored in objects} == {0}


def test_links_out_of_a_folder_are_not_there(tmp_path: Path) -> None:
    """A link cannot make anything outside readable; one inside is a file."""
    secret = tmp_path / "secret"
    secret.write_text("hush")
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "plain.json").write_text("{}")
    (inside / "good.json").symlink_to("plain.json")
    (inside / "bad.json").symlink_to(secret)
    (inside / "up").symlink_to(tmp_path)

    assert listed(inside) == {"plain.json": 2, "good.json": 2}
    for name in ("bad.json", "../secret", "up/secret"):
        with pytest.raises(NotFoundError):
            FolderArtifacts().read(str(inside), name, generation=0, start=0, length=9)


def test_a_folder_is_read_in_ranges(tmp_path: Path) -> None:
    """Short at the end, empty beyond it, below a prefix too."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_bytes(b"0123456789")
    store, path = FolderArtifacts(), str(tmp_path)

    assert store.read(path, "sub/x", generation=0, start=2, length=3) == b"234"
    assert store.read(path, "sub/x", generation=0, start=8, length=9) == b"89"
    assert store.read(path, "sub/x", generation=0, start=99, length=9) == b""
    assert store.stat(path, "sub/x").size == 10
    assert [o.name for o in store.list(path, "sub", limit=9).objects] == ["sub/x"]
    assert store.list(path, "", limit=0).truncated


def test_a_folder_that_is_none_is_said_to_be(tmp_path: Path) -> None:
    """No folder, and no file, are what they are."""
    with pytest.raises(NotFoundError):
        FolderArtifacts().list(str(tmp_path / "no"), "", limit=1)
    with pytest.raises(NotFoundError):
        FolderArtifacts().stat(str(tmp_path), "no")
    assert FolderArtifacts().list(str(tmp_path), "no", limit=1).objects == ()
