"""Write docs/findings.md from the table of codes: `python tools/findings_page.py`."""

from __future__ import annotations

from pathlib import Path

from weightdrop.core.artifacts import codes, model_codes
from weightdrop.core.artifacts.code import ALL_CODES, Code
from weightdrop.core.artifacts.findings import Severity

PAGE = Path(__file__).resolve().parents[1] / "docs" / "findings.md"
_MODULES = (codes, model_codes)
_HEAD = """\
# What validation finds

`weightdrop check FOLDER` and the functions look at a drop before any hardware is
paid for. They list the folder and read headers, configs and tokenizer files by
range; no tensor is read and nothing is executed. All findings are reported at
once, each with a stable code, a severity, the file and byte offset where there
is one, what was found, and what to do.

| severity | meaning |
| --- | --- |
| error | It cannot be served: the verdict is `rejected`. |
| missing | It may still arrive: the verdict is `incomplete`. |
| warning | It is served, but you should know. |
| notice | A choice that was made, or a file that is ignored. |

A drop is `accepted` if there is neither an error nor anything missing. Findings
of one kind are told up to twenty times; the last says how many more there are.
"""
_TITLES = {
    Severity.ERROR: "Errors",
    Severity.MISSING: "Missing",
    Severity.WARNING: "Warnings",
    Severity.NOTICE: "Notices",
}


def _row(code: Code) -> str:
    return f"| `{code.name}` | {code.meaning} | {code.fix} |"


def page() -> str:
    """The page, as it must be."""
    parts = [_HEAD]
    for severity, title in _TITLES.items():
        rows = sorted(
            _row(code) for code in ALL_CODES.values() if code.severity is severity
        )
        parts.append(
            f"\n## {title}\n\n| code | what it means | what to do |\n"
            "| --- | --- | --- |\n" + "\n".join(rows) + "\n"
        )
    return "".join(parts)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
