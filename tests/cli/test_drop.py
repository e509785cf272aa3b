"""`drop` against the real bucket server, without anybody who looks at the bucket."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Outcome, weightdrop
from local.bucket.harness import running
from weightdrop.bootstrap import App
from weightdrop.cli.copying import LocalFile, upload_all
from weightdrop.settings import load
from weightdrop.uploads import Kept

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


@pytest.mark.usefixtures("bucket")
def test_a_folder_without_config_json_begins_nothing(model: Path, serving: Any) -> None:
    """Nobody is sent to look at a deployment that will not be there."""
    (model / "config.json").rename(model / "weights.safetensors")
    outcome = weightdrop("drop", *NOBODY, "--force", str(model))

    assert outcome.status == 0
    assert outcome.out == "Copied 1 file, 2 B, to gs://models/checkpoint-final.\n"
    assert outcome.err == "Nothing begins before config.json is there, too.\n"

    watched = serving.weightdrop("drop", "--force", "--watch", str(model))
    assert watched.status == 1
    assert watched.err == outcome.err
    assert watched.out == (
        "Nothing was copied: 1 file in gs://models/checkpoint-final already.\n"
    )


@pytest.mark.usefixtures("bucket")
def test_files_that_follow_a_config_are_followed(model: Path) -> None:
    """What is missing here may be in the bucket already."""
    dropped(str(model))
    (model / "config.json").rename(model / "weights.safetensors")
    outcome = weightdrop("drop", *NOBODY, "--force", str(model))

    assert "Follow it with: weightdrop status checkpoint-final-" in outcome.out
    assert outcome.err == ""


@pytest.mark.usefixtures("bucket")
def test_a_large_file_goes_in_small_steps(tmp_path: Path) -> None:
    """So that eight at a time fit in memory, and Ctrl-C is heard soon."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(40 << 20)
    steps: list[int] = []
    uploads = App(load()).uploads
    uploads.upload(large, "models", "large", progress=steps.append)

    assert sum(steps) == 40 << 20
    assert max(steps) <= 16 << 20
    assert uploads.existing("models", "")["large"].size == 40 << 20


class Slow:
    """A bucket at the end of a thin line: nothing is ever wholly there.

    Args:
        accident: What happens while the second file is copied.
    """

    def __init__(self, accident: Callable[[], None]) -> None:
        self.accident = accident

    def existing(self, bucket: str, prefix: str) -> dict[str, Kept]:
        """See Uploads."""
        raise NotImplementedError

    def checksum(self, path: Path) -> str:
        """See Uploads."""
        raise NotImplementedError

    def upload(
        self, path: Path, bucket: str, name: str, *, progress: Callable[[int], None]
    ) -> None:
        """See Uploads."""
        del path, bucket
        if name == "second":
            self.accident()
        while True:
            progress(1)


def interrupt() -> None:
    """Ctrl-C, as the terminal sends it."""
    os.kill(os.getpid(), signal.SIGINT)


def refuse() -> None:
    """The other side takes no more."""
    raise ConnectionResetError


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("accident", "seen"), [(interrupt, KeyboardInterrupt), (refuse, ConnectionError)]
)
def test_copying_ends_at_once(
    tmp_path: Path, accident: Callable[[], None], seen: type[BaseException]
) -> None:
    """Ctrl-C and a failure do not wait for what else is under way: it takes hours."""
    files = [LocalFile(tmp_path / name, name, 1) for name in ("first", "second")]
    said: list[int] = []

    with pytest.raises(seen):
        upload_all(Slow(accident), "models", files, progress=said.append)

    assert said
