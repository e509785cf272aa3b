"""docs/serving.md's tables of ends say what the code does and what tests hold."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from fakes import ends
from fakes.ends import End
from weightdrop_serving import logs
from weightdrop_serving.failures import Exit

_TESTS = Path(__file__).parent
_ROOT = _TESTS.parents[1]
_PAGE = (_ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
_PACKAGE = _ROOT / "serving" / "weightdrop_serving"


def _functions() -> dict[str, str]:
    """Source of every test of the container, its decorators included, by name."""
    found = {}
    for path in _TESTS.glob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                first = min([node, *node.decorator_list], key=lambda it: it.lineno)
                lines = text.splitlines()[first.lineno - 1 : node.end_lineno]
                found[node.name] = "\n".join(lines)
    return found


def test_the_documentation_has_every_end_as_it_is_tested() -> None:
    """Status, time and line of the log: the tests' own, row for row."""
    table = "\n".join([*ends.TABLE, *(end.row() for end in ends.ENDS.values())])
    assert f"\n\n{table}\n\n" in _PAGE, f"docs/serving.md should have\n{table}"


@pytest.mark.parametrize("name", ends.ENDS)
def test_every_end_is_tested_where_it_says(name: str) -> None:
    """The tests that a row names are there, and hold that row."""
    sources = _functions()
    end: End = ends.ENDS[name]
    assert end.tests
    for test in end.tests:
        assert f"ends.{name}" in sources[test]


def test_every_exit_status_is_documented() -> None:
    """The table of statuses has each of them, and no other."""
    table = _PAGE.partition("| exit status | meaning |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (\d+) \| ", table, re.MULTILINE)
    assert [int(row) for row in rows] == sorted(int(status) for status in Exit)


def test_every_event_of_the_log_is_documented() -> None:
    """By its name, in the documentation and where it is written."""
    section = _PAGE.partition("\n## Log\n")[2].partition("\n## ")[0]
    written = {
        node.args[0].value
        for path in _PACKAGE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "logs.write"
        and isinstance(node.args[0], ast.Constant)
    }
    assert {"starting", "failed"} <= written
    for event in written:
        assert f"`{event}`" in section
        assert f"`{event}`" in (logs.write.__doc__ or "")
