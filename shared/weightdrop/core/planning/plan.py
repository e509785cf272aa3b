"""The plan: a machine, how vLLM is started on it, and the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from weightdrop.core.artifacts.findings import Finding


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is wanted of a plan.

    Attributes:
        region: Cloud region to choose in.
        machine_type: With the next two: all three or none.
        accelerator_type: Vertex AI's enum name.
        accelerator_count: GPUs per replica; 0 when not chosen.
        max_model_len: Context length; 0 lets the planner choose.
        max_num_seqs: Sequences the engine admits and the cache must hold at
            full length where a machine is chosen; 0 lets the planner choose.
        gpu_memory_utilization: Share of the GPU's physical memory; 0 is the
            engine's default.
        max_hourly_usd: Refuse plans whose replicas cost more together; 0 is
            no limit.
        min_replica_count: Replicas kept.
        max_replica_count: Upper bound of autoscaling.
        scale_to_zero: Whether idle replicas go away altogether.
        spot: Whether to use spot capacity.
        vllm_args: Extra engine arguments of the user.
    """

    region: str
    machine_type: str = ""
    accelerator_type: str = ""
    accelerator_count: int = 0
    max_model_len: int = 0
    max_num_seqs: int = 0
    gpu_memory_utilization: float = 0.0
    max_hourly_usd: float = 0.0
    min_replica_count: int = 1
    max_replica_count: int = 1
    scale_to_zero: bool = False
    spot: bool = False
    vllm_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What one GPU of the plan holds, in GiB (2**30 bytes)."""

    weights_gib: float
    activation_gib: float
    non_torch_gib: float
    cuda_graph_gib: float
    kv_cache_gib: float
    kv_cache_tokens: int
    budget_gib: float


@dataclass(frozen=True, slots=True)
class Alternative:
    """A machine that was not chosen, and why."""

    machine_type: str
    accelerator_type: str
    accelerator_count: int
    hourly_usd: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A machine on which the model serves.

    Attributes:
        region: Cloud region the machine is in.
        machine_type: Compute Engine's name.
        accelerator_type: Vertex AI's enum name.
        accelerator_count: GPUs per replica.
        tensor_parallel_size: GPUs the model is split over.
        max_model_len: Context length served.
        max_num_seqs: Concurrent sequences the engine admits.
        gpu_memory_utilization: Share of the GPU's physical memory.
        hourly_usd: Price of one replica; None where no price is known.
        vllm_args: Arguments for vLLM, without model path and served name.
        memory: The arithmetic, per GPU.
        alternatives: Machines not chosen, and why.
        explanation: Sentences for a person.
        findings: What the user should know of the choice; never an error.
    """

    region: str
    machine_type: str
    accelerator_type: str
    accelerator_count: int
    tensor_parallel_size: int
    max_model_len: int
    max_num_seqs: int
    gpu_memory_utilization: float
    hourly_usd: float | None
    vllm_args: tuple[str, ...]
    memory: Memory
    alternatives: tuple[Alternative, ...]
    explanation: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class NoPlan:
    """No machine serves the model as wanted; the findings say why."""

    findings: tuple[Finding, ...]
    alternatives: tuple[Alternative, ...] = ()
