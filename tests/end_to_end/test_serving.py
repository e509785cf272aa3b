"""The whole stack with real vLLM: from files in a folder to answers, and back.

The tests share one stack and one deployment, as every server costs half a
minute; each brings the deployment from ready to ready.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from end_to_end.conftest import LocalStack, until
from weightdrop.cli import own_stack
from weightdrop.cli.client import View
from weightdrop.errors import WeightdropError
from weightdrop.local.supervisor import processes

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

NAME = "tiny"
QUIET_SECONDS = 6.0
"""Twice the time a folder has to be quiet: by then a new revision is there."""


@dataclass
class Serving:
    """A stack with one deployment that answers.

    Attributes:
        local: The stack.
        waits: What status said while files were missing, by what was copied.
    """

    local: LocalStack
    waits: dict[str, View] = field(default_factory=dict)

    def ready(self, **facts: Any) -> View:
        """The deployment once it is ready, with one server and no other."""
        view = self.local.when(NAME, "ready", **facts)
        until(lambda: len(self.local.servers()) == 1, "one server")
        return view

    def answer(self) -> str:
        """Its answer to a prompt, once it answers."""

        def look() -> str:
            try:
                return self.local.ask(NAME)
            except WeightdropError:
                return ""

        return until(look, "an answer")


@pytest.fixture(scope="module")
def serving(local: LocalStack, model: Path) -> Serving:
    """Dropped in the worst order: config.json first, the shards one by one."""
    mine = Serving(local)
    shards = sorted(path.name for path in model.glob("*.safetensors"))
    others = [
        path.name
        for path in model.iterdir()
        if path.name not in {*shards, "config.json"}
    ]
    local.copy(model, NAME, "config.json")
    mine.waits["config.json"] = local.when(NAME, "waiting")
    local.copy(model, NAME, *others)
    mine.waits["others"] = local.when(NAME, "waiting", missing=shards)
    local.copy(model, NAME, *reversed(shards[1:]))
    mine.waits["shards"] = local.when(NAME, "waiting", missing=shards[:1])
    local.copy(model, NAME, shards[0])
    mine.ready(revision=1)
    return mine


@dataclass
class Asked:
    """What came of asking again and again."""

    answers: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@contextmanager
def asking(local: LocalStack) -> Iterator[Asked]:
    """Ask all the time, from another thread."""
    asked, over = Asked(), threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                asked.answers.append(local.ask(NAME))
            except WeightdropError as error:
                asked.faults.append(str(error))
            over.wait(0.2)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join()


def test_any_order_leads_to_ready(serving: Serving, model: Path) -> None:
    """Each missing file was named, and the last one was all it took."""
    shards = sorted(path.name for path in model.glob("*.safetensors"))

    assert serving.waits["others"]["missing"] == shards
    assert serving.waits["shards"]["missing"] == shards[:1]
    assert serving.local.view(NAME)["attempt"] == 1
    assert serving.answer()


def test_the_command_asks(serving: Serving) -> None:
    """`ask` prints the answer alone on standard output."""
    expected = serving.answer()
    done = serving.local.weightdrop(
        "ask", serving.local.id_of(NAME), "Hello?", "--max-tokens", "8"
    )

    assert done.returncode == 0
    assert done.stdout.rstrip("\n") == expected
    assert "chat/completions" in done.stderr


def test_the_same_bytes_start_nothing(serving: Serving) -> None:
    """`cp -r` of what is there already: same revision, same server, no event."""
    local = serving.local
    before = serving.ready()
    servers = local.servers()
    events = local.client.events(before["id"])
    folder = Path(local.stack.folder, NAME)
    copy = local.home / "copy"
    shutil.copytree(folder, copy)
    shutil.copytree(copy, folder, dirs_exist_ok=True)
    shutil.rmtree(copy)
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        view = local.view(NAME)
        assert (view["phase"], view["revision"]) == ("ready", before["revision"])
        time.sleep(0.5)

    assert local.servers() == servers
    assert local.client.events(before["id"]) == events


def test_changed_weights_take_over_on_the_same_endpoint(
    serving: Serving, other_model: Path
) -> None:
    """A new revision, the same endpoint id, answers all along, one server after.

    The functions and the bucket server are killed with -9 while it happens, and
    going back to the revision before brings its words back.
    """
    local = serving.local
    before = serving.ready()
    old_answer, old_servers = serving.answer(), local.servers()
    with asking(local) as asked:
        local.copy(other_model, NAME)
        local.when(NAME, "deploying", revision=before["revision"] + 1)
        for name in ("on_tick", "on_request", "on_artifact", "courier", "bucket"):
            os.kill(local.pids()[name], signal.SIGKILL)
        after = serving.ready(revision=before["revision"] + 1)
    new_answer = serving.answer()

    assert after["endpoint"]["id"] == before["endpoint"]["id"]
    assert after["endpoint"]["baseUrl"] == before["endpoint"]["baseUrl"]
    assert asked.faults == []
    assert set(asked.answers) == {old_answer, new_answer}
    assert new_answer != old_answer
    assert local.servers().isdisjoint(old_servers)
    assert after["serving"]["revision"] == after["revision"]

    # Refused as long as the revision before is still being cleaned up.
    until(
        lambda: local.weightdrop("rollback", after["id"], "--watch").returncode == 0,
        "a rollback",
    )
    serving.ready()
    until(lambda: serving.answer() == old_answer, "the old words")


def test_a_killed_server_comes_back(serving: Serving) -> None:
    """Kill -9 of the serving process: another one answers, and only that one."""
    expected = serving.answer()
    (before,) = serving.local.servers()
    os.kill(before, signal.SIGKILL)
    until(lambda: before not in serving.local.servers(), "the old server's end")
    until(serving.local.servers, "another server")

    assert serving.answer() == expected
    serving.ready()


def test_stand_in_and_supervisor_may_be_killed(serving: Serving) -> None:
    """Kill -9 of the stand-in, and in the middle of its return of the supervisor.

    After `up` everything answers as before, with one server and none left over.
    """
    local = serving.local
    expected, revision = serving.answer(), serving.ready()["revision"]
    server, vertex = local.servers(), local.pids()["vertex"]
    os.kill(vertex, signal.SIGKILL)
    until(lambda: local.pids().get("vertex") not in {None, 0, vertex}, "a stand-in")
    until(lambda: server.isdisjoint(local.servers()), "the old server's end")
    until(local.servers, "another server")
    everything = set(processes.of_stack(local.home))
    local.crash()
    local.start()

    assert everything.isdisjoint(processes.of_stack(local.home))
    assert serving.answer() == expected
    assert serving.ready()["revision"] == revision


def test_undeploy_frees_the_server_and_ctrl_c_ends_everything(
    serving: Serving,
) -> None:
    """The server goes, the endpoint's id is kept; then nothing is left at all."""
    local = serving.local
    before = serving.ready()
    done = local.weightdrop("undeploy", before["id"], "--watch", "--json")

    assert done.returncode == 0, done.stderr
    assert local.view(NAME)["phase"] == "retired"
    until(lambda: not local.servers(), "no server")

    done = local.weightdrop("retry", before["id"])
    assert done.returncode == 0, done.stderr
    until(local.servers, "a server that is starting")

    assert own_stack.stop(local.process, local.stack) < own_stack.STOP_SECONDS
    assert processes.of_stack(local.home) == []

    local.start()
    after = serving.ready()
    assert after["endpoint"]["id"] == before["endpoint"]["id"]
