"""The machine that is chosen, and what is said when there is none."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from fakes.models import dense, seventy, tensor, tiny
from weightdrop.core.artifacts.findings import Severity
from weightdrop.core.artifacts.model import Attention, ModelFacts
from weightdrop.core.planning.choose import plan
from weightdrop.core.planning.plan import NoPlan, Plan, PlanRequest
from weightdrop.core.planning.splitting import split_refusal, tensor_parallel_for
from weightdrop.core.planning.tables import packaged_tables

TABLES = packaged_tables()
HERE = PlanRequest(region="us-central1")


def planned(model: ModelFacts, request: PlanRequest = HERE) -> Plan:
    """The plan, which must exist."""
    outcome = plan(model, request, TABLES)

    assert isinstance(outcome, Plan), outcome

    return outcome


def refused(model: ModelFacts, request: PlanRequest) -> NoPlan:
    """The refusal, which must exist."""
    outcome = plan(model, request, TABLES)

    assert isinstance(outcome, NoPlan), outcome
    assert all(entry.severity is Severity.ERROR for entry in outcome.findings)
    assert all(entry.fix for entry in outcome.findings)

    return outcome


def code(model: ModelFacts, request: PlanRequest) -> str:
    """The code of the one finding."""
    return refused(model, request).findings[0].code


def argument(found: Plan, name: str) -> str:
    """The value of an engine argument."""
    return found.vllm_args[found.vllm_args.index(name) + 1]


class TestCheapest:
    """The cheapest machine that serves."""

    @pytest.mark.parametrize("region", sorted(TABLES.regions))
    def test_tiny_takes_the_cheapest_of_the_region(self, region: str) -> None:
        """A million parameters go onto the region's cheapest usable machine."""
        offered = TABLES.regions[region]
        prices = [
            price.hourly_usd
            for machine in TABLES.machines.values()
            if machine.accelerator_type in offered
            and (
                price := TABLES.prices.find(
                    region=region, machine_type=machine.machine_type
                )
            )
        ]
        outcome = plan(tiny(), PlanRequest(region=region), TABLES)

        if prices:
            assert isinstance(outcome, Plan)
            assert outcome.hourly_usd == min(prices)
        elif isinstance(outcome, NoPlan):
            assert outcome.findings[0].code == "plan-region-without-machine"

    def test_every_other_machine_is_an_alternative(self) -> None:
        """Each machine of the region that can be bought is named with a reason."""
        found = planned(dense())
        names = {entry.machine_type for entry in found.alternatives}
        sold = {
            machine.machine_type
            for machine in TABLES.machines.values()
            if machine.accelerator_type in TABLES.regions["us-central1"]
            and machine.min_replicas == 1
        }

        assert names == sold - {found.machine_type}
        assert all(entry.reason for entry in found.alternatives)

    def test_arithmetic_adds_up(self) -> None:
        """The parts are the budget, and the budget is a share of the GPU."""
        found = planned(seventy())
        memory = found.memory
        parts = (
            memory.weights_gib
            + memory.activation_gib
            + memory.non_torch_gib
            + memory.cuda_graph_gib
            + memory.kv_cache_gib
        )
        physical = TABLES.accelerators[found.accelerator_type].memory_gib

        assert parts == pytest.approx(memory.budget_gib)
        assert memory.budget_gib == pytest.approx(
            physical * found.gpu_memory_utilization
        )

    def test_arguments_are_complete(self) -> None:
        """The engine is told everything the arithmetic rests on."""
        found = planned(dense())

        assert argument(found, "--dtype") == "bfloat16"
        assert argument(found, "--max-model-len") == str(found.max_model_len)
        assert argument(found, "--max-num-seqs") == str(found.max_num_seqs)
        assert argument(found, "--tensor-parallel-size") == "1"
        assert float(argument(found, "--gpu-memory-utilization")) == 0.92
        assert int(argument(found, "--max-num-batched-tokens")) == 2048
        assert len(set(found.vllm_args[::2])) == len(found.vllm_args) / 2

    def test_user_arguments_win_and_are_said_once(self) -> None:
        """Arguments that change the arithmetic replace the planner's own."""
        request = replace(
            HERE,
            vllm_args=("--max-num-seqs=8", "--max-model-len", "4k", "--seed", "3"),
        )

        found = planned(dense(), request)

        assert found.max_num_seqs == 8
        assert found.max_model_len == 4000
        assert found.vllm_args.count("--max-num-seqs") == 1
        assert found.vllm_args[-2:] == ("--seed", "3")

    def test_smaller_cache_type_holds_twice(self) -> None:
        """An fp8 cache on the same machine holds twice the tokens."""
        pinned = replace(
            HERE,
            machine_type="g2-standard-12",
            accelerator_type="NVIDIA_L4",
            accelerator_count=1,
            max_model_len=8192,
        )
        plain = planned(dense(), pinned)
        small = planned(dense(), replace(pinned, vllm_args=("--kv-cache-dtype", "fp8")))

        assert small.memory.kv_cache_tokens == pytest.approx(
            2 * plain.memory.kv_cache_tokens, abs=2
        )

    def test_unknown_price_comes_last(self) -> None:
        """A machine without a price is taken only when no other serves."""
        found = planned(dense(), replace(HERE, region="us-west2"))

        assert found.machine_type == "a4-highgpu-8g"
        assert found.hourly_usd is None

    def test_planning_is_fast(self) -> None:
        """A table of ninety thousand tensors is planned without waiting."""
        experts = tuple(
            tensor(f"model.layers.{n % 61}.mlp.experts.{n}.up_proj.weight", 64, 64)
            for n in range(90_000)
        )
        model = dense(layers=61)
        model = replace(model, tensors=(*model.tensors, *experts))
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            planned(model)
            best = min(best, time.process_time() - start)

        assert best < 0.05


class TestContext:
    """How max_model_len is chosen."""

    def test_config_context_when_affordable(self) -> None:
        """A context the cache holds is served in full."""
        assert planned(tiny()).max_model_len == 2048

    def test_ten_million_tokens_are_explained(self) -> None:
        """A context nobody can hold is cut, and the reason given."""
        found = planned(dense(positions=10_485_760, rotary_values=1))

        assert found.max_model_len < 10_485_760
        assert any("10485760" in line for line in found.explanation)

    def test_asked_context_costs_a_larger_machine(self) -> None:
        """Who asks for the whole context pays for its cache."""
        asked = planned(dense(), replace(HERE, max_model_len=131_072))

        assert asked.max_model_len == 131_072
        assert asked.memory.kv_cache_tokens >= 2 * 131_072
        assert (asked.hourly_usd or 0) > (planned(dense()).hourly_usd or 0)

    def test_sequences_are_held_at_full_length(self) -> None:
        """Concurrency that is asked for is what the cache holds."""
        request = replace(HERE, max_model_len=8192, max_num_seqs=64)

        found = planned(dense(), request)

        assert found.max_num_seqs == 64
        assert found.memory.kv_cache_tokens >= 64 * 8192

    def test_beyond_the_config_is_refused(self) -> None:
        """More positions than the config has is a finding."""
        assert code(tiny(), replace(HERE, max_model_len=4096)) == (
            "plan-context-too-long"
        )

    def test_shorter_context_on_a_given_machine(self) -> None:
        """A tight machine serves a shorter context instead of none."""
        model = dense(layers=34, kv_heads=32, positions=8192)
        pinned = replace(
            HERE,
            machine_type="g2-standard-12",
            accelerator_type="NVIDIA_L4",
            accelerator_count=1,
        )

        found = planned(model, pinned)

        assert 0 < found.max_model_len < 8192


class TestGivenMachine:
    """Machine, accelerator and count given by the user."""

    GIVEN = replace(
        HERE,
        machine_type="g2-standard-24",
        accelerator_type="NVIDIA_L4",
        accelerator_count=2,
    )

    def test_taken_as_given(self) -> None:
        """A machine that serves is not argued about."""
        assert planned(tiny(), self.GIVEN).machine_type == "g2-standard-24"

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"accelerator_type": ""}, "plan-machine-incomplete"),
            ({"accelerator_count": 0}, "plan-machine-incomplete"),
            ({"machine_type": "e2-small"}, "plan-machine-unknown"),
            ({"accelerator_count": 4}, "plan-machine-pairing"),
            ({"accelerator_type": "NVIDIA_H100_80GB"}, "plan-machine-pairing"),
            ({"region": "us-west3"}, "plan-machine-region"),
            ({"region": "mars-north1"}, "plan-region"),
        ],
    )
    def test_checked(self, changes: dict[str, object], expected: str) -> None:
        """Each way of being impossible has its own finding."""
        request = replace(self.GIVEN, **changes)  # type: ignore[arg-type]

        assert code(tiny(), request) == expected

    def test_too_small_says_by_how_much_and_what_fits(self) -> None:
        """The finding names the gap and a machine that holds the model."""
        finding = refused(seventy(), self.GIVEN).findings[0]

        assert finding.code == "plan-no-fit"
        assert "GiB short" in finding.detail
        assert "It fits on" in finding.fix

    def test_more_sequences_than_fit_is_said(self) -> None:
        """On a given machine the cache is as large as it is."""
        request = replace(self.GIVEN, max_num_seqs=1024, max_model_len=8192)

        found = planned(dense(), request)

        assert any("fewer than the 1024 wanted" in line for line in found.explanation)

    def test_share_beyond_what_is_free(self) -> None:
        """A share the engine would not start with is refused."""
        request = replace(self.GIVEN, gpu_memory_utilization=0.99)

        assert code(tiny(), request) == "plan-no-fit"


class TestMachines:
    """What a machine must be beside large enough."""

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"vcpus": 2}, "vCPUs"),
            ({"memory_gb": 4}, "GB of memory"),
            ({"accelerator_type": "NVIDIA_TESLA_T4"}, "nothing is known"),
        ],
    )
    def test_unusable_machines_are_passed_over(
        self, changes: dict[str, object], reason: str
    ) -> None:
        """A machine without the processors, memory or GPU it needs is refused."""
        weak = replace(TABLES.machines["g2-standard-4"], **changes)  # type: ignore[arg-type]
        tables = replace(
            TABLES,
            machines={**TABLES.machines, "g2-standard-4": weak},
            regions={"here": ("NVIDIA_L4", "NVIDIA_TESLA_T4")},
        )

        outcome = plan(tiny(), PlanRequest(region="here"), tables)

        assert isinstance(outcome, Plan)
        assert outcome.machine_type == "g2-standard-8"
        assert reason in outcome.alternatives[0].reason

    def test_old_gpus_are_passed_over(self) -> None:
        """A GPU too old for bfloat16 is refused."""
        old = replace(TABLES.accelerators["NVIDIA_L4"], capability=(7, 5))
        tables = replace(TABLES, accelerators={**TABLES.accelerators, old.type: old})

        outcome = plan(tiny(), HERE, tables)

        assert isinstance(outcome, Plan)
        assert outcome.accelerator_type != "NVIDIA_L4"
        assert "7.5" in outcome.alternatives[0].reason

    def test_share_leaves_room_for_what_profiling_does_not_see(self) -> None:
        """A large vocabulary over several L4s lowers the engine's share."""
        pinned = replace(
            HERE,
            machine_type="g2-standard-24",
            accelerator_type="NVIDIA_L4",
            accelerator_count=2,
        )
        found = planned(dense(vocab=262_208, layers=8), pinned)
        few = planned(
            dense(vocab=262_208, layers=8),
            replace(pinned, vllm_args=("--max-num-seqs", "8")),
        )

        assert found.gpu_memory_utilization < few.gpu_memory_utilization == 0.92

    def test_margin_is_kept(self) -> None:
        """What is promised is held with a quarter of a GiB to spare."""
        cautious = replace(TABLES, defaults=replace(TABLES.defaults, margin_gib=10.0))
        outcome = plan(dense(), HERE, cautious)

        assert isinstance(outcome, Plan)
        assert outcome.machine_type != planned(dense()).machine_type


class TestMoney:
    """Prices and their limit."""

    def test_limit_is_held(self) -> None:
        """A plan above the limit is refused, and by how much is said."""
        finding = refused(seventy(), replace(HERE, max_hourly_usd=5)).findings[0]

        assert finding.code == "plan-too-expensive"
        assert "$5.35 above" in finding.detail

    def test_limit_counts_replicas(self) -> None:
        """Three replicas cost three times as much."""
        once = replace(HERE, max_hourly_usd=1)

        assert planned(tiny(), once).hourly_usd == 0.8129
        assert code(tiny(), replace(once, max_replica_count=3)) == "plan-too-expensive"

    def test_price_of_another_region_is_named(self) -> None:
        """Where no price is known, the plan says whose it shows."""
        found = planned(tiny(), replace(HERE, region="europe-west4"))

        assert any("in us-central1" in line for line in found.explanation)
        assert any(TABLES.prices.date in line for line in found.explanation)


class TestReplicas:
    """Replicas, scaling to zero, spot."""

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"min_replica_count": 0}, "plan-scale-to-zero"),
            ({"scale_to_zero": True, "min_replica_count": 2, "max_replica_count": 2},
             "plan-scale-to-zero"),
            ({"min_replica_count": 3}, "plan-replicas"),
            ({"min_replica_count": -1}, "plan-replicas"),
        ],
    )  # fmt: skip
    def test_contradictions(self, changes: dict[str, int], expected: str) -> None:
        """Replica counts that contradict each other are findings."""
        assert code(tiny(), replace(HERE, **changes)) == expected  # type: ignore[arg-type]

    def test_zero_is_explained(self) -> None:
        """Scaling to zero says what it costs besides money."""
        found = planned(tiny(), replace(HERE, scale_to_zero=True, min_replica_count=0))

        assert any("v1beta1" in line for line in found.explanation)
        assert any("429" in line for line in found.explanation)

    def test_spot_is_explained(self) -> None:
        """Spot capacity is said to be taken away at will."""
        found = planned(tiny(), replace(HERE, spot=True))

        assert any("Spot" in line for line in found.explanation)

    def test_machines_sold_in_numbers(self) -> None:
        """A machine sold from eighteen replicas is not offered for one."""
        names = {entry.machine_type for entry in planned(tiny()).alternatives}

        assert "a4x-highgpu-4g" not in names


class TestSplitting:
    """The engine's rules of divisibility."""

    def test_heads(self) -> None:
        """Phi-4's 40 heads and 10 key and value heads allow two ranks, not four."""
        phi = replace(dense(), attention=Attention(40, 10, 128, 40))

        assert tensor_parallel_for(phi, 8) == 2
        assert "key and value heads" in split_refusal(phi, 4)

    def test_vocabulary(self) -> None:
        """Five ranks do not divide the vocabulary of Qwen3-14B."""
        qwen = replace(
            dense(), vocab_size=151_936, attention=Attention(40, 40, 128, 40)
        )

        assert "vocabulary" in split_refusal(qwen, 5)

    def test_quantised_blocks(self) -> None:
        """Splitting must not cut through blocks that share a scale."""
        deep = replace(
            dense(), quantization="fp8", experts=256, expert_intermediate_size=2048
        )

        assert not split_refusal(deep, 16)
        assert "scales" in split_refusal(deep, 32)

    def test_idle_gpus_are_told(self) -> None:
        """GPUs that cannot be used are counted."""
        odd = replace(dense(), attention=Attention(14, 2, 64, 24))
        request = replace(
            HERE,
            machine_type="g2-standard-48",
            accelerator_type="NVIDIA_L4",
            accelerator_count=4,
        )

        assert any(
            "2 of 4 stay idle" in line for line in planned(odd, request).explanation
        )
