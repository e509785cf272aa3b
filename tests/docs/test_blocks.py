"""What README, tutorial and guides tell the reader to do works, in that order.

The whole local stack runs, with a quick model server in the place of vLLM.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs.blocks import KINDS, Block, blocks
from telemetry.traces import from_file, problems
from weightdrop.cli import own_stack
from weightdrop.core.deployment.naming import deployment_id
from weightdrop.local.supervisor import processes
from weightdrop.local.supervisor.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
README = ROOT / "README.md"
GUIDES = (README, *sorted((DOCS / "guides").glob("*.md")), DOCS / "http.md")
WRITTEN = DOCS / "reference" / "command-line.md"
"""Its blocks are what the commands say: written from the code, and held to it."""
PAGES = sorted({*ROOT.glob("*.md"), *DOCS.rglob("*.md")} - {WRITTEN})
EXPECTED = {
    "README": "You asked: How to tell the time by looking at the sky?",
    "http": '"source": "gs://models/my-model"',
    "events": "weightdrop.deployment.ready.v1",
    "local-development": "config.json last",
    "observe": " s  drop\n",
    "query": "You asked: What is a weight?",
    "rejections": "shard-truncated model-00002-of-00004.safetensors",
    "roll-back": "revision  1 (",
}
"""Something that each page must have printed."""
PATIENCE = 90
"""Seconds for one block; a stack starts in five, on a machine that is free."""

_PORTS = re.compile(r"\b847([0-5])\b")


def pages(kind: str) -> list[Path]:
    """Those after the tutorial that have blocks of this kind."""
    return [page for page in GUIDES if any(it.kind == kind for it in blocks(page))]


def every(kind: str) -> list[Block]:
    """All blocks of a kind."""
    return [block for page in PAGES for block in blocks(page) if block.kind == kind]


@dataclass
class Reader:
    """Somebody who does what the pages say.

    Attributes:
        home: Their home folder.
        desk: The folder they work in.
        stack: The stack they started.
    """

    home: Path
    desk: Path
    stack: Stack

    def follow(self, page: Path) -> str:
        """Do all that a page says; returns what was printed.

        Variables that a block exports are there in the next, as in a terminal.
        """
        printed = ""
        for block in blocks(page):
            text = self._here(block.text)
            if block.kind == "file":
                (self.desk / block.detail).write_text(text)
            elif block.kind == "run":
                printed += self._run(block, text)
        return printed

    def _here(self, text: str) -> str:
        """A text with this stack's ports in the place of the usual ones."""
        return _PORTS.sub(lambda it: str(self.stack.port + int(it[1])), text)

    def _run(self, block: Block, text: str) -> str:
        kept = self.home / "variables"
        kept.touch()
        script = f". {kept}\nset -euo pipefail\n{text}\nexport -p > {kept}\n"
        done = subprocess.run(
            ["timeout", str(PATIENCE), "bash", "-c", script],
            cwd=self.desk,
            env={
                "HOME": str(self.home),
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
                "LANG": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == block.status, (
            f"{block}: status {done.returncode}\n{text}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Has the stack running that the tutorial starts."""
    home, desk = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("desk")
    image = tmp_path_factory.mktemp("image") / "weightdrop_serving"
    image.mkdir()
    (image / "__init__.py").touch()
    shutil.copy(Path(__file__).with_name("answering.py"), image / "__main__.py")
    state = home / ".weightdrop"
    state.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(image.parent))
        patch.setenv("WEIGHTDROP_SETTLE_SECONDS", "0.5")
        patch.setenv("WEIGHTDROP_TELEMETRY", f"file:{state}/telemetry.jsonl")
        process, stack = own_stack.start(state)
    yield Reader(home, desk, stack)
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    processes.end_all(state, grace=0.0, limit=10.0)


@pytest.fixture(scope="module")
def said(reader: Reader) -> str:
    """What the tutorial printed.

    The README's reader sits in a checkout and has a model of their own there.
    """
    (reader.desk / ".venv").symlink_to(Path(sys.executable).parents[1])
    printed = reader.follow(TUTORIAL)
    shutil.copytree(reader.desk / "my-model", reader.desk / "model")
    return printed


def test_the_tutorial_leads_to_an_answer(said: str) -> None:
    """And to a second revision, a deployment that is down, and up again."""
    assert "You asked: How to tell the time by looking at the sky?" in said
    assert "superseded" in said
    assert "retired" in said


@pytest.mark.usefixtures("said")
def test_the_first_drop_is_one_trace_across_the_processes(reader: Reader) -> None:
    """Three functions, a queue and a courier lie between its spans."""
    state = reader.home / ".weightdrop"
    told = from_file(
        state / "telemetry.jsonl", deployment_id(reader.stack.bucket, "my-model")
    )
    first = min((it for it in told if it.name == "drop"), key=lambda it: str(it.start))
    whole = [it for it in told if it.trace == first.trace]

    assert problems(sorted(whole, key=lambda it: str(it.start))) == []
    assert {"on_artifact", "on_request", "on_tick"} <= {it.name for it in whole}


@pytest.mark.parametrize("page", pages("run"), ids=lambda page: page.stem)
@pytest.mark.usefixtures("said")
def test_a_guide_does_what_it_says(reader: Reader, page: Path) -> None:
    """Every block that a reader can run, after the tutorial."""
    printed = reader.follow(page)

    assert EXPECTED[page.stem] in printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_what_becomes_of_it(page: Path) -> None:
    """None is left to rot."""
    unmarked = [str(it) for it in blocks(page) if it.kind not in KINDS]
    fences = page.read_text().count("\n```")

    assert unmarked == []
    assert fences == 2 * len(blocks(page))


@pytest.mark.parametrize("block", [*every("cloud"), *every("shown")], ids=str)
def test_what_is_not_run_has_the_right_form(block: Block) -> None:
    """Shell that a shell takes, Python that compiles, JSON that parses."""
    if block.language == "sh":
        subprocess.run(["bash", "-n", "-c", block.text], check=True)
        assert unknown(block.text) == []
    elif block.language == "python":
        compile(block.text, str(block), "exec")
    elif block.language == "json":
        json.loads(block.text)
    else:
        assert block.kind == "shown"


def unknown(script: str) -> list[str]:
    """Commands, targets of the Makefile and modules in a script that are not ours."""
    makefile = (ROOT / "Makefile").read_text()

    def named(pattern: str) -> list[str]:
        return re.findall(rf"^{pattern}", script, re.MULTILINE)

    return [
        *(set(named(r"weightdrop ([a-z-]+)")) - reference_commands()),
        *(
            target
            for target in named(r"make ([a-z-]+)")
            if not re.search(rf"^{target}:", makefile, re.MULTILINE)
        ),
        *(
            module
            for module in named(r"python -m (weightdrop[\w.]*)")
            if importlib.util.find_spec(module) is None
        ),
    ]


def reference_commands() -> set[str]:
    """The names of all commands."""
    import reference_pages  # noqa: PLC0415 - imports the whole command line

    return set(reference_pages.commands())


@pytest.mark.parametrize("block", every("make"), ids=str)
def test_make_has_the_targets(block: Block) -> None:
    """That other tests and the continuous integration use."""
    assert re.search("^make ", block.text, re.MULTILINE)
    assert unknown(block.text) == []


def test_what_a_script_names_in_vain_is_found() -> None:
    """A command, a target and a module that are gone; what there is passes."""
    names = "weightdrop {}\nmake {}\npython -m weightdrop.{}\n"

    assert unknown(names.format("drop", "demo", "local.bucket")) == []
    assert unknown(names.format("sink", "dem", "local.pail")) == [
        "sink",
        "dem",
        "weightdrop.local.pail",
    ]


def test_the_stack_is_started_as_the_tests_do() -> None:
    """The blocks that no shell runs here are what own_stack runs."""
    started = {block.text.removeprefix(".venv/bin/") for block in every("up")}

    assert started == {"weightdrop up\n"}


def test_the_readme_lists_every_command() -> None:
    """Each has its line, and no line is of a command that is gone."""
    listed = re.findall(r"^\| `([a-z-]+)[ `]", README.read_text(), re.MULTILINE)

    assert sorted(listed) == sorted(reference_commands())


def test_an_unmarked_block_is_found(tmp_path: Path) -> None:
    """The rule sees what it is there for."""
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\n```sh\ntrue\n```\n\n```sh\nfalse\n```\n")

    assert [it.kind for it in blocks(page)] == ["run", ""]
    assert [it.line for it in blocks(page)] == [2, 6]
