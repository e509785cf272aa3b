"""A whole local stack for tests, as `weightdrop up` runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from local.vertex.running import tiny_image
from weightdrop.cli import own_stack
from weightdrop.cli.asking import EndpointClient
from weightdrop.cli.client import StatusClient, View
from weightdrop.core.deployment.naming import deployment_id
from weightdrop.errors import NotFoundError, TransientError
from weightdrop.local.supervisor import processes, stack
from weightdrop.local.tiny_model import make_tiny_llama
from weightdrop.settings import variable

SECONDS = 180.0
"""A vLLM start takes 30 s alone, and others may use the machine, too."""

T = TypeVar("T")


def until(look: Callable[[], T], what: str, *, seconds: float = SECONDS) -> T:
    """The first true value of `look`; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := look():
            return value
        time.sleep(0.1)
    pytest.fail(f"not within {seconds:.0f} s: {what}")


class LocalStack:
    """A running stack and what tests do with it."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self.options = options
        self.start()

    def start(self) -> None:
        """Run `weightdrop up`."""
        self.process, self.stack = own_stack.start(self.home, *self.options)
        self.client = StatusClient(self.stack.urls["status"])

    def crash(self) -> None:
        """Kill the supervisor with -9."""
        self.process.kill()
        self.process.wait()

    def pids(self) -> dict[str, int]:
        """Process ids as they are now."""
        found = stack.find(self.home)
        return found.pids if found else {}

    def servers(self) -> set[int]:
        """Serving processes that run now, one a replica."""
        return {pid for pid in processes.of_stack(self.home) if _serves(pid)}

    def copy(self, model: Path, name: str, *files: str) -> None:
        """Copy files of a model into the bucket's folder, or all of it (cp -r)."""
        place = Path(self.stack.folder, name)
        if not files:
            shutil.copytree(model, place, dirs_exist_ok=True)
            return
        place.mkdir(exist_ok=True)
        for file in files:
            shutil.copyfile(model / file, place / file)

    def id_of(self, name: str) -> str:
        """The deployment id of a drop."""
        return deployment_id(self.stack.bucket, name)

    def view(self, name: str) -> View:
        """The status of a drop; empty as long as it has none."""
        try:
            return self.client.deployment(self.id_of(name))
        except (NotFoundError, TransientError):
            return {}

    def when(self, name: str, phase: str, **facts: Any) -> View:
        """The status of a drop, once it is in `phase` and has these facts."""

        def look() -> View:
            view = self.view(name)
            fits = all(view.get(fact) == value for fact, value in facts.items())
            stuck = view.get("phase") in {"failed", "rejected"} - {phase}
            assert not stuck, json.dumps(view, indent=2)
            return view if view.get("phase") == phase and fits else {}

        return until(look, f"{name} is {phase} {facts}: {self.view(name)}")

    def vertex(self, path: str, *, method: str = "GET", **told: Any) -> View:
        """What the stand-in itself answers: its word, not the record's."""
        url = f"{self.stack.urls['vertex']}/{path}"
        answer = httpx.request(method, url, trust_env=False, timeout=SECONDS, **told)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def ask(self, name: str, *, max_tokens: int = 8) -> str:
        """The model's answer to one chat."""
        endpoint = self.view(name)["endpoint"]
        with EndpointClient(endpoint, max_tokens=max_tokens) as client:
            return client.chat("Hello?").answer

    def weightdrop(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a process of its own against this stack."""
        return subprocess.run(
            [
                *(sys.executable, "-m", "weightdrop.cli", words[0]),
                *("--home", str(self.home), *words[1:]),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )


def _serves(pid: int) -> bool:
    try:
        words = (processes.PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[1:3] == [b"-m", b"weightdrop_serving"]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack that the tests of one module share."""
    with stopped(LocalStack(tmp_path_factory.mktemp("home"))) as running:
        yield running


@contextmanager
def stopped(running: LocalStack) -> Iterator[LocalStack]:
    """Nothing of a stack runs afterwards."""
    try:
        yield running
    finally:
        _stop(running)


@contextmanager
def small_stack(
    home: Path, image: Path, *options: str, **settings: str
) -> Iterator[LocalStack]:
    """A stack whose servers are small programs: nothing of vLLM is loaded.

    Args:
        home: Its state.
        image: A folder in which the small program is laid.
        options: Of `weightdrop up`.
        settings: Further settings by field.
    """
    told = {variable(field): text for field, text in settings.items()}
    with pytest.MonkeyPatch.context() as patch:
        for name, text in (told | tiny_image(image)).items():
            patch.setenv(name, text)
        with stopped(LocalStack(home, *options)) as running:
            yield running


def _stop(running: LocalStack) -> None:
    running.process.terminate()
    try:
        running.process.wait(15)
    except subprocess.TimeoutExpired:
        running.crash()
    processes.end_all(running.home, grace=0.0, limit=10.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model in four shards."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    make_tiny_llama(folder, shards=4, seed=1)
    return folder


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model fine-tuned: other weights, everything else the same."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    make_tiny_llama(folder, shards=4, seed=2)
    return folder
