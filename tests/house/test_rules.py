"""The house rules that a machine can hold."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "shared" / "weightdrop"
MAX_LINES = 350


def modules(*folders: Path) -> list[Path]:
    """Every module below `folders`."""
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def imports(tree: ast.Module) -> Iterator[str]:
    """The dotted names that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def foreign_imports_of_core(source: str) -> list[str]:
    """What a core module imports beside the standard library and core."""
    return [
        name
        for name in imports(ast.parse(source))
        if name.split(".")[0] not in sys.stdlib_module_names
        and not name.startswith("weightdrop.core")
    ]


IMPURE = frozenset({"os", "time", "random", "secrets", "socket", "subprocess", "uuid"})


def impure_imports_of_core(source: str) -> list[str]:
    """Standard library modules that would let core touch the world."""
    return [n for n in imports(ast.parse(source)) if n.split(".")[0] in IMPURE]


def environment_reads(source: str) -> list[int]:
    """Lines that read the process's environment."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv", "environb"}
    ]


def google_imports(source: str) -> list[str]:
    """Google's modules that are imported."""
    return [
        name for name in imports(ast.parse(source)) if name.split(".")[0] == "google"
    ]


def kinds_of_events(source: str) -> list[str]:
    """What is written of Google's names for kinds of events."""
    return [
        str(node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and re.fullmatch(r"google\.cloud\.\S+\.v1\.\w+", str(node.value))
    ]


def test_core_imports_only_itself_and_the_standard_library() -> None:
    """The pure core knows no library and no other layer."""
    found = {
        str(path.relative_to(ROOT)): names
        for path in modules(LIBRARY / "core")
        if (names := foreign_imports_of_core(path.read_text()))
    }

    assert found == {}


def test_core_has_no_way_to_touch_the_world() -> None:
    """No clock, no randomness, no environment, no processes in core."""
    found = {
        str(path.relative_to(ROOT)): names
        for path in modules(LIBRARY / "core")
        if (names := impure_imports_of_core(path.read_text()))
    }

    assert found == {}


def test_only_adapters_and_bootstrap_know_google() -> None:
    """Vendor types end in the adapters; stand-ins speak the protocol alone."""
    allowed = {LIBRARY / "bootstrap.py", *modules(LIBRARY / "adapters")}
    found = {
        str(path.relative_to(ROOT)): names
        for path in modules(LIBRARY, ROOT / "functions")
        if path not in allowed and (names := google_imports(path.read_text()))
    }

    assert found == {}


def test_only_settings_reads_the_environment() -> None:
    """Every WEIGHTDROP_ variable is read in one place of the library."""
    found = {
        str(path.relative_to(ROOT)): lines
        for path in modules(LIBRARY, ROOT / "functions")
        if path.name != "settings.py" and (lines := environment_reads(path.read_text()))
    }

    assert found == {}


def test_kinds_of_events_are_named_in_one_place() -> None:
    """Who posts an event and who takes it mean the same."""
    found = [
        path.name
        for path in modules(LIBRARY, ROOT / "functions")
        if kinds_of_events(path.read_text())
    ]

    assert found == ["triggers.py"]


def test_modules_stay_small() -> None:
    """A module that outgrows its room is split."""
    folders = (LIBRARY, ROOT / "functions", ROOT / "serving")
    found = {
        str(path.relative_to(ROOT)): lines
        for path in modules(*folders)
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }

    assert found == {}


def test_every_test_says_what_it_holds() -> None:
    """A test without a sentence is a riddle for whoever breaks it."""
    found = [
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in modules(ROOT / "tests")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert found == []


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        (foreign_imports_of_core, "import msgspec"),
        (foreign_imports_of_core, "from weightdrop.services import admit"),
        (impure_imports_of_core, "import os"),
        (impure_imports_of_core, "from time import sleep"),
        (google_imports, "def f():\n    from google.cloud import storage"),
        (environment_reads, "import os\nx = os.environ['A']"),
        (environment_reads, "import os\nx = os.getenv('A')"),
        (kinds_of_events, "X = 'google.cloud.storage.object.v1.finalized'"),
    ],
)
def test_the_rules_find_planted_faults(check: object, fault: str) -> None:
    """Each rule sees the fault it is there for."""
    assert callable(check)
    assert check(fault)
