"""Starting and stopping: what is said and with which exit status."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from local.bucket.harness import SECONDS, command, running, start


def refused(home: Path, *more: str) -> str:
    """What a server says that does not start; its exit status must be 2."""
    done = subprocess.run(
        command(home, *more),
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    return done.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    """One sentence names the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, "--port", str(port))

    assert f"127.0.0.1:{port}" in said
    assert "--port" in said
    assert said.count("\n") == 1


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """One sentence names the folder."""
    (tmp_path / "buckets").write_text("a file where the folder should be")
    said = refused(tmp_path)

    assert str(tmp_path / "buckets") in said
    assert said.count("\n") == 1


def test_two_servers_on_one_state(tmp_path: Path) -> None:
    """The second one refuses: both would write the same files."""
    with running(tmp_path):
        assert "Another bucket server" in refused(tmp_path, "--port", "0")


def test_a_state_file_that_is_none(tmp_path: Path) -> None:
    """A file that is no database is named, not overwritten."""
    (tmp_path / "bucket.db").write_text("no database" * 100)
    said = refused(tmp_path, "--port", "0")

    assert "bucket.db" in said
    assert (tmp_path / "bucket.db").read_text().startswith("no database")


def test_a_bucket_name_that_is_none(tmp_path: Path) -> None:
    """A wrong --watch is refused at start."""
    assert "../up" in refused(tmp_path, "--port", "0", "--watch", "../up")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_asked(tmp_path: Path, number: signal.Signals) -> None:
    """Status 0, within seconds, with a client still connected."""
    server = start(tmp_path)
    host = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with socket.create_connection(host) as idle:
        idle.sendall(b"GET /storage/v1/b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert idle.recv(12) == b"HTTP/1.1 200"
        os.kill(server.process.pid, number)
        assert server.process.wait(timeout=SECONDS) == 0
    assert server.process.stdout is not None
    server.process.stdout.close()


def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    """Its address is 127.0.0.1."""
    with running(tmp_path) as server:
        assert server.url.startswith("http://127.0.0.1:")
