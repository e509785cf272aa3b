"""What is wanted of a plan, once defaults and engine arguments are read in."""

from __future__ import annotations

from dataclasses import dataclass

from weightdrop.core.artifacts.model import ModelFacts
from weightdrop.core.planning.arguments import UserArguments, user_arguments
from weightdrop.core.planning.plan import PlanRequest
from weightdrop.core.planning.tables import Tables
from weightdrop.core.planning.weights import DTYPE_BYTES


@dataclass(frozen=True, slots=True)
class Wants:
    """What every machine is measured against.

    Attributes:
        length: Context a machine must serve.
        chosen: Whether the planner may raise `length` where there is room.
        sequences: Sequences of full length the cache must hold.
        max_num_seqs: Sequences the engine admits.
        utilization: Share of the GPU's physical memory.
        utilization_given: Whether the user asked for that share.
        dtype: What the engine computes in.
        arguments: The user's engine arguments.
        strict: Whether `sequences` is a condition (a machine is being chosen)
            or only told (the machine was given).
    """

    length: int
    chosen: bool
    sequences: int
    max_num_seqs: int
    utilization: float
    utilization_given: bool
    dtype: str
    arguments: UserArguments
    strict: bool


def wants_of(model: ModelFacts, request: PlanRequest, tables: Tables) -> Wants:
    """Read `request` with the defaults of `tables`.

    A number in the request wins over the same number in its engine
    arguments. Asking for sequences asks for a cache that holds them at full
    length; saying it as an engine argument only bounds what is admitted.
    """
    arguments = user_arguments(request.vllm_args)
    defaults = tables.defaults
    asked = request.max_model_len or arguments.max_model_len
    share = request.gpu_memory_utilization or arguments.gpu_memory_utilization
    admitted = request.max_num_seqs or arguments.max_num_seqs or defaults.max_num_seqs
    wanted = request.max_num_seqs or defaults.full_length_sequences
    dtype = arguments.dtype if arguments.dtype in DTYPE_BYTES else model.dtype
    return Wants(
        length=asked or max(1, min(defaults.max_model_len, model.max_position)),
        chosen=not asked,
        sequences=min(wanted, admitted),
        max_num_seqs=admitted,
        utilization=share or tables.engine.gpu_memory_utilization,
        utilization_given=bool(share),
        dtype=dtype,
        arguments=arguments,
        strict=not request.machine_type,
    )
