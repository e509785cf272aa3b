"""What Vertex AI refuses of models, endpoints and what is deployed on them."""

from __future__ import annotations

from typing import Any

from weightdrop.local.vertex import names
from weightdrop.local.vertex.faults import invalid, precondition
from weightdrop.local.vertex.probes import check_probes
from weightdrop.local.vertex.schema import seconds

JSON = dict[str, Any]
_ALL = 100
_LONGEST_DEPLOYMENT = 7200.0


def check_model(model: JSON) -> None:
    """Raise INVALID_ARGUMENT (or UNIMPLEMENTED) for a model that may not be made."""
    if not model.get("displayName"):
        raise invalid("Model.display_name is required.")
    names.check_display_name(model["displayName"], "Model.display_name")
    names.check_labels(model.get("labels", {}))
    container = model.get("containerSpec")
    if container is None:
        raise invalid("Model.container_spec is required.")
    if not container.get("imageUri"):
        raise invalid("Model.container_spec.image_uri is required.")
    if container.get("predictRoute") and container.get("invokeRoutePrefix"):
        raise invalid("Only one of predict_route or invoke_route_prefix can be set.")
    if container.get("invokeRoutePrefix", "/*") != "/*":
        raise invalid('The only supported invoke_route_prefix is "/*".')
    if seconds(container.get("deploymentTimeout", "0s")) > _LONGEST_DEPLOYMENT:
        raise invalid("The limit for deployment_timeout is 2 hours.")
    check_probes(container)
    for item in container.get("env", ()):
        if not item.get("name") or item["name"].startswith("AIP_"):
            raise invalid(
                f"The variable {item.get('name')!r} cannot be set: a name is needed, "
                "and names that begin with AIP_ are Vertex AI's."
            )


def check_split(split: dict[str, int], known: set[str]) -> None:
    """Raise INVALID_ARGUMENT unless `split` is empty or adds up to 100 over `known`."""
    if not split:
        return
    strangers = sorted(set(split) - known)
    if strangers:
        raise invalid(
            f"The traffic split names deployed models that are not on the endpoint: "
            f"{', '.join(strangers)}."
        )
    if any(not 0 <= part <= _ALL for part in split.values()):
        raise invalid("Each part of a traffic split must be between 0 and 100.")
    total = sum(split.values())
    if total != _ALL:
        raise invalid(f"The traffic split adds up to {total}, it must be 100.")


def check_shape(
    endpoint: JSON, model: JSON, resources: JSON, others: list[JSON]
) -> None:
    """Refuse what Vertex AI refuses of an endpoint and a model together."""
    dedicated = endpoint.get("dedicatedEndpointEnabled", False)
    if model.get("containerSpec", {}).get("invokeRoutePrefix") and not dedicated:
        raise precondition(
            "A model with invoke_route_prefix can only be deployed to a dedicated "
            "endpoint."
        )
    sleepy = [
        other
        for other in others
        if other["deployedModel"]["dedicatedResources"].get("minReplicaCount") == 0
    ]
    if sleepy or (resources["minReplicaCount"] == 0 and others):
        raise precondition("An endpoint that scales to zero holds one model only.")
    if resources["minReplicaCount"] == 0 and not dedicated:
        raise precondition("Scale to zero needs a dedicated endpoint.")
