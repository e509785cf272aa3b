"""`make simulate`: run schedules, count them, show the trace of any failure."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from sim.scheduler import Faults
from sim.tally import PAGE, Tally
from sim.world import World

CHUNK = 1_000
REPORTED = 50_000
"""Schedules after which a line says how it goes."""

COLLECTED = 200
"""Schedules after which what they left behind is collected."""


def run(first: int, last: int) -> Tally:
    """Run the seeds in [first, last) and count what came of them."""
    logging.disable(logging.CRITICAL)
    # A world is one large cycle: it is collected between schedules, not within.
    gc.disable()
    tally = Tally()
    for seed in range(first, last):
        world = World(seed, Faults())
        try:
            world.run()
        except Exception as error:  # noqa: BLE001 - any end but a good one counts
            tally.broken.append((seed, f"{type(error).__name__}: {error}"))
        tally.add(world)
        if seed % COLLECTED == 0:
            gc.collect()
    return tally


def parts(first: int, end: int) -> Iterator[Tally]:
    """Run the seeds in [first, end) on every processor, and count by chunks."""
    starts = range(first, end, CHUNK)
    pool = ProcessPoolExecutor(max_workers=os.cpu_count())
    try:
        yield from pool.map(run, starts, [min(s + CHUNK, end) for s in starts])
    finally:
        pool.shutdown(cancel_futures=True)


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
    parser.add_argument("--record", action="store_true", help=f"write {PAGE.name}")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return show(chosen.seed)
    begun = time.perf_counter()
    tally = Tally()
    try:
        for part in parts(chosen.first, chosen.first + chosen.seeds):
            tally += part
            for seed, words in part.broken:
                print(f"seed {seed}: {words}", file=sys.stderr, flush=True)
            if tally.schedules % REPORTED == 0:
                sofar = tally.sentence(time.perf_counter() - begun)
                print(sofar, file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("stopped: what follows is of what was run", file=sys.stderr)
    seconds = time.perf_counter() - begun
    print(tally.sentence(seconds))
    if chosen.record:
        command = f"make simulate SEEDS={tally.schedules} RECORD=1"
        PAGE.write_text(tally.page(seconds, command))
    return show(tally.broken[0][0]) if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
