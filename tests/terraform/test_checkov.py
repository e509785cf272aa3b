"""checkov has nothing to say against terraform/ that is not answered there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from terraform.harness import ROOT

REQUIRED = "WEIGHTDROP_REQUIRE_CHECKOV"
PROGRAM = ROOT / ".venv-checkov" / "bin" / "checkov"
SECONDS = 240


@pytest.fixture
def checkov() -> Path:
    """Checkov in an environment of its own, made where it is required."""
    if os.environ.get(REQUIRED) == "1":
        made = subprocess.run(
            ["make", str(PROGRAM.parents[1].relative_to(ROOT) / ".installed")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert made.returncode == 0, made.stderr
    if not PROGRAM.exists():
        pytest.skip(f"checkov is not there: run `make checkov`, or set {REQUIRED}=1")
    return PROGRAM


@pytest.mark.timeout(300)
def test_no_check_fails_without_a_word_beside_it(checkov: Path) -> None:
    """Nothing failed; what is skipped says why; no skip is left over."""
    done = subprocess.run(
        [
            str(checkov),
            *("--directory", "terraform", "--framework", "terraform"),
            *("--compact", "--skip-download", "--output", "json"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    report = json.loads(done.stdout)
    results = report["results"]
    failed = [(it["check_id"], it["resource"]) for it in results["failed_checks"]]
    skipped = results["skipped_checks"]
    comments = {
        (name, reason.strip())
        for path in (ROOT / "terraform").rglob("*.tf")
        for name, reason in re.findall(r"checkov:skip=(\w+):(.*)", path.read_text())
    }

    assert failed == []
    assert report["summary"]["passed"] > 50
    assert report["summary"]["parsing_errors"] == 0
    assert all(len(reason) > 20 for _, reason in comments)
    assert comments == {
        (it["check_id"], it["check_result"]["suppress_comment"].strip())
        for it in skipped
    }
