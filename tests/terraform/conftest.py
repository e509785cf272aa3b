"""Terraform in a copy of terraform/, against Google's schema, without a network."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from terraform.harness import (
    ROOT,
    Made,
    Terraform,
    absent,
    copied,
    environment,
    resources,
)


@pytest.fixture(scope="session")
def program() -> str:
    """The terraform program."""
    found = shutil.which("terraform")
    if found is None:
        absent("There is no terraform on the PATH")
    return found


@pytest.fixture(scope="session")
def google(program: str) -> Iterator[Mapping[str, str]]:
    """The environment in which terraform finds Google's provider."""
    folder = Path(
        os.environ.get("WEIGHTDROP_TF_SCHEMA_SERVER")
        or ROOT.parent / "shared" / "terraform"
    )
    server = folder / "offline_provider.py"
    if not server.is_file():
        absent(
            "There is no server of Google's schema (offline_provider.py) in the folder "
            "that WEIGHTDROP_TF_SCHEMA_SERVER names, nor at ../shared/terraform"
        )
    spec = importlib.util.spec_from_file_location("offline_provider", server)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with ExitStack() as stack:
        providers = stack.enter_context(
            module.OfflineProviders(
                folder / "google_schema.json", folder / "google_checks.json"
            )
        )
        yield environment(providers.env)


@pytest.fixture(scope="session")
def terraform(
    program: str, google: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Terraform:
    """Terraform in an initialised copy, with the schema server behind it."""
    folder = copied(tmp_path_factory.mktemp("terraform"))
    found = Terraform(program, folder, google)
    found.run("init")
    return found


@pytest.fixture(scope="session")
def plans(terraform: Terraform) -> Mapping[str, dict[str, Any]]:
    """The plans on an empty project: `minimal` and `full`."""
    return {name: terraform.plan(name) for name in ("minimal", "full")}


@pytest.fixture(scope="session")
def made(
    terraform: Terraform, plans: Mapping[str, dict[str, Any]]
) -> Mapping[str, Made]:
    """What exists after each plan was applied, each in a state of its own."""
    found = {}
    for name in plans:
        state = f"-state={name}.tfstate"
        terraform.run("apply", state, f"{name}.plan")
        shown = json.loads(terraform.run("show", "-json", f"{name}.tfstate"))
        values = shown["values"]
        found[name] = Made(
            resources=dict(resources(values["root_module"])),
            outputs={key: one["value"] for key, one in values["outputs"].items()},
        )
    return found
