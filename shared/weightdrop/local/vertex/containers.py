"""From a model's containerSpec to the process that runs it here."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightdrop.local.vertex.processes import Command

JSON = dict[str, Any]
ENTRY_POINT = (sys.executable, "-m", "weightdrop_serving")
"""What runs when the containerSpec has no command: our image's entry point."""

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


@dataclass(frozen=True, slots=True)
class Routes:
    """Where a container is asked.

    Attributes:
        predict: Path of predictions.
        health: Path of health checks.
        invoke: Whether any path may be invoked, and nothing else.
    """

    predict: str
    health: str
    invoke: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """One deployed model: all that is needed to start its servers.

    Attributes:
        location: Region of the endpoint.
        endpoint_id: Where it is deployed.
        deployed_model: The DeployedModel.
        model: The Model of the deployed version.
        storage_uri: gs:// folder with the managed copy, or empty.
    """

    location: str
    endpoint_id: str
    deployed_model: JSON
    model: JSON
    storage_uri: str

    @property
    def id(self) -> str:
        """The deployed model's id."""
        return str(self.deployed_model["id"])

    @property
    def key(self) -> str:
        """What names it among all deployed models."""
        return f"{self.location}/{self.endpoint_id}/{self.id}"

    @property
    def container(self) -> JSON:
        """The containerSpec."""
        spec: JSON = self.model.get("containerSpec", {})
        return spec

    @property
    def resources(self) -> JSON:
        """The DedicatedResources."""
        found: JSON = self.deployed_model.get("dedicatedResources", {})
        return found

    @property
    def routes(self) -> Routes:
        """Where its container is asked."""
        base = f"/v1/endpoints/{self.endpoint_id}/deployedModels/{self.id}"
        return Routes(
            predict=self.container.get("predictRoute", f"{base}:predict"),
            health=self.container.get("healthRoute", base),
            invoke=bool(self.container.get("invokeRoutePrefix")),
        )


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by its value, `$$` by `$`; unknown names stay."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else variables.get(name, match[0])

    return _REFERENCE.sub(value, text)


def aip_variables(unit: Unit, *, port: int, project_number: str) -> dict[str, str]:
    """The AIP_ variables that Vertex AI documents for every container."""
    machine = unit.resources.get("machineSpec", {})
    return {
        "AIP_ACCELERATOR_TYPE": machine.get("acceleratorType", ""),
        "AIP_DEPLOYED_MODEL_ID": unit.id,
        "AIP_ENDPOINT_ID": unit.endpoint_id,
        "AIP_FRAMEWORK": "CUSTOM_CONTAINER",
        "AIP_HEALTH_ROUTE": unit.routes.health,
        "AIP_HTTP_PORT": str(port),
        "AIP_MACHINE_TYPE": machine.get("machineType", ""),
        "AIP_MODE": "PREDICTION",
        "AIP_MODE_VERSION": "1.0.0",
        "AIP_MODEL_NAME": unit.endpoint_id,
        "AIP_PREDICT_ROUTE": unit.routes.predict,
        "AIP_PROJECT_NUMBER": project_number,
        "AIP_STORAGE_URI": unit.storage_uri,
        "AIP_VERSION_NAME": unit.id,
    }


def command(
    unit: Unit, *, port: int, project_number: str, extra: Mapping[str, str], cwd: Path
) -> Command:
    """The process of one replica.

    Args:
        unit: What is deployed.
        port: Where it must listen on 127.0.0.1.
        project_number: For AIP_PROJECT_NUMBER.
        extra: Variables of the local stack.
        cwd: Working directory.
    """
    aip = aip_variables(unit, port=port, project_number=project_number)
    variables = dict(aip)
    for item in unit.container.get("env", ()):
        variables[item["name"]] = expand(item.get("value", ""), variables)
    entry = unit.container.get("command") or ENTRY_POINT
    words = [*entry, *unit.container.get("args", ())]
    return Command(
        argv=[expand(word, variables) for word in words],
        env={**variables, **aip, **extra},
        cwd=cwd,
    )
