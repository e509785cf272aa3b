"""checkov has nothing to say against terraform/ that is not answered there."""

from __future__ import annotations

import json
import os
import re
import shutil
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


def bare(target: Path) -> set[tuple[str, str]]:
    """Copy terraform/ without its skips; gives check and file of each skip."""
    found = set()
    shutil.copytree(
        ROOT / "terraform", target, ignore=shutil.ignore_patterns(".terraform*")
    )
    for path in target.rglob("*.tf"):
        text = path.read_text()
        for check, reason in re.findall(r"checkov:skip=(\w+):(.*)", text):
            assert len(reason) > 20, f"{path}: say why {check} is skipped"
            found.add((check, path.relative_to(target).as_posix()))
        path.write_text(re.sub(r".*checkov:skip=.*\n", "", text))
    return found


@pytest.mark.timeout(300)
def test_what_fails_is_justified_beside_it(checkov: Path, tmp_path: Path) -> None:
    """Every failed check has a reason where it fails, and no reason is left over."""
    folder = tmp_path / "terraform"
    skipped = bare(folder)
    done = subprocess.run(
        [
            str(checkov),
            *("--directory", str(folder), "--framework", "terraform"),
            *("--compact", "--skip-download", "--output", "json"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    report = json.loads(done.stdout)
    failed = {
        (one["check_id"], one["file_path"].lstrip("/"))
        for one in report["results"]["failed_checks"]
    }

    assert report["summary"]["passed"] > 50
    assert report["summary"]["parsing_errors"] == 0
    assert skipped == failed
