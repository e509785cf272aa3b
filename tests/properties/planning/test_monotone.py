"""Asking for more never plans less, whatever the model."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.models import dense
from weightdrop.core.artifacts.model import Attention, ModelFacts
from weightdrop.core.planning.cache import cache_model
from weightdrop.core.planning.choose import plan
from weightdrop.core.planning.memory import Setup, overhead
from weightdrop.core.planning.plan import NoPlan, Plan, PlanRequest
from weightdrop.core.planning.tables import packaged_tables
from weightdrop.core.planning.weights import weight_table

TABLES = packaged_tables()


@st.composite
def models(draw: st.DrawFn) -> ModelFacts:
    """Dense, windowed, latent and hybrid models of many sizes."""
    heads = draw(st.sampled_from([8, 16, 32, 40]))
    kv_heads = draw(st.sampled_from([k for k in (1, 2, 8) if heads % k == 0]))
    layers = draw(st.integers(2, 12))
    model = dense(
        hidden=128 * heads,
        inner=draw(st.sampled_from([2048, 8192, 14336])),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        vocab=draw(st.sampled_from([32_000, 128_256, 262_208])),
        multimodal=draw(st.booleans()),
    )
    kinds = {
        "full": Attention(heads, kv_heads, 128, layers * 6),
        "windowed": Attention(heads, kv_heads, 128, layers, layers * 5, 1024),
        "latent": Attention(heads, heads, 128, layers * 6, mla_width=576),
        "hybrid": Attention(
            heads, kv_heads, 128, layers, linear_layers=layers * 3,
            linear_state_bytes=2_000_000,
        ),
    }  # fmt: skip
    return replace(model, attention=kinds[draw(st.sampled_from(sorted(kinds)))])


LENGTHS = st.integers(16, 131_072)
SEQUENCES = st.integers(1, 1024)
PINNED = PlanRequest(
    region="us-central1",
    machine_type="a3-highgpu-1g",
    accelerator_type="NVIDIA_H100_80GB",
    accelerator_count=1,
    gpu_memory_utilization=0.9,
)


def demanded(model: ModelFacts, length: int, sequences: int) -> float:
    """Bytes on one GPU for weights, overhead and the cache asked for."""
    setup = Setup(
        tensor_parallel=1,
        max_num_seqs=sequences,
        max_num_batched_tokens=max(8192, sequences),
        multiprocessors=132,
    )
    engine = TABLES.engine
    parts = overhead(model, weight_table(model, engine), setup, engine)
    cache = cache_model(model, setup, block_tokens=engine.block_tokens)
    fixed = (parts.non_kv_gib + parts.cuda_graph_gib) * 2**30
    return fixed + sequences * cache.sequence_bytes(length)


@settings(max_examples=150, deadline=None)
@given(models(), LENGTHS, LENGTHS, SEQUENCES, SEQUENCES)
def test_memory_grows_with_what_is_asked(
    model: ModelFacts, one: int, two: int, few: int, many: int
) -> None:
    """More context and more sequences never take less of a GPU."""
    shorter, longer = sorted((one, two))
    fewer, more = sorted((few, many))

    base = demanded(model, shorter, fewer)

    assert base <= demanded(model, longer, fewer)
    assert base <= demanded(model, shorter, more)


@settings(max_examples=100, deadline=None)
@given(models(), LENGTHS, LENGTHS, SEQUENCES, SEQUENCES)
def test_parts_of_a_plan_do_not_shrink(
    model: ModelFacts, one: int, two: int, few: int, many: int
) -> None:
    """On one machine, asking for more never plans less for any part."""
    shorter, longer = sorted((one, two))
    fewer, more = sorted((few, many))
    small = plan(
        model, replace(PINNED, max_model_len=shorter, max_num_seqs=fewer), TABLES
    )
    large = plan(
        model, replace(PINNED, max_model_len=longer, max_num_seqs=more), TABLES
    )

    if isinstance(small, NoPlan):
        assert isinstance(large, NoPlan)
        return
    if isinstance(large, Plan):
        assert large.memory.weights_gib == small.memory.weights_gib
        assert large.memory.activation_gib >= small.memory.activation_gib
        assert large.memory.cuda_graph_gib >= small.memory.cuda_graph_gib


@settings(max_examples=60, deadline=None)
@given(models(), st.integers(16, 65_536), st.integers(1, 64), st.integers(1, 3))
def test_price_grows_and_the_promise_is_held(
    model: ModelFacts, length: int, sequences: int, factor: int
) -> None:
    """Asking for more never finds a cheaper machine, and what is asked is held."""
    request = PlanRequest(region="us-central1", max_model_len=length)
    small = plan(model, replace(request, max_num_seqs=sequences), TABLES)
    more = replace(request, max_model_len=length * 2, max_num_seqs=sequences * factor)
    large = plan(model, more, TABLES)

    if isinstance(small, NoPlan):
        assert isinstance(large, NoPlan)
        return
    assert small.memory.kv_cache_tokens >= sequences * length
    if isinstance(large, Plan) and large.hourly_usd is not None:
        assert small.hourly_usd is not None
        assert small.hourly_usd <= large.hourly_usd


@settings(max_examples=60, deadline=None)
@given(models(), st.sampled_from(sorted(TABLES.regions)))
def test_a_plan_always_fits_its_machine(model: ModelFacts, region: str) -> None:
    """No part of a plan is negative, and together they are the budget."""
    outcome = plan(model, PlanRequest(region=region), TABLES)

    if isinstance(outcome, NoPlan):
        assert outcome.findings
        return
    memory = outcome.memory
    parts = (
        memory.weights_gib,
        memory.activation_gib,
        memory.non_torch_gib,
        memory.cuda_graph_gib,
        memory.kv_cache_gib,
    )

    assert all(part >= 0 for part in parts)
    assert abs(sum(parts) - memory.budget_gib) < 1e-6
    assert memory.kv_cache_tokens >= outcome.max_model_len
