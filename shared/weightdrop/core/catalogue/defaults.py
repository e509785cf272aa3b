"""What the planner assumes when the user leaves it open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PlannerDefaults:
    """Choices of this project; defaults.json holds them.

    Attributes:
        max_model_len: Context a machine must serve when none is asked for.
        max_num_seqs: Sequences the engine admits when nothing is asked for.
        full_length_sequences: Sequences of full length the cache must hold
            when no concurrency is asked for.
        margin_gib: Kept free on each GPU for what the plan underestimates:
            a little over the worst case measured.
        lengths: Contexts offered when the planner chooses.
        minimum_capability: Oldest CUDA compute capability the engine serves
            bfloat16 on.
        reserved_vcpus: Virtual processors the platform keeps per replica.
        vcpus_per_gpu: Virtual processors each GPU's worker needs.
        host_base_gib: Host memory the server needs beside its workers.
        host_gib_per_gpu: Host memory each GPU's worker needs.
    """

    max_model_len: int
    max_num_seqs: int
    full_length_sequences: int
    margin_gib: float
    lengths: tuple[int, ...]
    minimum_capability: tuple[int, int]
    reserved_vcpus: int
    vcpus_per_gpu: int
    host_base_gib: float
    host_gib_per_gpu: float


def defaults_of(document: Mapping[str, Any]) -> PlannerDefaults:
    """The defaults from defaults.json."""
    major, minor = document["minimum_capability"]
    return PlannerDefaults(
        max_model_len=int(document["max_model_len"]),
        max_num_seqs=int(document["max_num_seqs"]),
        full_length_sequences=int(document["full_length_sequences"]),
        margin_gib=float(document["margin_gib"]),
        lengths=tuple(int(length) for length in document["lengths"]),
        minimum_capability=(int(major), int(minor)),
        reserved_vcpus=int(document["reserved_vcpus"]),
        vcpus_per_gpu=int(document["vcpus_per_gpu"]),
        host_base_gib=float(document["host_base_gib"]),
        host_gib_per_gpu=float(document["host_gib_per_gpu"]),
    )
