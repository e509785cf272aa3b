"""`weightdrop.json`: what the user may choose beside `config.json`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """The options of one drop; every field may be left out.

    Attributes:
        model_id: Name the endpoint serves the model under.
        model_display_name: Shown in Vertex AI's lists.
        endpoint_display_name: Shown in Vertex AI's lists.
        region: Where to deploy; the stack's own region when empty.
        machine_type: With accelerator_type and accelerator_count, or none.
        accelerator_type: Vertex AI's enum name.
        accelerator_count: GPUs per replica; 0 when not chosen.
        min_replica_count: Replicas kept; 0 only with scale_to_zero.
        max_replica_count: Upper bound of autoscaling.
        scale_to_zero: Whether idle replicas go away altogether.
        spot: Whether to use spot capacity.
        max_model_len: Context length; 0 lets the planner choose.
        vllm_args: Extra engine arguments, from the allow-list.
        traffic: Percent of the traffic the new revision takes when ready; below
            100 it is a canary until it is promoted or rolled back.
        ttl: Seconds after which a ready deployment is retired; 0 never.
        max_hourly_usd: Refuse plans that cost more; 0 is no limit.
        labels: Extra labels for every Vertex AI resource.
    """

    model_id: str = ""
    model_display_name: str = ""
    endpoint_display_name: str = ""
    region: str = ""
    machine_type: str = ""
    accelerator_type: str = ""
    accelerator_count: int = 0
    min_replica_count: int = 1
    max_replica_count: int = 1
    scale_to_zero: bool = False
    spot: bool = False
    max_model_len: int = 0
    vllm_args: tuple[str, ...] = ()
    traffic: int = 100
    ttl: int = 0
    max_hourly_usd: float = 0.0
    labels: tuple[tuple[str, str], ...] = ()
