"""A first revision without a machine in its region goes to the next one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes.pipeline import Pipeline, own
from functions.test_openapi import PLAN
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.planning.moving import moved
from weightdrop.core.planning.tables import packaged_tables
from weightdrop.errors import TransientError
from weightdrop.ports import Endpoint, Fault
from weightdrop.settings import Settings

ROOMLESS = Fault(Reason.NO_CAPACITY, "out of stock")
SETTINGS = Settings(fallback_regions=("nowhere", "us-east4"))


def test_it_begins_anew_in_the_next_region_that_has_the_machine() -> None:
    """What was made in the first region is removed; the record says where it is."""
    pipeline = Pipeline(SETTINGS)
    pipeline.platform.faults[own(1)] = ROOMLESS
    pipeline.drop(1)
    pipeline.run(20)

    there = pipeline.deployment
    assert pipeline.phases() == {1: Phase.READY}
    assert (there.region, there.leftovers) == ("us-east4", ())
    assert "/us-east4/" in there.endpoint_name
    assert pipeline.platform.labelled("us-central1") == ()
    assert pipeline.revision(1).tried == ("us-central1",)


def test_a_region_that_is_out_of_order_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It serves where there is room; the other region is cleared when that can be."""
    pipeline = Pipeline(SETTINGS)
    pipeline.platform.faults[own(1)] = ROOMLESS
    honest, broken = pipeline.platform.endpoint, [True]

    def endpoint(name: str) -> Endpoint | None:
        if broken and "/us-central1/" in name and pipeline.deployment.leftovers:
            raise TransientError("503")
        return honest(name)

    monkeypatch.setattr(pipeline.platform, "endpoint", endpoint)
    pipeline.drop(1)
    with pytest.raises(TransientError, match="503"):
        pipeline.run(20)
    held_up = pipeline.deployment
    broken.clear()
    pipeline.run()

    assert held_up.leftovers
    assert held_up.serving
    assert (pipeline.deployment.region, pipeline.deployment.leftovers) == (
        "us-east4",
        (),
    )
    assert pipeline.platform.labelled("us-central1") == ()


def test_who_comes_back_to_a_region_keeps_what_is_there() -> None:
    """What it had left behind there is its own again."""
    pipeline = Pipeline(SETTINGS)
    pipeline.drop(1)
    there = pipeline.run()
    held = pipeline.records.get(pipeline.id)
    assert held is not None
    before = pipeline.platform.labelled(there.region)
    left = (there.endpoint_name, pipeline.revision(1).model_name)
    pipeline.records.put(replace(there, leftovers=left), version=held.version)

    assert pipeline.run().leftovers == ()
    assert pipeline.platform.labelled(there.region) == before


def test_without_another_region_it_fails() -> None:
    """Nothing is tried that nobody named."""
    pipeline = Pipeline()
    pipeline.platform.faults[own(1)] = ROOMLESS
    pipeline.drop(1)
    pipeline.run(20)

    assert pipeline.revision(1).reason is Reason.NO_CAPACITY


def test_a_folder_that_names_its_region_stays_there() -> None:
    """Who chose a region meant it."""
    pipeline = Pipeline(SETTINGS)
    pipeline.platform.faults[own(1)] = ROOMLESS
    pipeline.drop(1, region="us-central1")
    pipeline.run(20)

    assert pipeline.phases() == {1: Phase.FAILED}


def test_what_has_served_stays_in_its_region() -> None:
    """An endpoint cannot move, and its users know its name."""
    pipeline = Pipeline(SETTINGS)
    pipeline.drop(1)
    pipeline.run()
    pipeline.platform.faults[own(2)] = ROOMLESS
    pipeline.drop(2)
    pipeline.run(20)

    assert pipeline.phases() == {1: Phase.READY, 2: Phase.FAILED}
    assert pipeline.deployment.region == "us-central1"


def test_a_region_that_the_key_is_not_of_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing could be encrypted there: it fails for the reason that it has."""
    key = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    pipeline = Pipeline(replace(SETTINGS, kms_key=key))
    pipeline.platform.faults[own(1)] = ROOMLESS
    pipeline.drop(1)
    pipeline.run(20)

    assert pipeline.revision(1).reason is Reason.NO_CAPACITY
    assert pipeline.deployment.region == "us-central1"
    assert f"does not move to us-east4: the key {key}" in caplog.text


def test_the_region_of_the_key_is_gone_to(caplog: pytest.LogCaptureFixture) -> None:
    """The first of the regions that has the key is taken."""
    key = "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"
    regions = (*SETTINGS.fallback_regions, "europe-west4")
    pipeline = Pipeline(Settings(fallback_regions=regions, kms_key=key))
    pipeline.platform.faults[own(1)] = ROOMLESS
    pipeline.drop(1)
    pipeline.run(20)

    assert pipeline.phases() == {1: Phase.READY}
    assert pipeline.deployment.region == "europe-west4"
    assert "private endpoint" not in caplog.text


def test_a_private_endpoint_that_moves_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It moves: whether the network leads there, only its owner knows."""
    pipeline = Pipeline(replace(SETTINGS, private_projects=("clients",)))
    pipeline.platform.faults[own(1)] = ROOMLESS
    pipeline.drop(1)
    pipeline.run(20)

    assert pipeline.deployment.region == "us-east4"
    assert "private endpoint will be in us-east4" in caplog.text


@pytest.mark.parametrize(
    ("accelerator", "region", "most", "found"),
    [
        ("NVIDIA_L4", "us-east4", 0.0, True),
        ("NVIDIA_L4", "us-east4", 0.01, False),
        ("NVIDIA_B200", "us-east1", 0.0, False),
        ("NVIDIA_L4", "atlantis", 0.0, False),
    ],
)
def test_a_plan_moves_where_its_machine_is_offered(
    accelerator: str, region: str, most: float, found: bool
) -> None:
    """The catalogue and the price limit decide."""
    plan = replace(PLAN, accelerator_type=accelerator)

    there = moved(plan, region, packaged_tables(), most=most)

    assert (there is not None) is found
    assert there is None or there.region == region
