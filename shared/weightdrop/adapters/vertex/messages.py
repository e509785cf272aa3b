"""Our specs as the bodies of Vertex AI's requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weightdrop.ports import DeploySpec, EndpointSpec, ModelSpec

JSON = dict[str, Any]
PREDICT_ROUTE = "/vertex/predict"
HEALTH_ROUTE = "/vertex/health"
PORT = 8080
"""Routes and port of our serving image; the platform says AIP_HTTP_PORT."""

LONGEST_DEPLOYMENT = 7200
"""Seconds that Vertex AI allows a container to become healthy, at most."""

_SHARED_MEMORY_MB = 16 * 1024
"""What Google's own vLLM deployments ask for; tensor parallel workers talk there."""

_NEW = "0"
"""The name that a traffic split uses for the model being deployed."""


@dataclass(frozen=True, slots=True)
class Safeguards:
    """Who and what may come near a deployment.

    Attributes:
        service_account: Whom containers run as; empty for Vertex AI's own choice,
            an account without rights in our project.
        kms_key: Full name of the key that encrypts models and endpoints; empty
            for Google's.
        private_projects: Projects that may connect over Private Service Connect;
            empty for endpoints with a public name.
        private_network: Full name of the network in which Vertex AI makes an
            address for each private endpoint; empty for none.
    """

    service_account: str = ""
    kms_key: str = ""
    private_projects: tuple[str, ...] = ()
    private_network: str = ""

    def encryption(self) -> JSON:
        """The field that names the key, if there is one."""
        if not self.kms_key:
            return {}
        return {"encryption_spec": {"kms_key_name": self.kms_key}}

    def access(self, project: str) -> JSON:
        """The fields that say how an endpoint is reached.

        Args:
            project: Where an address for a private endpoint is made.
        """
        if not self.private_projects:
            return {"dedicated_endpoint_enabled": True}
        config: JSON = {
            "enable_private_service_connect": True,
            "project_allowlist": list(self.private_projects),
        }
        if self.private_network:
            automation = {"project_id": project, "network": self.private_network}
            config["psc_automation_configs"] = [automation]
        return {"private_service_connect_config": config}


PLAIN = Safeguards()
"""Google's own choices."""


def model(
    spec: ModelSpec, *, deploy_seconds: float, safeguards: Safeguards = PLAIN
) -> JSON:
    """The Model of an UploadModelRequest."""
    return {
        **safeguards.encryption(),
        "display_name": spec.display_name,
        **({"artifact_uri": spec.artifact_uri} if spec.artifact_uri else {}),
        "labels": dict(spec.labels),
        "container_spec": {
            "image_uri": spec.server.image,
            "args": list(spec.server.args),
            "env": [{"name": name, "value": value} for name, value in spec.server.env],
            "ports": [{"container_port": PORT}],
            "predict_route": PREDICT_ROUTE,
            "health_route": HEALTH_ROUTE,
            "deployment_timeout": {
                "seconds": int(min(deploy_seconds, LONGEST_DEPLOYMENT))
            },
            "shared_memory_size_mb": _SHARED_MEMORY_MB,
        },
    }


def endpoint(
    spec: EndpointSpec, *, project: str, safeguards: Safeguards = PLAIN
) -> JSON:
    """The Endpoint of a CreateEndpointRequest."""
    return {
        "display_name": spec.display_name,
        "labels": dict(spec.labels),
        **safeguards.access(project),
        **safeguards.encryption(),
    }


def sleeps(spec: DeploySpec) -> bool:
    """Whether the deployment scales to zero, which only v1beta1 can say."""
    return spec.min_replica_count == 0


def deployed_model(spec: DeploySpec, *, safeguards: Safeguards = PLAIN) -> JSON:
    """The DeployedModel of a DeployModelRequest."""
    machine: JSON = {"machine_type": spec.machine_type}
    if spec.accelerator_type:
        machine["accelerator_type"] = spec.accelerator_type
        machine["accelerator_count"] = spec.accelerator_count
    resources: JSON = {
        "machine_spec": machine,
        "min_replica_count": spec.min_replica_count,
        "max_replica_count": spec.max_replica_count,
        "spot": spec.spot,
    }
    body: JSON = {
        "id": spec.deployed_model_id,
        "model": spec.model,
        "display_name": spec.display_name,
        "dedicated_resources": resources,
    }
    if safeguards.service_account:
        body["service_account"] = safeguards.service_account
    if sleeps(spec):
        # v1beta1 logs only when asked to; v1 unless asked not to.
        body["enable_container_logging"] = True
        resources["scale_to_zero_spec"] = {}
        # How many wake up together; v1beta1 refuses a deployment without it.
        resources["initial_replica_count"] = 1
    return body


def traffic(spec: DeploySpec) -> dict[str, int]:
    """The traffic split of a DeployModelRequest."""
    split = dict(spec.traffic)
    own = split.pop(spec.deployed_model_id, 0)
    parts = {name: part for name, part in split.items() if part}
    return {**parts, _NEW: own} if own else parts


def without(split: dict[str, int], gone: str) -> dict[str, int]:
    """A traffic split without one model, the others in proportion.

    Whoever has the largest part takes what rounding leaves.
    """
    left = {name: part for name, part in split.items() if name != gone and part}
    total = sum(left.values())
    if not total:
        return {}
    scaled = {name: part * 100 // total for name, part in left.items()}
    largest = max(scaled, key=lambda name: (scaled[name], name))
    scaled[largest] += 100 - sum(scaled.values())
    return scaled
