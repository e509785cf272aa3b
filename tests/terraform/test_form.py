"""terraform/ is well formed: formatted, valid, described, sorted, of one provider."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from terraform.harness import ROOT, Terraform, copied, environment

TERRAFORM = ROOT / "terraform"
FILES = sorted(TERRAFORM.rglob("*.tf"))
PLUGINS = (
    Path(os.environ.get("TF_PLUGIN_CACHE_DIR") or "/nonexistent"),
    Path.home() / ".terraform.d" / "plugins",
    Path("/usr/local/share/terraform/plugins"),
    Path("/usr/share/terraform/plugins"),
)


def declared(kind: str, folder: Path) -> list[str]:
    """Names of the variables or outputs that a folder declares, in order."""
    text = (folder / f"{kind}s.tf").read_text()
    return re.findall(rf'^{kind} "(\w+)"', text, re.MULTILINE)


def blocks(kind: str, text: str) -> dict[str, str]:
    """The top-level blocks of one kind by name."""
    found = re.findall(
        rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text, re.MULTILINE | re.DOTALL
    )
    return dict(found)


def test_every_file_is_formatted(program: str) -> None:
    """`terraform fmt` has nothing to say."""
    done = subprocess.run(
        [program, "fmt", "-check", "-recursive", "-diff", str(TERRAFORM)],
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_it_is_valid_by_googles_schema(terraform: Terraform) -> None:
    """Every argument exists, is of its type and holds what is allowed."""
    assert "Success" in terraform.run("validate")


def test_a_planted_fault_is_not_valid(
    program: str, google: dict[str, str], tmp_path: Path
) -> None:
    """The schema that stands behind `validate` refuses what Google would."""
    folder = copied(tmp_path)
    topics = folder / "topics.tf"
    topics.write_text(topics.read_text().replace("retry_policy {", "retry_rules {"))
    planted = Terraform(program, folder, google)
    planted.run("init")

    assert "retry_rules" in planted.run("validate", "-json", codes=(1,))


def test_its_own_tests_pass(terraform: Terraform) -> None:
    """`terraform test`, with a mocked provider: module logic and validation."""
    said = terraform.run("test")

    assert re.search(r"Success! \d\d+ passed, 0 failed", said), said


def test_the_real_provider_agrees_where_it_is_installed(
    program: str, tmp_path: Path
) -> None:
    """Google's own provider validates and mocks the same files."""
    plugins = next(
        (one for one in PLUGINS if any(one.glob("*/hashicorp/google"))), None
    )
    if plugins is None:
        pytest.skip(
            "Google's provider is not installed (TF_PLUGIN_CACHE_DIR names no folder "
            "that has it): only its schema was asked"
        )
    real = Terraform(program, copied(tmp_path), environment({}))
    real.run("init", "-backend=false", f"-plugin-dir={plugins}")
    real.run("validate")

    assert " 0 failed" in real.run("test")


@pytest.mark.parametrize("folder", ["", "modules/function"])
@pytest.mark.parametrize("kind", ["variable", "output"])
def test_variables_and_outputs_are_sorted_and_described(folder: str, kind: str) -> None:
    """Whoever looks for one finds it, and what it is for."""
    place = TERRAFORM / folder
    names = declared(kind, place)
    bodies = blocks(kind, (place / f"{kind}s.tf").read_text())

    assert names
    assert sorted(names) == names
    assert [name for name in names if "  description = " not in bodies[name]] == []


def test_two_variables_are_required() -> None:
    """A project and a region are all that an apply needs."""
    bodies = blocks("variable", (TERRAFORM / "variables.tf").read_text())
    required = [
        name for name, body in bodies.items() if "\n  default " not in f"\n{body}"
    ]

    assert required == ["project", "region"]


def test_every_variable_is_typed() -> None:
    """No variable takes whatever it is given."""
    for path in FILES:
        for name, body in blocks("variable", path.read_text()).items():
            assert re.search(r"^  type +=", body, re.MULTILINE), (path, name)


def test_google_is_the_only_provider() -> None:
    """No other provider is named, and no resource of another used."""
    text = "\n".join(path.read_text() for path in FILES)
    kinds = re.findall(r'^(?:resource|data) "(\w+?)_', text, re.MULTILINE)

    assert {"google"} == set(kinds)
    assert {"hashicorp/google"} == set(re.findall(r'source += "(\w+/[\w-]+)"', text))
    assert {">= 7.0, < 9.0"} == set(re.findall(r' version += "([^"]+)"', text))


def test_no_lock_file_is_kept() -> None:
    """A lock file would tie the repository to one registry."""
    kept = subprocess.run(
        ["git", "ls-files", "*.terraform.lock.hcl", "*.tfstate*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout

    assert kept == ""
    assert ".terraform.lock.hcl" in (ROOT / ".gitignore").read_text().splitlines()
