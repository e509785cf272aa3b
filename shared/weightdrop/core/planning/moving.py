"""The same plan in another region."""

from __future__ import annotations

from dataclasses import replace

from weightdrop.core.planning.plan import Plan
from weightdrop.core.planning.tables import Tables


def moved(
    plan: Plan, region: str, tables: Tables, *, most: float = 0.0, replicas: int = 1
) -> Plan | None:
    """`plan` in `region`; None where its machine is not offered, or too dear.

    The memory arithmetic does not depend on the region, so it stays.

    Args:
        plan: What was planned elsewhere.
        region: Cloud region.
        tables: What is offered where, and prices.
        most: What all replicas may cost an hour, in US dollars; 0 is no limit.
        replicas: How many there may be.
    """
    if plan.accelerator_type not in tables.regions.get(region, ()):
        return None
    found = tables.prices.find(region=region, machine_type=plan.machine_type)
    price = found.hourly_usd if found else None
    if most and (price is None or price * replicas > most):
        return None
    return replace(plan, region=region, hourly_usd=price)
