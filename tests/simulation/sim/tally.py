"""What many schedules amounted to, added up, and the page that says so."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from platform import machine
from typing import Self

from sim.world import World
from weightdrop.core.deployment.phases import MOVES, Phase

PAGE = Path(__file__).resolve().parents[3] / "docs/benchmarks/simulation.md"


@dataclass(slots=True)
class Tally:
    """Counts over schedules.

    Attributes:
        schedules: How many were run.
        calls: Port calls.
        simulated: Seconds of virtual time.
        happened: How often each thing went wrong.
        moves: How often each move of a revision was written.
        broken: The seeds that broke an invariant, and which one.
    """

    schedules: int = 0
    calls: int = 0
    simulated: float = 0.0
    happened: Counter[str] = field(default_factory=Counter)
    moves: Counter[tuple[Phase, Phase]] = field(default_factory=Counter)
    broken: list[tuple[int, str]] = field(default_factory=list)

    def add(self, world: World) -> None:
        """Count one schedule that has been run."""
        self.schedules += 1
        self.calls += world.scheduler.calls
        self.simulated += world.scheduler.elapsed
        self.happened += world.scheduler.happened
        self.moves += world.invariants.moves

    def __iadd__(self, other: Tally) -> Self:
        """Count what another has counted as well."""
        self.schedules += other.schedules
        self.calls += other.calls
        self.simulated += other.simulated
        self.happened += other.happened
        self.moves += other.moves
        self.broken += other.broken
        return self

    def sentence(self, seconds: float) -> str:
        """The sum in one line."""
        return (
            f"{self.schedules} schedules in {seconds:.0f} s, "
            f"{self.schedules / seconds:.0f} a second, "
            f"{len(self.broken)} broke an invariant"
        )

    def page(self, seconds: float, command: str) -> str:
        """The sum as a page of the documentation."""
        today = datetime.now(UTC).date().isoformat()
        rows = [
            ("schedules", f"{self.schedules:,}"),
            ("that broke an invariant", f"{len(self.broken):,}"),
            ("seconds", f"{seconds:,.0f}"),
            ("schedules a second", f"{self.schedules / seconds:.0f}"),
            ("port calls", f"{self.calls:,}"),
            ("simulated time", f"{self.simulated / 3600:,.0f} hours"),
        ]
        rows += [(what, f"{count:,}") for what, count in sorted(self.happened.items())]
        head = (
            f"| measured on {today} with `{command}` | "
            f"{os.cpu_count()} processors, {machine()} |"
        )
        table = [f"| {what} | {figure} |" for what, figure in rows]
        return "\n".join(
            [_HEAD, head, "| --- | ---: |", *table, _MOVES, *self._moves()]
        )

    def _moves(self) -> list[str]:
        """A row for each phase: where it was left to, and how often."""
        rows = []
        for phase in Phase:
            ways = sorted(MOVES[phase], key=lambda to: -self.moves[phase, to])
            words = ", ".join(f"`{to}` {self.moves[phase, to]:,}" for to in ways)
            rows.append(f"| `{phase}` | {words} |")
        return [*rows, ""]


_HEAD = """\
<!-- Written by `make simulate RECORD=1`, do not change it. -->
# The pipeline under every fault, simulated

One seeded scheduler runs the real services and core over ports in memory and a virtual
clock. At every port call it may let others go first, let time pass (now and then more
than a lease lasts), fail the call before or after it was done, answer with what was
true before, or kill the process; deliveries come twice, late and out of order, regions
are full, and servers fail. Meanwhile users drop, change and delete folders and give
orders. After each step the invariants are checked
(`tests/simulation/sim/invariants.py`), and once faults stop everything must come to
rest as the bytes in the bucket say.

`make simulate SEEDS=N` runs N schedules; `SEED=7` shows one, which replays exactly. The
tests run 20,000 schedules, and plant bugs that the simulation has to find
(`tests/simulation/test_simulation.py`).
"""

_MOVES = """
## Every move was made

A revision's phase moves along one table. How often each move of it was written:

| from | to |
| --- | --- |"""
