"""Clients beside Google's own library and gcloud: run:ai's streamer, and gsutil."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from google.cloud import storage
from safetensors.torch import save_file

from local.bucket.harness import Running
from local.relay import certificate, relay
from local.separate import separate_python

GSUTIL = shutil.which("gsutil")
SECONDS = 120

STREAM = """
import sys
sys.path.append(TORCH)  # PyTorch alone comes from there
import hashlib
from runai_model_streamer import SafetensorsStreamer, list_safetensors, pull_files

files = list_safetensors(FOLDER)
pull_files(FOLDER, "pulled", allow_pattern=["*.json"])
with SafetensorsStreamer() as streamer:
    streamer.stream_files(files)
    for name, tensor in streamer.get_tensors():
        data = hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
        print(name, data)
"""


def _run(command: list[str], *, cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.client(
    "run:ai's model streamer",
    "`list_safetensors`, `pull_files`, `SafetensorsStreamer.stream_files`",
)
def test_runai_streams_a_model(
    server: Running, bucket: storage.Bucket, tmp_path: Path
) -> None:
    """Its listing, its download of small files and its parallel ranges are served."""
    python = separate_python()
    made = {f"t{n}": torch.rand(1024, 2048 * (n + 1)) for n in range(3)}
    save_file(made, tmp_path / "model.safetensors")
    bucket.blob("m/model.safetensors").upload_from_filename(
        tmp_path / "model.safetensors"
    )
    bucket.blob("m/config.json").upload_from_string(b"{}")
    packages = sysconfig.get_paths()["purelib"]
    names = f"FOLDER, TORCH = {f'gs://{bucket.name}/m'!r}, {packages!r}\n"

    told = _run(
        [str(python), "-c", names + STREAM],
        cwd=tmp_path,
        env={
            "STORAGE_EMULATOR_HOST": server.url,
            "CLOUD_STORAGE_EMULATOR_ENDPOINT": server.url,
            "RUNAI_STREAMER_GCS_USE_ANONYMOUS_CREDENTIALS": "true",
            "GOOGLE_CLOUD_PROJECT": "local",
        },
    )

    read = dict(line.split() for line in told.splitlines() if line.startswith("t"))
    assert read == {
        name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        for name, tensor in made.items()
    }
    assert (tmp_path / "pulled" / "config.json").read_bytes() == b"{}"


@pytest.fixture
def gsutil(
    server: Running, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., str]]:
    """Runs gsutil with its own JSON code, which wants TLS."""
    if GSUTIL is None:
        pytest.skip("GSUTIL MISSING: install the Google Cloud CLI")
    program = GSUTIL
    home = tmp_path_factory.mktemp("gsutil")
    secret = certificate(home)
    boto = home / "boto"
    with relay(int(server.url.rpartition(":")[2]), secret=secret) as port:
        boto.write_text(
            f"[Credentials]\ngs_json_host = localhost\ngs_json_port = {port}\n"
            f"[Boto]\nnum_retries = 1\n[GSUtil]\nstate_dir = {home}\n"
            "default_project_id = local\nuse_gcloud_storage = False\n"
        )
        env = {
            "BOTO_CONFIG": str(boto),
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(secret[0]),
            "CLOUDSDK_CORE_PASS_CREDENTIALS_TO_GSUTIL": "false",
            "CLOUDSDK_CONFIG": str(home),
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        }

        def run(*words: object) -> str:
            return _run([program, *map(str, words)], cwd=home, env=env)

        yield run


@pytest.mark.client("gsutil", "`cp -r` both ways, `ls`, `rm -r`")
def test_gsutil(
    gsutil: Callable[..., str], bucket: storage.Bucket, tmp_path: Path
) -> None:
    """Cp -r there and back, ls and rm -r."""
    model = tmp_path / "model"
    model.mkdir()
    weights = os.urandom(9_000_000)
    (model / "config.json").write_text("{}")
    (model / "w.safetensors").write_bytes(weights)
    url = f"gs://{bucket.name}"

    gsutil("cp", "-r", model, url)
    listed = gsutil("ls", f"{url}/model").split()
    back = tmp_path / "back"
    back.mkdir()
    gsutil("cp", "-r", f"{url}/model", back)
    gsutil("rm", "-r", f"{url}/model")

    assert listed == [f"{url}/model/config.json", f"{url}/model/w.safetensors"]
    assert (back / "model" / "w.safetensors").read_bytes() == weights
    assert list(bucket.list_blobs()) == []
