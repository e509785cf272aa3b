"""A bucket server beside the stand-in, and folders in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx

from local.vertex.running import free_port, until

BUCKET = "models"


class Buckets:
    """A running bucket server with one bucket."""

    def __init__(self, home: Path) -> None:
        self.root = home / "buckets"
        (self.root / BUCKET).mkdir(parents=True)
        self.url = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "weightdrop.local.bucket"]
        command += ["--port", self.url.rpartition(":")[2], "--root", str(self.root)]
        command += ["--state", str(home / "bucket.db")]
        self.process = subprocess.Popen(command)
        until(self._answers)

    def _answers(self) -> bool:
        try:
            answer = httpx.get(f"{self.url}/storage/v1/b/{BUCKET}")
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    def put(self, name: str, content: bytes = b"{}", *, bucket: str = BUCKET) -> None:
        """Upload one object."""
        place = f"{self.url}/upload/storage/v1/b/{bucket}/o"
        query = {"uploadType": "media", "name": name}
        httpx.post(place, params=query, content=content).raise_for_status()

    def put_folder(self, folder: Path, prefix: str) -> str:
        """Upload a folder; gives its gs:// URI."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = f"{prefix}/{path.relative_to(folder)}"
                self.put(name, path.read_bytes())
        return f"gs://{BUCKET}/{prefix}"

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Names of the objects below a prefix."""
        answer = httpx.get(
            f"{self.url}/storage/v1/b/{bucket}/o", params={"prefix": prefix}
        )
        return [item["name"] for item in answer.json().get("items", ())]

    def close(self) -> None:
        """End the server."""
        self.process.terminate()
        self.process.wait()
