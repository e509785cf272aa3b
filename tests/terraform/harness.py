"""Terraform in a copy of terraform/, and what comes out of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import functions_zip
import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120.0
REQUIRED = "WEIGHTDROP_REQUIRE_TERRAFORM"

# What everybody sets, and what somebody who wants all of it sets.
MINIMAL: dict[str, object] = {"project": "demo-project", "region": "us-central1"}
FULL: dict[str, object] = {
    **MINIMAL,
    "alert_emails": ["ops@example.com"],
    "alerts": {"stuck_seconds": 10800, "replicas": 12},
    "audit_events": True,
    "bucket": {
        "name": "demo-drops",
        "versioning": True,
        "noncurrent_days": 3,
        "delete_after_days": 30,
        "readers": ["group:reads@example.com"],
        "writers": ["group:drops@example.com"],
    },
    "budget": {"billing_account": "01AB23-45CD67-89EF01", "monthly": 500},
    "database": "(default)",
    "deletion_protection": False,
    "functions": {"memory": "2Gi", "max_instances": 3, "min_instances": 1},
    "kms_key": "projects/keys/locations/us-central1/keyRings/r/cryptoKeys/k",
    "labels": {"team": "ml"},
    "private_endpoints": {
        "projects": ["consumer-one", "consumer-two"],
        "network": "projects/demo-project/global/networks/n",
        "vpc_connector": "projects/p/locations/us-central1/connectors/c",
    },
    "serving_image": "us-central1-docker.pkg.dev/p/r/i@sha256:" + "0" * 64,
    "settings": {"strict": True, "settle_seconds": 30},
    "status_invokers": ["group:ml@example.com"],
    "subscriptions": {
        "ready": {
            "types": ["ready", "failed"],
            "push_endpoint": "https://hooks.example.com/weightdrop",
            "push_account": "hooks@demo-project.iam.gserviceaccount.com",
            "attempts": 20,
        },
    },
    "telemetry": "google",
    "weights": "direct",
}


def absent(what: str) -> NoReturn:
    """Skip, or fail where Terraform is required; either way say why."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{what}, and {REQUIRED}=1")
    pytest.skip(f"{what}: terraform/ is not checked (set {REQUIRED}=1 to require it)")


@dataclass(frozen=True, slots=True)
class Terraform:
    """The terraform command in one folder."""

    program: str
    folder: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """Its standard output; fails the test on any other exit status."""
        done = subprocess.run(
            [self.program, *arguments],
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode in codes, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout

    def plan(self, name: str) -> dict[str, Any]:
        """The plan for the variables in NAME.tfvars.json."""
        self.run("plan", f"-var-file={name}.tfvars.json", f"-out={name}.plan")
        found: dict[str, Any] = json.loads(self.run("show", "-json", f"{name}.plan"))
        return found


@dataclass(frozen=True, slots=True)
class Made:
    """What exists after an apply: values by address."""

    resources: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Any]

    def of(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """The resources of one type, by address."""
        return {
            address: values
            for address, values in self.resources.items()
            if f".{kind}." in f".{address}"
        }


def resources(module: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Address and values of every resource in a module and those below it."""
    for one in module.get("resources", ()):
        if one["mode"] == "managed":
            yield one["address"], one["values"]
    for child in module.get("child_modules", ()):
        yield from resources(child)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What terraform is told; nothing of the user's own Terraform or cloud."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TF_", "GOOGLE_", "CLOUDSDK_"))
    }
    quiet = {
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": os.devnull,
        "TF_INPUT": "0",
        "TF_CLI_ARGS": "-no-color",
    }
    return {**kept, **quiet, **extra}


def copied(target: Path) -> Path:
    """A copy of terraform/ below `target` with the functions' zip where it belongs."""
    folder = target / "terraform"
    shutil.copytree(
        ROOT / "terraform", folder, ignore=shutil.ignore_patterns(".terraform*")
    )
    functions_zip.write(target / "build" / "functions.zip")
    (folder / "backend_override.tf").write_text(
        'terraform {\n  backend "local" {}\n}\n'
    )
    for name, variables in (("minimal", MINIMAL), ("full", FULL)):
        (folder / f"{name}.tfvars.json").write_text(json.dumps(variables))
    return folder
