"""`gcloud storage`, as it is installed, against the bucket server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from google.cloud import storage

from local.bucket.harness import Running

GCLOUD = shutil.which("gcloud")
pytestmark = pytest.mark.skipif(
    GCLOUD is None, reason="GCLOUD MISSING: install the Google Cloud CLI"
)
Gcloud = Callable[..., str]


@pytest.fixture
def gcloud(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Gcloud:
    """Runs `gcloud storage …` with nothing but environment variables."""
    variables = {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{server.url}/storage/v1/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CONFIG": str(tmp_path_factory.mktemp("gcloud")),
        "CLOUDSDK_CORE_PROJECT": "local",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
    }

    def run(*words: object, **more: str) -> str:
        assert GCLOUD is not None
        done = subprocess.run(
            [GCLOUD, "storage", *map(str, words)],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | variables | more,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a small file (one request) and a large one (resumable)."""
    made = tmp_path / "model"
    (made / "deep").mkdir(parents=True)
    (made / "config.json").write_text('{"a": 1}')
    (made / "deep" / "w.safetensors").write_bytes(os.urandom(9_000_000))
    return made


def content(folder: Path) -> dict[str, bytes]:
    """Relative names and bytes of a folder's files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.client("gcloud", "`storage cp -r` both ways, `ls`, `cat`, `rm -r`")
def test_there_and_back(
    gcloud: Gcloud, bucket: storage.Bucket, model: Path, tmp_path: Path
) -> None:
    """Cp -r up, ls, cat, cp -r down, rm -r: every byte the same, then nothing."""
    url = f"gs://{bucket.name}"
    gcloud("cp", "-r", model, f"{url}/m")
    listed = gcloud("ls", "-r", f"{url}/**").split()
    shown = gcloud("cat", f"{url}/m/config.json")
    back = tmp_path / "back"
    back.mkdir()
    gcloud("cp", "-r", f"{url}/m", back)

    assert listed == [f"{url}/m/config.json", f"{url}/m/deep/w.safetensors"]
    assert shown == '{"a": 1}'
    assert content(back / "m") == content(model)
    gcloud("rm", "-r", f"{url}/m")
    assert list(bucket.list_blobs()) == []


@pytest.mark.client(
    "gcloud", "`storage rsync`, `mv`, `objects compose`, `objects update`"
)
def test_rsync_and_copies(gcloud: Gcloud, bucket: storage.Bucket, model: Path) -> None:
    """Rsync removes what is gone; cp, mv and compose work inside the bucket."""
    url = f"gs://{bucket.name}"
    gcloud("rsync", "-r", model, f"{url}/m")
    before = {blob.name: blob.generation for blob in bucket.list_blobs()}
    (model / "config.json").unlink()
    gcloud("rsync", "-r", "--delete-unmatched-destination-objects", model, f"{url}/m")
    after = {blob.name: blob.generation for blob in bucket.list_blobs()}
    weights = f"{url}/m/deep/w.safetensors"
    gcloud("cp", weights, f"{url}/copy")
    gcloud("mv", f"{url}/copy", f"{url}/moved")
    gcloud("objects", "compose", weights, f"{url}/moved", f"{url}/both")
    gcloud("objects", "update", f"{url}/both", "--custom-metadata=k=v")
    data = (model / "deep" / "w.safetensors").read_bytes()

    assert after == {"m/deep/w.safetensors": before["m/deep/w.safetensors"]}
    assert bucket.blob("both").download_as_bytes() == data * 2
    assert bucket.get_blob("both").metadata["k"] == "v"
    assert bucket.get_blob("copy") is None


@pytest.mark.client("gcloud", "`storage cp` with parallel composite uploads")
def test_parallel_composite_upload(
    gcloud: Gcloud, server: Running, bucket: storage.Bucket, model: Path
) -> None:
    """Parts below gcloud/tmp/ are composed into an object without MD5, and go."""
    source = model / "deep" / "w.safetensors"
    source.write_bytes(os.urandom(27_000_000))
    gcloud(
        "cp",
        source,
        f"gs://{bucket.name}/big",
        CLOUDSDK_STORAGE_PARALLEL_COMPOSITE_UPLOAD_ENABLED="True",
        CLOUDSDK_STORAGE_PARALLEL_COMPOSITE_UPLOAD_THRESHOLD="1M",
        # gcloud 528 forgets to remove parts of less than 8 MiB.
        CLOUDSDK_STORAGE_PARALLEL_COMPOSITE_UPLOAD_COMPONENT_SIZE="9M",
    )
    blob = bucket.get_blob("big")

    assert blob.md5_hash is None
    assert blob.component_count >= 2
    assert blob.download_as_bytes() == source.read_bytes()
    assert [found.name for found in bucket.list_blobs()] == ["big"]
    # No empty folders of the parts are left for people to wonder about.
    left = [path.name for path in (server.root / bucket.name).iterdir()]
    assert left == ["big"]
