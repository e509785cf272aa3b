"""The whole stack up to the point where a server would start."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from end_to_end.conftest import LocalStack, until
from weightdrop.cli import own_stack
from weightdrop.local.proc import PROC
from weightdrop.local.supervisor import preflight, processes, stack

PYTHON = [sys.executable, "-m", "weightdrop.cli"]
PORTS = 8
"""Consecutive ports that a stack may need."""


def shards_of(model: Path) -> list[str]:
    """Names of the weight files."""
    return sorted(path.name for path in model.glob("*.safetensors"))


def test_an_incomplete_drop_names_each_missing_file(local: Any, model: Path) -> None:
    """Waiting: the command names every file that is still to come."""
    files = ["config.json", "model.safetensors.index.json", "tokenizer.json"]
    local.copy(model, "half", *files, "tokenizer_config.json", shards_of(model)[1])
    wanted = [shards_of(model)[number] for number in (0, 2, 3)]
    local.when("half", "waiting", missing=wanted)
    done = local.weightdrop("status", local.id_of("half"))

    assert done.returncode == 0
    assert all(f"\n    {name}\n" in done.stdout for name in wanted)
    assert (
        shards_of(model)[1]
        not in done.stdout.partition("waiting for")[2].partition("missing")[0]
    )
    assert local.servers() == set()


def test_a_broken_drop_is_rejected_with_all_a_person_needs(
    local: Any, model: Path, tmp_path: Path
) -> None:
    """Code, file, detail and fix; exit status 1; no server was started."""
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    shard = broken / shards_of(model)[2]
    shard.write_bytes(shard.read_bytes()[:-100])
    local.copy(broken, "broken")
    view = local.when("broken", "rejected")
    errors = [one for one in view["findings"] if one["severity"] == "error"]

    assert shard.name in {one["file"] for one in errors}
    assert all(one["code"] and one["detail"] and one["fix"] for one in errors)

    done = local.weightdrop("status", local.id_of("broken"))
    assert done.returncode == 1
    assert errors[0]["code"] in done.stdout
    assert errors[0]["file"] in done.stdout
    assert errors[0]["fix"] in done.stdout
    assert local.servers() == set()


def test_drop_refuses_what_would_be_rejected(
    local: Any, model: Path, tmp_path: Path
) -> None:
    """Nothing is copied, the findings are said, status 1."""
    broken = tmp_path / "refused"
    shutil.copytree(model, broken)
    (broken / shards_of(model)[0]).write_bytes(b"\0" * 64)
    done = local.weightdrop("drop", str(broken))

    assert done.returncode == 1
    assert done.stdout == ""
    assert "Nothing was copied" in done.stderr
    assert not Path(local.stack.folder, "refused").exists()


def test_drop_uploads_config_last_and_only_what_is_new(
    local: Any, model: Path, tmp_path: Path
) -> None:
    """The file that starts everything comes last; a second time copies nothing."""
    folder = tmp_path / "uploaded"
    shutil.copytree(model, folder)
    (folder / shards_of(model)[3]).unlink()
    first = local.weightdrop("drop", str(folder), "--json")
    again = local.weightdrop("drop", str(folder), "--json")
    facts, repeated = json.loads(first.stdout), json.loads(again.stdout)
    place = Path(local.stack.folder, "uploaded")
    times = {path.name: path.stat().st_mtime_ns for path in place.iterdir()}

    assert first.returncode == again.returncode == 0
    assert facts["deployment"] == local.id_of("uploaded")
    assert len(facts["uploaded"]) == len(list(folder.iterdir()))
    assert max(times, key=lambda name: times[name]) == "config.json"
    assert repeated["uploaded"] == []
    assert sorted(repeated["skipped"]) == sorted(facts["uploaded"])
    for path in folder.iterdir():
        assert (place / path.name).read_bytes() == path.read_bytes()
    assert shards_of(model)[3] in first.stderr


def test_a_follower_receives_what_happens(local: Any, model: Path) -> None:
    """`events --follow --json` writes a document a line as events come."""
    words = ["events", "--home", str(local.home), "--follow", "--json"]
    with subprocess.Popen(
        [*PYTHON, *words], stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        local.copy(model, "followed", "config.json")
        for line in follower.stdout:
            event = json.loads(line)
            if event["data"]["deployment"] == local.id_of("followed"):
                break
        follower.send_signal(signal.SIGINT)

    assert follower.returncode == 0
    assert event["type"] == "weightdrop.deployment.waiting.v1"
    assert event["data"]["source"] == "gs://models/followed"


@pytest.mark.parametrize("source", ["folder", "bucket"])
def test_check_and_plan_read_both_kinds_of_source(
    local: Any, model: Path, source: str
) -> None:
    """A folder and a gs:// address come to the same conclusion."""
    place = str(model)
    if source == "bucket":
        # Not watched: the copy must not start a deployment of its own.
        place = _unwatched(local, model)
        # Files that are copied past the server are noticed a moment later.
        until(
            lambda: local.weightdrop("check", place, "--json").returncode == 0,
            "the copied files to be noticed",
        )
    checked = local.weightdrop("check", place, "--json")
    planned = local.weightdrop("plan", place, "--json")

    assert checked.returncode == planned.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["verdict"] == "accepted"
    assert json.loads(planned.stdout)["machine_type"]


def _unwatched(local: Any, model: Path) -> str:
    place = local.home / "buckets" / "elsewhere" / "tiny"
    shutil.copytree(model, place, dirs_exist_ok=True)
    return "gs://elsewhere/tiny"


@pytest.mark.parametrize(
    "name",
    ["bucket", "on_artifact", "on_request", "on_tick", "status", "courier", "vertex"],
)
def test_any_process_may_be_killed(local: Any, model: Path, name: str) -> None:
    """It comes back by itself, and the next drop is seen."""
    before = local.pids()[name]
    os.kill(before, signal.SIGKILL)
    local.copy(model, f"after-{name.replace('_', '-')}", "config.json")
    view = local.when(f"after-{name.replace('_', '-')}", "waiting")

    assert "model.safetensors" in str(view["missing"])
    assert until(lambda: local.pids().get(name) not in {None, before}, "a new pid")


def listening(home: Path) -> list[str]:
    """Addresses, as the kernel writes them, on which a stack listens."""
    inodes = {
        str(link.readlink())
        for pid in processes.of_stack(home)
        for link in (PROC / str(pid) / "fd").iterdir()
        if link.is_symlink()
    }
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in (PROC / "net" / table).read_text().splitlines()[1:]
    ]
    return [
        row[1].partition(":")[0]
        for row in rows
        if row[3] == "0A" and f"socket:[{row[9]}]" in inodes
    ]


def test_everything_binds_loopback_only(local: Any) -> None:
    """No listening socket of any process is reachable from elsewhere."""

    def look() -> list[str]:
        try:
            found = listening(local.home)
        except OSError:  # something was closed while we looked
            return []
        return found if len(found) >= 6 else []

    assert set(until(look, "six listeners")) == {"0100007F"}


def test_a_stack_in_use_is_not_disturbed(local: Any) -> None:
    """A second `up` in the same home: one sentence, status 2."""
    done = local.weightdrop("up", "--port", "0")

    assert done.returncode == 2
    assert f"A stack is already running in {local.home} (process " in done.stderr
    assert local.client.deployments() is not None


def test_up_needs_nothing_of_the_environment(tmp_path: Path) -> None:
    """Empty environment, empty HOME, any folder: it starts, and Ctrl-C ends it."""
    home, place = tmp_path / "nobody", tmp_path / "place"
    home.mkdir()
    place.mkdir()
    # A module of the user's that would get in front of ours.
    (place / "click.py").write_text("raise SystemExit('shadowed')")
    (home / "click.py").write_text("raise SystemExit('shadowed')")
    program = str(Path(sys.executable).with_name("weightdrop"))
    with subprocess.Popen(
        [program, "up", "--port", "0", "--json"],
        cwd=place,
        env={"HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        folder = home / ".weightdrop"
        deadline = time.monotonic() + 120
        while not ((found := stack.find(folder)) and found.ready):
            assert up.poll() is None, up.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        begin = time.monotonic()
        up.send_signal(signal.SIGINT)
        out, _err = up.communicate(timeout=30)

    assert time.monotonic() - begin < 10
    assert up.returncode == 0
    assert json.loads(out)["folder"] == str(folder / "buckets" / "models")
    assert processes.of_stack(folder) == []
    assert all(preflight.port_free(found.port + step) for step in range(6))
    assert sorted(path.name for path in home.iterdir() if path.name[0] != ".") == [
        "click.py"
    ]


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """One sentence, status 2, nothing started."""
    base = preflight.free_base_port(PORTS)
    with socket.create_server(("127.0.0.1", base + 2)):
        done = subprocess.run(
            [*PYTHON, "up", "--home", str(tmp_path), "--port", str(base)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"weightdrop: Port {base + 2}, which the Vertex AI stand-in needs, is in use: "
        "stop what listens there, or choose another base with --port."
    )
    assert list((tmp_path / "logs").iterdir()) == []


def test_a_killed_supervisor_is_healed_by_the_next(tmp_path: Path, model: Path) -> None:
    """What it saw before it was killed is still known, and nothing is left over."""
    local = LocalStack(tmp_path)
    try:
        local.copy(model, "kept", "config.json")
        before = local.when("kept", "waiting")
        old = set(local.pids().values())
        local.crash()
        local.copy(model, "dropped-meanwhile", "config.json")
        local.start()

        assert local.when("kept", "waiting")["created"] == before["created"]
        local.when("dropped-meanwhile", "waiting")
        assert [pid for pid in old if processes.start_time(pid)] == []
        assert own_stack.stop(local.process, local.stack) < 10
    finally:
        local.process.kill()
        local.process.wait()
        processes.end_all(tmp_path, grace=0.0, limit=5.0)
