"""The codes of findings, their page, and the code that makes them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import findings_page
import pytest

from weightdrop import services
from weightdrop.core.artifacts import codes, model_codes
from weightdrop.core.artifacts.code import ALL_CODES, Code

CORE = Path(codes.__file__).parent
SERVICES = Path(services.__file__).parent


def uses() -> set[str]:
    """The codes that some module makes findings of, by constant."""
    found = set()
    for path in [*CORE.glob("*.py"), *SERVICES.glob("*.py")]:
        if path.name in ("codes.py", "model_codes.py", "code.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in ("codes", "model_codes")
            ):
                found.add(node.attr)
    return found


def constants() -> dict[str, Code]:
    """All codes by the name of their constant."""
    return {
        name: value
        for module in (codes, model_codes)
        for name, value in vars(module).items()
        if isinstance(value, Code)
    }


def test_the_page_is_the_table() -> None:
    """docs/findings.md says what the code says; tools/findings_page.py writes it."""
    assert findings_page.page() == findings_page.PAGE.read_text(encoding="utf-8")


def test_every_code_is_on_the_page() -> None:
    """No code goes undocumented, and no documented code is gone."""
    documented = re.findall(
        r"^\| `([a-z0-9-]+)` \|", findings_page.page(), re.MULTILINE
    )

    assert sorted(documented) == sorted(ALL_CODES)


def test_every_code_is_used() -> None:
    """A code that nothing finds would promise a check that does not exist."""
    assert sorted(constants()) == sorted(uses())


@pytest.mark.parametrize("name", sorted(ALL_CODES))
def test_codes_are_stable_words(name: str) -> None:
    """Lower-case words joined by hyphens, with a meaning and a fix in sentences."""
    code = ALL_CODES[name]

    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert code.meaning.endswith(".")
    assert code.fix.endswith(".")


def test_codes_have_one_constant_each() -> None:
    """The table and the constants are the same codes."""
    assert sorted(code.name for code in constants().values()) == sorted(ALL_CODES)
