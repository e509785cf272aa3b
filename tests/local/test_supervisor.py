"""The supervisor over small real processes: start, watch, restart, stop, heal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from weightdrop.local.supervisor import preflight, processes, stack
from weightdrop.local.supervisor.children import LOG_BYTES, Child
from weightdrop.local.supervisor.layout import Layout, Service, stack_variables

PROGRAM = Path(__file__).with_name("supervised.py")
SECONDS = 60.0
T = TypeVar("T")


def until(look: Callable[[], T], what: str) -> T:
    """The first true value of `look`; fails the test after a minute."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if value := look():
            return value
        time.sleep(0.05)
    pytest.fail(f"not within {SECONDS:.0f} s: {what}")


def free_port() -> int:
    """A port that nobody listens on, and nobody on the next one."""
    while True:
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            port: int = server.getsockname()[1]
            with suppress(OSError, OverflowError):
                socket.create_server(("127.0.0.1", port + 1)).close()
                return port


class Running:
    """A supervisor in a process of its own."""

    def __init__(self, home: Path, port: int, kind: str = "fine") -> None:
        self.home, self.port = home, port
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(home), str(port), kind],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"]},
        )

    def ready(self) -> dict[str, Any]:
        """Wait until it says that it is ready, and what it says."""
        found = until(
            lambda: stack.find(self.home) or self.process.poll(), "a stack.json"
        )
        assert isinstance(found, stack.Stack), self.process.communicate()
        until(lambda: (stack.find(self.home) or found).ready, "a ready stack")
        return json.loads((self.home / stack.NAME).read_text())

    def pids(self) -> dict[str, int]:
        """Process ids as stack.json has them now."""
        found = stack.find(self.home)
        return found.pids if found else {}

    def grandchild(self) -> int:
        """The process that `parent` started last."""
        log = self.home / "logs" / "parent.log"
        return int(until(lambda: log.read_text().split(), "a grandchild")[-1])

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[str, str]:
        """Send a signal and wait for the end: what it wrote."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=SECONDS)


@contextmanager
def supervised(home: Path, *, port: int = 0, kind: str = "fine") -> Iterator[Running]:
    """A supervisor that is gone afterwards, with all that it started."""
    running = Running(home, port or free_port(), kind)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()
        processes.end_all(home, grace=0.0, limit=5.0)


def gone(pid: int) -> bool:
    """Whether the process does not run any more."""
    return not processes.start_time(pid)


def test_ctrl_c_stops_everything_within_ten_seconds(tmp_path: Path) -> None:
    """After SIGINT no process, no listener and no stack.json is left."""
    with supervised(tmp_path) as running:
        pids = running.ready()["pids"]
        grandchild = running.grandchild()
        begin = time.monotonic()
        _out, said = running.end()

        assert time.monotonic() - begin < 10
        assert "Stopping everything" in said
        assert running.process.returncode == 0
        assert [pid for pid in (*pids.values(), grandchild) if not gone(pid)] == []
        assert preflight.port_free(running.port)
        assert stack.find(tmp_path) is None
        assert not (tmp_path / stack.NAME).exists()


def test_a_terminal_that_is_closed_stops_everything(tmp_path: Path) -> None:
    """Nobody can be told any more, and still nothing is left running."""
    with supervised(tmp_path) as running:
        pids = running.ready()["pids"]
        assert running.process.stderr is not None
        running.process.stderr.close()
        running.process.send_signal(signal.SIGHUP)
        running.process.wait(SECONDS)

        assert [pid for pid in pids.values() if not gone(pid)] == []
        assert not (tmp_path / stack.NAME).exists()


@pytest.mark.parametrize("name", ["server", "parent"])
def test_a_killed_process_comes_back(tmp_path: Path, name: str) -> None:
    """A process killed with -9 is started again and answers."""
    with supervised(tmp_path) as running:
        before = running.ready()["pids"][name]
        os.kill(before, signal.SIGKILL)
        until(lambda: running.pids().get(name) not in {None, 0, before}, "a new pid")

        assert gone(before)
        until(lambda: not preflight.port_free(running.port), "a listener")
        assert running.process.poll() is None


def test_what_outlives_its_parent_is_ended(tmp_path: Path) -> None:
    """A grandchild in a session of its own goes when its parent was killed."""
    with supervised(tmp_path) as running:
        parent = running.ready()["pids"]["parent"]
        orphan = running.grandchild()
        os.kill(parent, signal.SIGKILL)

        until(lambda: gone(orphan), "the orphan's end")
        assert running.process.poll() is None


def test_a_killed_supervisor_leaves_nothing_for_the_next(tmp_path: Path) -> None:
    """After kill -9 of the supervisor the next one heals and uses the same port."""
    with supervised(tmp_path) as first:
        pids = first.ready()["pids"]
        hidden = first.grandchild()
        first.process.kill()
        first.process.communicate()
        with supervised(tmp_path, port=first.port) as second:
            fresh = second.ready()["pids"]

            assert set(fresh.values()).isdisjoint(pids.values())
            assert [p for p in (*pids.values(), hidden) if not gone(p)] == []


def test_a_second_stack_in_the_same_home_is_refused(tmp_path: Path) -> None:
    """It names the one that runs, ends with 2 and does not disturb it."""
    with supervised(tmp_path) as first:
        pids = first.ready()["pids"]
        second = Running(tmp_path, free_port())
        _out, said = second.process.communicate(timeout=SECONDS)

        assert second.process.returncode == 2
        assert said.startswith(f"A stack is already running in {tmp_path} (process ")
        assert running_pids(first) == pids


def running_pids(running: Running) -> dict[str, int]:
    """Process ids of a stack whose processes all still run."""
    pids = running.pids()
    return {name: pid for name, pid in pids.items() if not gone(pid)}


def test_a_port_in_use_stops_the_start(tmp_path: Path) -> None:
    """One sentence names port and process, status 2, nothing started."""
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as taken,
        supervised(tmp_path, port=taken.getsockname()[1]) as running,
    ):
        _out, said = running.process.communicate(timeout=SECONDS)

        assert running.process.returncode == 2
        assert said.count("\n") == 1
        assert f"Port {running.port}, which the server needs, is in use" in said
        assert list((tmp_path / "logs").iterdir()) == []


@pytest.mark.parametrize("home", ["/proc/weightdrop", "/dev/null/weightdrop"])
def test_an_unwritable_folder_stops_the_start(home: str) -> None:
    """One sentence names the folder, status 2."""
    with supervised(Path(home)) as running:
        _out, said = running.process.communicate(timeout=SECONDS)

        assert running.process.returncode == 2
        assert said.count("\n") == 1
        assert said.startswith(f"The folder {home} cannot be written (")


def test_a_process_that_never_answers_stops_the_stack(tmp_path: Path) -> None:
    """After three deaths: its last words, status 1, everything else stopped."""
    with supervised(tmp_path, kind="broken") as running:
        _out, said = running.process.communicate(timeout=SECONDS)

        assert running.process.returncode == 1
        assert "ended with status 1 3 times before it answered" in said
        assert "cannot work" in said
        assert processes.of_stack(tmp_path) == []


def test_a_disk_with_too_little_room_is_refused(tmp_path: Path) -> None:
    """One sentence says how much is free and how much is needed."""
    layout = Layout(home=tmp_path, port=free_port(), bucket="models")

    with pytest.raises(preflight.UsageError, match=r"MiB free and the stack needs"):
        preflight.prepare_home(layout, needed=2**62)


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    """A file system without a free block stops the start with one sentence."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("may not mount a small file system here")
    try:
        (tmp_path / "ballast").write_bytes(b"\0" * 40960)
        layout = Layout(home=tmp_path, port=free_port(), bucket="models")
        with pytest.raises(preflight.UsageError, match="No space left on device"):
            preflight.prepare_home(layout)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("bucket", ["", "UPPER", "a/b", "..", "-x-", "a" * 64])
def test_a_bad_bucket_name_is_refused(tmp_path: Path, bucket: str) -> None:
    """A bucket's name is a folder's name: nothing else gets through."""
    layout = Layout(home=tmp_path, port=free_port(), bucket=bucket)

    with pytest.raises(preflight.UsageError, match="no bucket name"):
        preflight.check_layout(layout)


def test_a_log_is_bounded(tmp_path: Path) -> None:
    """A log that grew too long is moved aside; the process writes on."""
    child = Child(
        service=Service("echo", "echo", ("true",), None),
        folder=tmp_path,
        log=tmp_path / "echo.log",
    )
    with child.log.open("ab") as writer:
        writer.write(b"x" * (LOG_BYTES + 1))
        writer.flush()
        child.bound_log()
        writer.write(b"after\n")

    assert child.log.read_bytes() == b"after\n"
    assert (tmp_path / "echo.log.1").stat().st_size == LOG_BYTES + 1


def test_a_stack_of_another_process_is_no_running_stack(tmp_path: Path) -> None:
    """A stack.json whose pid now belongs to somebody else is not believed."""
    layout = Layout(home=tmp_path, port=1, bucket="models")
    mine = stack.describe(layout, pids={}, ready=True)
    stack.write(mine)

    assert stack.find(tmp_path) == mine

    text = (tmp_path / stack.NAME).read_text()
    (tmp_path / stack.NAME).write_text(text.replace(mine.started, "12"))

    assert stack.find(tmp_path) is None


def test_free_ports_stay_the_same(tmp_path: Path) -> None:
    """A stack that takes free ports takes those of the last time again."""
    (tmp_path / preflight.PORT_NOTE).write_text("nonsense")
    layout = Layout(home=tmp_path, port=0, bucket="models")
    first = preflight.choose_port(layout)
    again = preflight.choose_port(layout)
    with closing(socket.create_server(("127.0.0.1", first.port + 1))):
        other = preflight.choose_port(layout)

    assert again == first
    assert other.port != first.port


def test_the_stacks_variables_are_settings(tmp_path: Path) -> None:
    """Everything processes are told is understood by the settings' reader."""
    from weightdrop.settings import Backend, load  # noqa: PLC0415  # beside its use

    layout = Layout(home=tmp_path, port=8470, bucket="models")
    settings = load(stack_variables(layout))

    assert settings.backend is Backend.LOCAL
    assert settings.home == tmp_path
    assert settings.buckets == ("models",)
    assert settings.storage_endpoint == "http://127.0.0.1:8471"
    assert settings.vertex_endpoint == "http://127.0.0.1:8472"
    assert settings.base_url == "http://127.0.0.1:8470"
