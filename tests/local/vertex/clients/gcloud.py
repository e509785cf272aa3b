"""The gcloud command line with every host it may call pointed at a stand-in.

WEIGHTDROP_GCLOUD names another gcloud than the one on the path, say a newer one.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from local.vertex.clients.running import PATIENCE, REGION

JSON = dict[str, Any]
PROGRAM = os.environ.get("WEIGHTDROP_GCLOUD", "gcloud")


class Gcloud:
    """gcloud with every host it may call pointed at the stand-in."""

    def __init__(self, url: str, home: Path) -> None:
        self._home = home
        base = f"{url}/"
        self._env = {
            **os.environ,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": base,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDQUOTAS": base,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING": base,
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_PROJECT": "local",
            "CLOUDSDK_CONFIG": str(home / "config"),
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        }

    def text(self, *words: str) -> str:
        """What a command prints; it must end well."""
        done = subprocess.run(
            [PROGRAM, "ai", *words],
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"{words}: {done.stderr[-3000:]}"
        return done.stdout

    def __call__(self, *words: str) -> Any:
        """What a command in a region answers, read from JSON."""
        out = self.text(*words, f"--region={REGION}", "--format=json")
        return json.loads(out) if out.strip() else None

    def file(self, name: str, body: JSON) -> str:
        """A file with a request's body."""
        path = self._home / name
        path.write_text(json.dumps(body))
        return str(path)

    @property
    def version(self) -> tuple[int, ...]:
        """Of the Google Cloud SDK."""
        done = subprocess.run(
            [PROGRAM, "version", "--format=value('Google Cloud SDK')"],
            env=self._env,
            capture_output=True,
            text=True,
            check=True,
        )
        return tuple(int(part) for part in done.stdout.strip().split("."))
