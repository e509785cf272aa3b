"""Machine types, accelerators, and the pretended budget of them."""

from __future__ import annotations

import re
from typing import Any

from weightdrop.core.planning.tables import packaged_tables
from weightdrop.local.vertex.faults import ApiError, invalid
from weightdrop.local.vertex.scaling import check_metrics
from weightdrop.local.vertex.store import Store

JSON = dict[str, Any]
_QUOTA_NAMES = {
    "NVIDIA_TESLA_P4": "P4GPUs",
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

_CPU_MACHINE = re.compile(
    r"^(n1|n2|n2d|e2|c2|c2d|c3|c4|m1)-(standard|highmem|highcpu|megamem|ultramem)-"
    r"\d{1,3}(-lssd)?$"
)
_TPU_MACHINE = re.compile(
    r"^(ct5lp-hightpu-[148]t|ct6e-standard-[148]t|tpu7x-standard-4t)$"
)
_N1_COUNTS = {
    "NVIDIA_TESLA_T4": (1, 2, 4),
    "NVIDIA_TESLA_V100": (1, 2, 4, 8),
    "NVIDIA_TESLA_P100": (1, 2, 4),
    "NVIDIA_TESLA_P4": (1, 2, 4),
}
"""Accelerators that an N1 machine takes, and how many of them."""


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
    check_machine(resources.get("machineSpec", {}), location=location)
    check_metrics(resources.get("autoscalingMetricSpecs", ()))
    # A client of the protos cannot write the 0: it is how a field is left out.
    sleeps = "scaleToZeroSpec" in resources
    low = resources.setdefault("minReplicaCount", 0 if sleeps else 1)
    high = resources.setdefault("maxReplicaCount", max(low, 1))
    required = resources.get("requiredReplicaCount", 0)
    if low < 0 or high < max(low, 1) or not 0 <= required <= high:
        raise invalid(
            f"min_replica_count {low}, max_replica_count {high} and "
            f"required_replica_count {required} do not fit together."
        )
    return resources


def check_machine(spec: JSON, *, location: str) -> None:
    """Raise INVALID_ARGUMENT for a machine that Vertex AI does not serve on.

    A GPU machine type has one accelerator; fewer than it holds are accepted,
    several replicas share the machine then.
    """
    name = spec.get("machineType", "")
    accelerator = spec.get("acceleratorType", "")
    count = int(spec.get("acceleratorCount", 0))
    if not name:
        raise invalid("DedicatedResources.machine_spec.machine_type is required.")
    if bool(count) != bool(accelerator):
        raise invalid(
            "MachineSpec.accelerator_type and accelerator_count are set together."
        )
    tables = packaged_tables()
    machine = tables.machines.get(name)
    if machine is not None:
        fits = accelerator == machine.accelerator_type
        fits = fits and 0 < count <= machine.accelerator_count
    elif _CPU_MACHINE.match(name):
        n1 = name.startswith("n1-") and count in _N1_COUNTS.get(accelerator, ())
        fits = not accelerator or n1
    elif _TPU_MACHINE.match(name):
        fits = not accelerator
    else:
        raise invalid(f'Machine type "{name}" is not supported.')
    if not fits:
        raise invalid(
            f'Machine type "{name}" does not take {count} accelerator(s) of type '
            f'"{accelerator or "none"}".'
        )
    offered = tables.regions.get(location, ())
    if accelerator and accelerator not in offered:
        raise invalid(
            f"{accelerator} is not available for online inference in {location}."
        )


def replicas_wanted(resources: JSON) -> int:
    """How many replicas must answer before a deployment has succeeded."""
    low = int(resources["minReplicaCount"])
    return int(resources.get("requiredReplicaCount") or 0) or max(low, 1)


class Budget:
    """The accelerators that the pretended project may use in each region.

    Args:
        store: Where deployments are kept.
        gpus: How many accelerators each region has.
    """

    def __init__(self, store: Store, *, gpus: int) -> None:
        self._store = store
        self._gpus = gpus

    @property
    def total(self) -> int:
        """Accelerators each region has."""
        return self._gpus

    def used(self, location: str = "") -> int:
        """Accelerators that deployments hold now, in one region or in all."""
        prefix = f"{location}/" if location else ""
        return sum(
            _accelerators(record["deployedModel"]["dedicatedResources"])
            for _, record in self._store.scan("deployment", prefix)
        )

    def fits(self, resources: JSON, *, location: str) -> bool:
        """Whether a further deployment's accelerators are there."""
        return self.used(location) + _accelerators(resources) <= self._gpus

    def claim(self, resources: JSON, *, location: str, instead_of: str = "") -> None:
        """Raise RESOURCE_EXHAUSTED when a deployment's accelerators are too many.

        Args:
            resources: What is asked for.
            location: The region in which it is asked for.
            instead_of: Key of the deployment that these resources replace.
        """
        kept, wanted = 0, _accelerators(resources)
        record = self._store.get("deployment", instead_of) if instead_of else None
        if record is not None:
            kept = _accelerators(record["deployedModel"]["dedicatedResources"])
        used = self.used(location) - kept
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
