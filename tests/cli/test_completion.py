"""The completion in the real shells: what a person sees who presses the key."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.builders import make_deployment

ID = "tiny-12345678"
PATIENCE = 30.0
BIN = Path(sys.executable).parent


def environment(home: Path, url: str) -> dict[str, str]:
    """A person's: our program is on the path, and nothing is configured."""
    return {
        "HOME": str(home),
        "PATH": f"{BIN}{os.pathsep}{os.defpath}",
        "WEIGHTDROP_BASE_URL": url,
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "PS1": "$ ",
    }


def required(shell: str) -> str:
    """The shell's program, or the reason why this is not tested."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed: apt-get install {shell}")
    return found


class Terminal:
    """A shell on a terminal, and what it has shown."""

    def __init__(self, command: list[str], variables: dict[str, str]) -> None:
        self.pid, self._end = pty.fork()
        if not self.pid:
            os.execve(command[0], command, variables)
        self.shown = ""

    def type(self, text: str, *, until: str) -> str:
        """Press keys, and wait until something is shown."""
        os.write(self._end, text.encode())
        start, deadline = len(self.shown), time.monotonic() + PATIENCE
        while not re.search(until, self.shown[start:]):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._end], [], [], left)[0]:
                pytest.fail(f"{until!r} was not shown: {self.shown!r}")
            self.shown += os.read(self._end, 4096).decode(errors="replace")
        return self.shown[start:]

    def close(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._end)


STARTS: dict[str, tuple[list[str], str]] = {
    "bash": (["--norc", "--noprofile", "-i"], "source <(weightdrop completion bash)"),
    "zsh": (
        ["-f", "-i"],
        "autoload -U compinit; compinit -u; source <(weightdrop completion zsh)",
    ),
}


@pytest.fixture(params=sorted(STARTS))
def terminal(
    request: pytest.FixtureRequest, serving: Any, tmp_path: Path
) -> Iterator[Terminal]:
    """A shell that was told how to complete, beside a deployment."""
    serving.app.records.create(make_deployment(ID))
    options, line = STARTS[request.param]
    variables = environment(tmp_path, serving.url)
    made = Terminal([required(request.param), *options], variables)
    made.type(f"{line}; echo told-$((40+2))\n", until="told-42")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("weightdrop und\t", "undeploy "),
        ("weightdrop status --wat\t", "--watch "),
        ("weightdrop ask ti\t", f"{ID} "),
        ("weightdrop undeploy --json ti\t", f"{ID} "),
        ("weightdrop completion fi\t", "fish "),
    ],
)
def test_a_key_completes(terminal: Terminal, typed: str, completed: str) -> None:
    """Commands, options, ids of what is there, and choices."""
    rest = completed[len(typed.rpartition(" ")[2].rstrip("\t")) :]

    terminal.type(typed, until=re.escape(rest.strip()))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("weightdrop und", "undeploy\tTake a deployment down; its files stay."),
        ("weightdrop ask ti", f"{ID}\twaiting"),
        ("weightdrop events --fol", "--follow\tGo on as events come."),
    ],
)
def test_fish_offers_each_with_what_it_is(
    serving: Any, tmp_path: Path, typed: str, offered: str
) -> None:
    """Fish says what it would complete when it is asked."""
    fish = required("fish")
    serving.app.records.create(make_deployment(ID))
    done = subprocess.run(
        [
            fish,
            "-N",
            "-c",
            f"weightdrop completion fish | source; complete -C {typed!r}",
        ],
        env=environment(tmp_path, serving.url),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )

    assert done.stdout.splitlines() == [offered]


def test_nobody_answering_is_no_noise(tmp_path: Path) -> None:
    """Without a stack a key does nothing, and says nothing."""
    done = subprocess.run(
        [BIN / "weightdrop"],
        env=environment(tmp_path, "")
        | {
            "COMP_WORDS": "weightdrop ask t",
            "COMP_CWORD": "2",
            "_WEIGHTDROP_COMPLETE": "bash_complete",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout.strip(), done.stderr, done.returncode) == ("", "", 0)


def test_commands_are_completed_without_loading_them() -> None:
    """Each press of the key starts the program anew."""
    code = (
        "import sys; from weightdrop.cli.main import run; run([]); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "COMP_WORDS": "weightdrop un",
            "COMP_CWORD": "1",
            "_WEIGHTDROP_COMPLETE": "bash_complete",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"rich", "httpx", "google.cloud.storage", "weightdrop.cli.watching"}

    assert done.stdout == "plain,undeploy\n"
    assert set(done.stderr.split()) & heavy == set()
