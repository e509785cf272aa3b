"""Machine types, accelerators, and the pretended budget of them."""

from __future__ import annotations

from typing import Any

from weightdrop.local.vertex.faults import ApiError, invalid
from weightdrop.local.vertex.store import Store

JSON = dict[str, Any]
_QUOTA_NAMES = {
    "NVIDIA_TESLA_V100": "V100GPUs",
    "NVIDIA_TESLA_P100": "P100GPUs",
    "NVIDIA_TESLA_T4": "T4GPUs",
    "NVIDIA_L4": "L4GPUs",
    "NVIDIA_TESLA_A100": "A100GPUs",
    "NVIDIA_A100_80GB": "A10080GBGPUs",
    "NVIDIA_H100_80GB": "H100GPUs",
    "NVIDIA_H100_MEGA_80GB": "H100MEGAGPUs",
    "NVIDIA_H200_141GB": "H200GPUs",
    "NVIDIA_B200": "B200GPUs",
    "NVIDIA_GB200": "GB200GPUs",
    "NVIDIA_RTX_PRO_6000": "RTXPRO6000GPUs",
}
"""Accelerator to the part of its quota's name (Cloud Quotas API)."""


def quota_name(accelerator: str) -> str:
    """The serving quota of an accelerator, as error messages name it."""
    part = _QUOTA_NAMES.get(accelerator, "CPUs")
    return f"CustomModelServing{part}PerProjectPerRegion"


def check_resources(deployed_model: JSON, *, location: str) -> JSON:
    """The dedicated resources of a deployment, complete and checked.

    Raises:
        ApiError: INVALID_ARGUMENT when Vertex AI would refuse them.
    """
    resources = dict(deployed_model.get("dedicatedResources") or {})
    if not resources:
        raise invalid(
            "DeployedModel.dedicated_resources is required: this model's container "
            "supports DEDICATED_RESOURCES only."
        )
    machine = resources.get("machineSpec", {})
    if not machine.get("machineType"):
        raise invalid("DedicatedResources.machine_spec.machine_type is required.")
    low = resources.setdefault("minReplicaCount", 1)
    high = resources.setdefault("maxReplicaCount", max(low, 1))
    required = resources.get("requiredReplicaCount", 0)
    if low < 0 or high < max(low, 1) or not 0 <= required <= high:
        raise invalid(
            f"min_replica_count {low}, max_replica_count {high} and "
            f"required_replica_count {required} do not fit together."
        )
    return resources


def replicas_wanted(resources: JSON) -> int:
    """How many replicas must answer before a deployment has succeeded."""
    low = int(resources["minReplicaCount"])
    return int(resources.get("requiredReplicaCount") or 0) or max(low, 1)


class Budget:
    """The accelerators that the pretended project may use.

    Args:
        store: Where deployments are kept.
        gpus: How many accelerators there are.
    """

    def __init__(self, store: Store, *, gpus: int) -> None:
        self._store = store
        self._gpus = gpus

    @property
    def used(self) -> int:
        """Accelerators that deployments hold now."""
        return sum(
            _accelerators(record["deployedModel"]["dedicatedResources"])
            for _, record in self._store.scan("deployment")
        )

    def claim(self, resources: JSON, *, instead_of: str = "") -> None:
        """Raise RESOURCE_EXHAUSTED when a deployment's accelerators are too many.

        Args:
            resources: What is asked for.
            instead_of: Key of the deployment that these resources replace.
        """
        kept = 0
        record = self._store.get("deployment", instead_of) if instead_of else None
        if record is not None:
            kept = _accelerators(record["deployedModel"]["dedicatedResources"])
        wanted = _accelerators(resources)
        used = self.used - kept
        if wanted and used + wanted > self._gpus:
            accelerator = resources["machineSpec"].get("acceleratorType", "")
            raise ApiError(
                "RESOURCE_EXHAUSTED",
                f"The following quotas are exceeded: {quota_name(accelerator)} "
                f"({wanted} wanted, {used} of {self._gpus} in use).",
            )


def _accelerators(resources: JSON) -> int:
    machine = resources.get("machineSpec", {})
    replicas = max(int(resources.get("minReplicaCount", 1)), 1)
    return int(machine.get("acceleratorCount", 0)) * replicas
