"""Machines, the accelerators in them, and where and for how much they are had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One GPU model.

    Attributes:
        type: Vertex AI's enum name.
        memory_gib: Physical memory as the engine sees it, in GiB: less than
            the number on the box.
        capability: CUDA compute capability.
        multiprocessors: Streaming multiprocessors.
        max_num_batched_tokens: The engine's own default on this GPU.
        note: Where `memory_gib` comes from.
    """

    type: str
    memory_gib: float
    capability: tuple[int, int]
    multiprocessors: int
    max_num_batched_tokens: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine type with its only valid accelerator pairing.

    Attributes:
        machine_type: Compute Engine's name.
        accelerator_type: Vertex AI's enum name.
        accelerator_count: GPUs in it.
        vcpus: Virtual processors.
        memory_gb: Host memory in GB (10**9 bytes).
        min_replicas: Fewest replicas the platform sells.
    """

    machine_type: str
    accelerator_type: str
    accelerator_count: int
    vcpus: int
    memory_gb: int
    min_replicas: int = 1


@dataclass(frozen=True, slots=True)
class Price:
    """What one machine costs.

    Attributes:
        hourly_usd: US dollars an hour.
        region: The region the price was read for.
        date: The day it was read.
    """

    hourly_usd: float
    region: str
    date: str


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices by region and machine type, with a region to fall back on."""

    date: str
    reference_region: str
    hourly: Mapping[str, Mapping[str, float]]

    def find(self, *, region: str, machine_type: str) -> Price | None:
        """The price in `region`, else the reference region's, else None."""
        for place in (region, self.reference_region):
            usd = self.hourly.get(place, {}).get(machine_type)
            if usd is not None:
                return Price(hourly_usd=usd, region=place, date=self.date)
        return None


def accelerator_of(row: Mapping[str, Any]) -> Accelerator:
    """An accelerator from a row of accelerators.json."""
    major, minor = row["capability"]
    return Accelerator(
        type=str(row["type"]),
        memory_gib=float(row["memory_gib"]),
        capability=(int(major), int(minor)),
        multiprocessors=int(row["multiprocessors"]),
        max_num_batched_tokens=int(row["max_num_batched_tokens"]),
        note=str(row.get("note", "")),
    )


def machine_of(row: Mapping[str, Any]) -> Machine:
    """A machine from a row of machines.json."""
    return Machine(
        machine_type=str(row["machine_type"]),
        accelerator_type=str(row["accelerator_type"]),
        accelerator_count=int(row["accelerator_count"]),
        vcpus=int(row["vcpus"]),
        memory_gb=int(row["memory_gb"]),
        min_replicas=int(row.get("min_replicas", 1)),
    )


def price_list_of(document: Mapping[str, Any]) -> PriceList:
    """The price list from prices.json."""
    hourly = {
        str(region): {str(name): float(usd) for name, usd in prices.items()}
        for region, prices in document["hourly"].items()
    }
    return PriceList(
        date=str(document["date"]),
        reference_region=str(document["reference_region"]),
        hourly=hourly,
    )
