"""`drop` against the real bucket server, without anybody who looks at the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.conftest import Outcome, weightdrop
from local.bucket.harness import running

NOBODY = ("--url", "http://127.0.0.1:9")
"""No status function is asked where nothing is watched."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder, dropped with --force: what is in it does not matter here."""
    folder = tmp_path / "run-17" / "checkpoint-final"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A bucket server that the settings name."""
    with running(tmp_path / "server", "--watch", "models") as server:
        monkeypatch.setenv("WEIGHTDROP_STORAGE_ENDPOINT", server.url)
        monkeypatch.setenv("WEIGHTDROP_BUCKETS", "models")
        yield


def dropped(folder: str) -> str:
    """Where the folder of this name went."""
    outcome = weightdrop("drop", *NOBODY, "--force", "--json", folder)
    assert outcome.status == 0, outcome.err
    return str(outcome.document["target"])


@pytest.mark.usefixtures("bucket")
def test_a_link_is_dropped_under_the_name_that_was_typed(
    model: Path, tmp_path: Path
) -> None:
    """`ln -s run-17/checkpoint-final support-bot` is how people name a checkpoint."""
    (tmp_path / "support-bot").symlink_to(model)

    assert dropped(str(tmp_path / "support-bot")) == "gs://models/support-bot"
    assert dropped(f"{tmp_path}/support-bot/") == "gs://models/support-bot"


@pytest.mark.usefixtures("bucket")
def test_a_folder_without_a_name_of_its_own_goes_by_the_one_it_has(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`drop .` and `drop ..` say where, not what it is called."""
    monkeypatch.chdir(model)
    here = dropped(".")
    (model / "deep").mkdir()
    monkeypatch.chdir(model / "deep")

    assert here == "gs://models/checkpoint-final"
    assert dropped("..") == "gs://models/checkpoint-final"


def test_a_folder_that_is_not_there_is_what_is_complained_about(tmp_path: Path) -> None:
    """Not that no stack runs either: starting one would not help."""
    outcome: Outcome = weightdrop("drop", "--home", str(tmp_path), str(tmp_path / "no"))

    assert outcome.status == 2
    assert outcome.err == f"weightdrop: {tmp_path / 'no'} is no folder.\n"
