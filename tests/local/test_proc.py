"""What /proc tells: of ourselves, of strange names, of nobody."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import weightdrop.local
from weightdrop.local import proc

RENAMED = """
import pathlib, sys
pathlib.Path("/proc/self/comm").write_text(") Z 1 (x")
print(flush=True)
sys.stdin.read()
"""


def test_a_process_may_have_any_name() -> None:
    """Parent, session and state are found behind brackets and spaces."""
    with subprocess.Popen(
        [sys.executable, "-c", RENAMED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        fields = proc.stat(process.pid)

        assert int(fields[proc.PARENT]) == os.getpid()
        assert int(fields[proc.SESSION]) == process.pid
        assert fields[proc.STATE] in "SRD"
        assert int(fields[proc.STARTED]) > 0
        assert process.pid in set(proc.pids())

        process.stdin.close()
    assert proc.stat(process.pid) == []


def test_without_proc_there_is_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another kernel nothing is found, and nothing breaks."""
    monkeypatch.setattr(proc, "PROC", tmp_path / "proc")

    assert list(proc.pids()) == []
    assert proc.stat(os.getpid()) == []


def test_it_is_read_in_one_place() -> None:
    """Nobody else of the local stack takes the kernel's words apart."""
    found = [
        path.name
        for path in Path(weightdrop.local.__path__[0]).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in {"/proc", "stat"}
    ]

    assert set(found) == {"proc.py"}
