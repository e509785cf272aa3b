"""Whether and how a model fits on one machine."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from weightdrop.core.artifacts.model import ModelFacts
from weightdrop.core.catalogue.engine import EngineConstants
from weightdrop.core.catalogue.machines import Accelerator, Machine, Price
from weightdrop.core.planning.cache import CacheModel, cache_model
from weightdrop.core.planning.memory import (
    Overhead,
    Setup,
    context_gib,
    overhead,
    unprofiled_gib,
)
from weightdrop.core.planning.plan import Memory
from weightdrop.core.planning.splitting import split_refusal, tensor_parallel_for
from weightdrop.core.planning.tables import Tables
from weightdrop.core.planning.wants import Wants
from weightdrop.core.planning.weights import GIB, WeightTable


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with its weight table, computed once for all machines."""

    model: ModelFacts
    table: WeightTable


@dataclass(frozen=True, slots=True)
class Fit:
    """A machine on which the model serves.

    Attributes:
        machine: The machine.
        price: What it costs; None where no price is known.
        setup: How the engine is started.
        utilization: Share of the GPU's physical memory.
        length: Context served.
        memory: The arithmetic, per GPU.
        required_gib: GiB per GPU that weights, overhead and the wanted cache
            take together.
        cache: The cache on one GPU.
        needed_length: Context that was asked of the machine.
    """

    machine: Machine
    price: Price | None
    setup: Setup
    utilization: float
    length: int
    memory: Memory
    required_gib: float
    cache: CacheModel
    needed_length: int

    @property
    def sequences(self) -> int:
        """Sequences of full length the cache holds."""
        return self.memory.kv_cache_tokens // self.length


@dataclass(frozen=True, slots=True)
class Refusal:
    """A machine on which the model does not serve as wanted.

    Attributes:
        machine: The machine.
        price: What it costs; None where no price is known.
        reason: Why not, for a person.
        short_gib: GiB missing on each GPU; 0 when memory is not the reason.
        longest: Context it would serve for one sequence; 0 when none.
    """

    machine: Machine
    price: Price | None
    reason: str
    short_gib: float = 0.0
    longest: int = 0


def fit_on(
    subject: Subject, machine: Machine, *, wants: Wants, tables: Tables, region: str
) -> Fit | Refusal:
    """Measure `subject` against one machine."""
    price = tables.prices.find(region=region, machine_type=machine.machine_type)
    gpu = tables.accelerators.get(machine.accelerator_type)
    refusal = _unusable(machine, gpu, tables)
    if gpu is None or refusal:
        return Refusal(machine=machine, price=price, reason=refusal)
    ranks = wants.arguments.tensor_parallel_size or tensor_parallel_for(
        subject.model, machine.accelerator_count
    )
    refusal = _unsplittable(subject.model, machine, ranks)
    if refusal:
        return Refusal(machine=machine, price=price, reason=refusal)
    setup = Setup(
        tensor_parallel=ranks,
        max_num_seqs=wants.max_num_seqs,
        max_num_batched_tokens=_batched_tokens(wants, gpu),
        multiprocessors=gpu.multiprocessors,
        enforce_eager=wants.arguments.enforce_eager,
        cache_dtype_bytes=wants.arguments.cache_dtype_bytes,
    )
    return _measured(
        subject, machine, gpu=gpu, setup=setup, wants=wants, tables=tables, price=price
    )


def _batched_tokens(wants: Wants, gpu: Accelerator) -> int:
    """Tokens of one pass: the user's, else the engine's default there."""
    asked = wants.arguments.max_num_batched_tokens
    # The engine refuses fewer tokens than sequences.
    return max(asked or gpu.max_num_batched_tokens, wants.max_num_seqs)


def _unusable(machine: Machine, gpu: Accelerator | None, tables: Tables) -> str:
    """Why the engine cannot run on the machine at all; empty when it can."""
    if gpu is None:
        return f"nothing is known of {machine.accelerator_type}"
    oldest = tables.defaults.minimum_capability
    if gpu.capability < oldest:
        return (
            f"{gpu.type} has compute capability {gpu.capability[0]}."
            f"{gpu.capability[1]}, below {oldest[0]}.{oldest[1]} that bfloat16 needs"
        )
    defaults = tables.defaults
    count = machine.accelerator_count
    vcpus = defaults.reserved_vcpus + 1 + defaults.vcpus_per_gpu * count
    if machine.vcpus < vcpus:
        return f"has {machine.vcpus} vCPUs, the server needs {vcpus}"
    host = defaults.host_base_gib + defaults.host_gib_per_gpu * count
    if machine.memory_gb * 1e9 / GIB < host:
        return f"has {machine.memory_gb} GB of memory, the server needs {host:.0f} GiB"
    return ""


def _unsplittable(model: ModelFacts, machine: Machine, ranks: int) -> str:
    """Why the model cannot be split so; empty when it can."""
    if ranks > machine.accelerator_count:
        return (
            f"has {machine.accelerator_count} GPUs, "
            f"--tensor-parallel-size asks for {ranks}"
        )
    return split_refusal(model, ranks)


def _measured(
    subject: Subject,
    machine: Machine,
    *,
    gpu: Accelerator,
    setup: Setup,
    wants: Wants,
    tables: Tables,
    price: Price | None,
) -> Fit | Refusal:
    """The arithmetic on a machine the model can be split over."""
    engine = tables.engine
    share, refusal = _share(subject.model, gpu, setup=setup, wants=wants, engine=engine)
    if refusal:
        return Refusal(machine=machine, price=price, reason=refusal)
    parts = overhead(subject.model, subject.table, setup, engine)
    counted = parts.cuda_graph_gib if engine.counts_cuda_graphs else 0.0
    budget = gpu.memory_gib * share
    pool = budget - parts.non_kv_gib - counted
    usable = pool - tables.defaults.margin_gib
    cache = cache_model(subject.model, setup, block_tokens=engine.block_tokens)
    sequences = wants.sequences if wants.strict else 1
    demand = cache.sequence_bytes(wants.length) * sequences / GIB
    if demand > usable:
        return _too_small(
            machine,
            price=price,
            required=budget + demand - usable,
            budget=budget,
            longest=_longest(cache, usable, ceiling=wants.length),
        )
    length = _length(subject.model, cache, pool=usable, wants=wants, tables=tables)
    return Fit(
        machine=machine,
        price=price,
        setup=setup,
        utilization=share,
        length=length,
        memory=_memory(
            parts, pool, tokens=cache.tokens(pool * GIB, length), budget=budget
        ),
        required_gib=budget + demand - usable,
        cache=cache,
        needed_length=wants.length,
    )


def _share(
    model: ModelFacts,
    gpu: Accelerator,
    *,
    setup: Setup,
    wants: Wants,
    engine: EngineConstants,
) -> tuple[float, str]:
    """The share of the GPU to give the engine, or why it cannot have it.

    The engine does not start when less than its share is free, and the cache
    takes what the profiling run does not see: both must stay outside.
    """
    if wants.utilization_given:
        # What several GPUs take before was measured over NVLink only, so a
        # share is refused for what any GPU takes.
        free = 1 - engine.context_single_gib / gpu.memory_gib
        if wants.utilization <= free:
            return wants.utilization, ""
        return 0.0, (
            f"has {free:.1%} of {gpu.memory_gib:.2f} GiB free once CUDA has started, "
            f"and the engine does not start unless its {wants.utilization:.0%} are"
        )
    outside = context_gib(setup, engine) + unprofiled_gib(model, setup, engine)
    safe = 1 - outside / gpu.memory_gib
    return min(wants.utilization, floor(safe * 100) / 100), ""


def _memory(parts: Overhead, pool: float, *, tokens: int, budget: float) -> Memory:
    """The arithmetic as the plan shows it."""
    return Memory(
        weights_gib=parts.weights_gib,
        activation_gib=parts.activation_gib,
        non_torch_gib=parts.non_torch_gib,
        cuda_graph_gib=parts.cuda_graph_gib,
        kv_cache_gib=pool,
        kv_cache_tokens=tokens,
        budget_gib=budget,
    )


def _too_small(
    machine: Machine,
    *,
    price: Price | None,
    required: float,
    budget: float,
    longest: int,
) -> Refusal:
    """A refusal for want of memory."""
    reason = (
        f"needs {required:.2f} GiB on each GPU, has {budget:.2f} GiB: "
        f"{required - budget:.2f} GiB short"
    )
    return Refusal(
        machine=machine,
        price=price,
        reason=reason,
        short_gib=required - budget,
        longest=longest,
    )


def _longest(cache: CacheModel, pool: float, *, ceiling: int) -> int:
    """The longest single sequence `pool` GiB hold, below `ceiling`."""
    block = cache.block_tokens
    low, high = 0, ceil(ceiling / block)
    while low < high:
        middle = (low + high + 1) // 2
        if cache.sequence_bytes(middle * block) <= pool * GIB:
            low = middle
        else:
            high = middle - 1
    return low * block


def _length(
    model: ModelFacts, cache: CacheModel, *, pool: float, wants: Wants, tables: Tables
) -> int:
    """The context to serve: as asked, or the longest offered that fits."""
    if not wants.chosen:
        return wants.length
    offered = {*tables.defaults.lengths, model.max_position}
    affordable = [
        length
        for length in offered
        if wants.length <= length <= model.max_position
        and cache.sequence_bytes(length) * wants.sequences <= pool * GIB
    ]
    return max(affordable, default=wants.length)
