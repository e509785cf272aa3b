"""Planning as callers use it: options in, JSON and bars out, tables overlaid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.models import dense, tiny
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.planning.choose import plan
from weightdrop.core.planning.plan import Memory, Plan
from weightdrop.core.planning.tables import TABLE_NAMES
from weightdrop.errors import UsageError
from weightdrop.services.planning import (
    load_tables,
    memory_bar,
    memory_bar_text,
    plan_json,
    request_for,
)


def planned() -> Plan:
    """A plan for an 8B model."""
    outcome = plan(
        dense(), request_for(FolderOptions(), region="us-central1"), load_tables()
    )

    assert isinstance(outcome, Plan)

    return outcome


def overlay(folder: Path, name: str, document: object) -> Path:
    """A folder with one table."""
    (folder / f"{name}.json").write_text(json.dumps(document), "utf-8")
    return folder


class TestRequest:
    """Folder options to a request."""

    def test_options_are_carried_over(self) -> None:
        """Every option that planning knows reaches the request."""
        options = FolderOptions(
            machine_type="g2-standard-12",
            accelerator_type="NVIDIA_L4",
            accelerator_count=1,
            max_model_len=4096,
            max_hourly_usd=2.5,
            max_replica_count=3,
            spot=True,
            vllm_args=("--seed", "1"),
        )

        request = request_for(options, region="us-central1")

        for name in (
            "machine_type",
            "accelerator_type",
            "accelerator_count",
            "max_model_len",
            "max_hourly_usd",
            "max_replica_count",
            "spot",
            "vllm_args",
        ):
            assert getattr(request, name) == getattr(options, name)

    def test_own_region_wins(self) -> None:
        """The folder's region is taken before the stack's."""
        options = FolderOptions(region="europe-west4")

        assert request_for(options, region="us-central1").region == "europe-west4"
        assert request_for(FolderOptions(), region="us-east4").region == "us-east4"


class TestJson:
    """The documented document."""

    def test_has_exactly_the_documented_keys(self) -> None:
        """Neither more nor fewer keys than documented."""
        document = plan_json(planned())

        assert list(document) == [
            "machine_type", "accelerator_type", "accelerator_count",
            "tensor_parallel_size", "max_model_len", "hourly_usd", "vllm_args",
            "memory", "alternatives", "explanation",
        ]  # fmt: skip
        assert set(document["memory"]) == {
            "weights_gib", "activation_gib", "non_torch_gib", "cuda_graph_gib",
            "kv_cache_gib", "kv_cache_tokens", "budget_gib",
        }  # fmt: skip

    def test_survives_json(self) -> None:
        """What is written is what is read."""
        document = plan_json(planned())

        assert json.loads(json.dumps(document)) == document


class TestBar:
    """The bar a person reads."""

    @given(st.lists(st.floats(0.001, 200), min_size=5, max_size=5), st.integers(5, 120))
    def test_fills_its_width(self, sizes: list[float], width: int) -> None:
        """Every part is seen, and all of them take the whole width."""
        weights, activation, non_torch, graphs, cache = sizes
        memory = Memory(weights, activation, non_torch, graphs, cache, 1, sum(sizes))

        segments = memory_bar(memory, width)

        assert sum(segment.cells for segment in segments) == width
        assert all(segment.cells >= 1 for segment in segments)

    def test_text_names_every_part(self) -> None:
        """Bar and legend agree."""
        text = memory_bar_text(planned().memory, 60)

        bar, legend = text.splitlines()
        for segment in memory_bar(planned().memory, 60):
            assert segment.symbol * segment.cells in bar
            assert f"{segment.name} {segment.gib:.2f}" in legend


class TestTables:
    """The user's own tables over the packaged ones."""

    def test_a_price_of_ones_own(self, tmp_path: Path) -> None:
        """One row changes one price, and with it the choice."""
        folder = overlay(
            tmp_path,
            "prices",
            {"hourly": {"us-central1": {"g2-standard-96": 0.01}}},
        )
        outcome = plan(
            tiny(),
            request_for(FolderOptions(), region="us-central1"),
            load_tables(folder),
        )

        assert isinstance(outcome, Plan)
        assert outcome.machine_type == "g2-standard-96"
        assert len(load_tables(folder).machines) == len(load_tables().machines)

    def test_a_new_machine_in_a_new_region(self, tmp_path: Path) -> None:
        """Machines and regions are added without code."""
        overlay(
            tmp_path,
            "machines",
            {
                "machines": [
                    {
                        "machine_type": "x1-one",
                        "accelerator_type": "NVIDIA_L4",
                        "accelerator_count": 1,
                        "vcpus": 8,
                        "memory_gb": 64,
                    }
                ]
            },
        )
        overlay(tmp_path, "regions", {"regions": {"moon-east1": ["NVIDIA_L4"]}})
        tables = load_tables(tmp_path)

        assert tables.machines["x1-one"].vcpus == 8
        assert tables.regions["moon-east1"] == ("NVIDIA_L4",)

    def test_part_of_a_row(self, tmp_path: Path) -> None:
        """A row need only say what differs."""
        overlay(
            tmp_path,
            "accelerators",
            {"accelerators": [{"type": "NVIDIA_L4", "memory_gib": 21.9}]},
        )
        gpu = load_tables(tmp_path).accelerators["NVIDIA_L4"]

        assert gpu.memory_gib == 21.9
        assert gpu.capability == (8, 9)

    @pytest.mark.parametrize(
        "text", ["not json", "[]", '{"machines": [{"vcpus": 1}]}', '{"machines": 3}']
    )
    def test_faults_name_the_file(self, tmp_path: Path, text: str) -> None:
        """A table that cannot be used is named."""
        (tmp_path / "machines.json").write_text(text, "utf-8")

        with pytest.raises(UsageError, match=r"machines\.json"):
            load_tables(tmp_path)

    def test_missing_folder(self, tmp_path: Path) -> None:
        """A folder that is not there is a wrong call."""
        with pytest.raises(UsageError, match="does not exist"):
            load_tables(tmp_path / "nowhere")


class TestData:
    """The packaged tables agree with each other."""

    def test_every_table_says_where_it_is_from(self) -> None:
        """Source and date are in every file, per version for the engine."""
        folder = Path(plan.__code__.co_filename).parents[1] / "catalogue"
        for name in TABLE_NAMES:
            document = json.loads((folder / f"{name}.json").read_text("utf-8"))
            rows = document.get("engines", [document])

            assert all(row["source"] for row in rows), name
            assert name == "engine" or document["date"], name

    def test_names_agree(self) -> None:
        """Machines, accelerators and prices speak of the same things."""
        tables = load_tables()
        offered = {name for names in tables.regions.values() for name in names}

        for machine in tables.machines.values():
            assert machine.accelerator_type in tables.accelerators
            assert machine.accelerator_type in offered
        for prices in tables.prices.hourly.values():
            assert set(prices) <= set(tables.machines)
