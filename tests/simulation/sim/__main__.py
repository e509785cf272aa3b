"""`make simulate`: run schedules, count them, show the trace of any failure."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from sim.scheduler import Faults
from sim.world import World, run_schedule

CHUNK = 1_000
COLLECTED = 50
"""Schedules after which what they left behind is collected."""


def failures(first: int, last: int) -> list[tuple[int, str]]:
    """Seeds in [first, last) that broke an invariant, and which one."""
    logging.disable(logging.CRITICAL)
    # A world is one large cycle: it is collected between schedules, not within.
    gc.disable()
    found = []
    for seed in range(first, last):
        try:
            run_schedule(seed, Faults())
        except Exception as error:  # noqa: BLE001 - any end but a good one counts
            found.append((seed, f"{type(error).__name__}: {error}"))
        if seed % COLLECTED == 0:
            gc.collect()
    return found


def show(seed: int) -> int:
    """Run one seed and print its trace."""
    logging.disable(logging.CRITICAL)
    world = World(seed, Faults(), tracing=True)
    try:
        world.run()
        end = "every invariant holds"
    except Exception as error:  # noqa: BLE001 - shown below
        end = f"{type(error).__name__}: {error}"
    print("\n".join(world.scheduler.trace))
    print(f"seed {seed}: {end}")
    return 0 if end.startswith("every") else 1


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="show one seed's trace")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return show(chosen.seed)
    begun = time.perf_counter()
    starts = range(chosen.first, chosen.first + chosen.seeds, CHUNK)
    end = chosen.first + chosen.seeds
    found: list[tuple[int, str]] = []
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for part in pool.map(failures, starts, [min(s + CHUNK, end) for s in starts]):
            found += part
    seconds = time.perf_counter() - begun
    rate = chosen.seeds / seconds
    print(
        f"{chosen.seeds} schedules in {seconds:.0f} s, {rate:.0f} a second, "
        f"{len(found)} broke an invariant"
    )
    for seed, words in found[:20]:
        print(f"  seed {seed}: {words}")
    return show(found[0][0]) if found else 0


if __name__ == "__main__":
    sys.exit(main())
