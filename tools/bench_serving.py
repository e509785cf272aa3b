"""What the Vertex route costs, against vLLM asked directly and behind a proxy.

Writes docs/benchmarks/serving.md. Contenders take turns in random order, round by
round, so that noise of the machine meets all alike; what is compared are medians over
rounds. Exit status: 0 when every limit is kept, else 1.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import datetime as dt
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from servingbench.contenders import Client, Contender, servers

from weightdrop.local.tiny_model import Size, make_tiny_llama

_PAGE: Final = Path(__file__).resolve().parent.parent / "docs/benchmarks/serving.md"
_CLIENTS: Final = 16
_TOKENS: Final = 16  # of each answer of a batch
_WARM_UP: Final = 10  # requests of a round that are not measured
_LONGEST_ADDED_MS: Final = 0.5
_SMALLEST_SHARE: Final = 0.95
_LARGEST_BATCH_FACTOR: Final = 1.3

Contenders = Mapping[str, Contender]


@dataclass(frozen=True, slots=True)
class Case:
    """A model to serve, and how much is asked of it.

    Attributes:
        title: For the table.
        size: Of the model; None for the tiny one.
        single: Requests of one round of one client.
        burst: Requests of one round of 16 clients.
        rounds: Rounds of each contender and kind, per start.
    """

    title: str
    size: Size | None
    single: int
    burst: int
    rounds: int


_CASES: Final = (
    Case("tiny, 1 M parameters", None, single=60, burst=640, rounds=9),
    Case(
        "small, 62 M parameters",
        Size(hidden=768, intermediate=2304, layers=8, heads=12, key_value_heads=4,
             head_dim=64),
        single=20, burst=128, rounds=9,
    ),
)  # fmt: skip


@dataclass(slots=True)
class Samples:
    """What was measured of one case, over all starts."""

    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    per_second: dict[str, list[float]] = field(default_factory=dict)
    batch_seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def added(self) -> dict[str, float]:
        """Median of milliseconds more than `direct`, round by round."""
        direct = self.milliseconds["direct"]
        return {
            name: statistics.median(
                own - base for own, base in zip(found, direct, strict=True)
            )
            for name, found in self.milliseconds.items()
        }

    @property
    def share(self) -> dict[str, float]:
        """Median share of `direct`'s throughput, round by round."""
        direct = self.per_second["direct"]
        return {
            name: statistics.median(
                own / base for own, base in zip(found, direct, strict=True)
            )
            for name, found in self.per_second.items()
        }

    @property
    def batch_factor(self) -> float:
        """One batch of 16, against 16 requests to vLLM at the same time."""
        return statistics.median(
            own / base
            for own, base in zip(
                self.batch_seconds["weightdrop"],
                self.batch_seconds["direct"],
                strict=True,
            )
        )

    @property
    def missed(self) -> list[str]:
        """The limits that are not kept, in words."""
        found = []
        if self.added["weightdrop"] > _LONGEST_ADDED_MS:
            found.append(f"adds more than {_LONGEST_ADDED_MS} ms")
        if self.share["weightdrop"] < _SMALLEST_SHARE:
            found.append(f"less than {_SMALLEST_SHARE:.0%} of direct's throughput")
        if self.batch_factor > _LARGEST_BATCH_FACTOR:
            found.append(f"a batch takes more than {_LARGEST_BATCH_FACTOR} times")
        return found


def _latency(contenders: Contenders, case: Case, samples: Samples, seed: int) -> None:
    """One request after the other, in rounds: a server that rested is slower."""
    order = random.Random(seed)  # noqa: S311  # an order, not a secret
    names = sorted(contenders)
    with contextlib.ExitStack() as stack:
        clients = {name: one.client() for name, one in contenders.items()}
        for client in clients.values():
            stack.callback(client.close)
        for _ in range(case.rounds):
            for name in order.sample(names, len(names)):
                found = [
                    clients[name].ask(f"What is {number}?")
                    for number in range(_WARM_UP + case.single)
                ]
                median = 1000 * statistics.median(found[_WARM_UP:])
                samples.milliseconds.setdefault(name, []).append(median)


def _throughput(
    contenders: Contenders, case: Case, samples: Samples, seed: int
) -> None:
    """Requests per second of 16 clients at a time."""
    order = random.Random(seed)  # noqa: S311
    names = sorted(contenders)
    for number in range(case.rounds + 1):
        for name in order.sample(names, len(names)):
            rate = _burst(contenders[name], case.burst)
            if number:  # the first round warms up
                samples.per_second.setdefault(name, []).append(rate)


def _burst(contender: Contender, count: int) -> float:
    clients = [contender.client() for _ in range(_CLIENTS)]

    def work(client: Client) -> None:
        for each in range(count // _CLIENTS):
            client.ask(f"What is {each}?")

    with concurrent.futures.ThreadPoolExecutor(_CLIENTS) as pool:
        list(pool.map(lambda client: client.ask("Hello"), clients))
        began = time.perf_counter()
        list(pool.map(work, clients))
        seconds = time.perf_counter() - began
    for client in clients:
        client.close()
    return count / seconds


def _batches(contenders: Contenders, case: Case, samples: Samples) -> None:
    """16 answers of 16 tokens: one request of ours, or 16 at the same time."""
    prompts = [f"What is {n}?" for n in range(_CLIENTS)]
    direct = [contenders["direct"].client() for _ in range(_CLIENTS)]
    ours = contenders["weightdrop"].client()
    with concurrent.futures.ThreadPoolExecutor(_CLIENTS) as pool:
        for number in range(2 * case.rounds + 2):
            began = time.perf_counter()
            list(pool.map(lambda c, p: c.ask(p, tokens=_TOKENS), direct, prompts))
            seconds = time.perf_counter() - began
            own = ours.ask(*prompts, tokens=_TOKENS)
            if number > 1:
                samples.batch_seconds.setdefault("direct", []).append(seconds)
                samples.batch_seconds.setdefault("weightdrop", []).append(own)
    for client in (ours, *direct):
        client.close()


def measure(case: Case, starts: int) -> Samples:
    """The samples of `case`, over several starts of all servers.

    Two processes of one program differ by a few per cent from start to start; a
    difference that stays is the program's.
    """
    samples = Samples()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        make_tiny_llama(model, **({"size": case.size} if case.size else {}))
        for start in range(starts):
            base = Path(folder) / str(start)
            base.mkdir()
            with servers(model, base, ours_first=start % 2 == 0) as contenders:
                _latency(contenders, case, samples, start)
                _throughput(contenders, case, samples, start)
                _batches(contenders, case, samples)
    return samples


ABOUT: Final = """\
vLLM's own server without plugins (`direct`), this container's predict route
(`weightdrop`), and a proxy of FastAPI and httpx in front of `direct` (`proxy`), each a
process of its own on loopback TCP: vLLM's CPU build with the same arguments and the
same environment. They take turns in random order, round by round; figures are medians
over the rounds of {starts} starts. Clients are Python's `http.client` and share the
processors with the servers, so that requests per second say nothing beyond the
comparison.

- *added*: milliseconds more than `direct` for one request of one token.
  Limit: {added} ms.
- *throughput*: 16 clients, one token each; share of `direct`. Limit: {share:.0%}.
- *batch*: one request of 16 instances of 16 tokens, against 16 requests to `direct` at
  the same time. Limit: {batch} times."""


def page(found: list[tuple[Case, Samples]], starts: int) -> str:
    """The documentation's page."""
    when = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    python = f"Python {platform.python_version()}"
    machine = f"{os.cpu_count()} processors, {platform.machine()}, {python}"
    lines = [
        "# What the Vertex route costs",
        "",
        f"Written by `make bench-serving` on {when} ({machine}).",
        "",
        ABOUT.format(
            starts=starts,
            added=_LONGEST_ADDED_MS,
            share=_SMALLEST_SHARE,
            batch=_LARGEST_BATCH_FACTOR,
        ),
    ]
    for case, samples in found:
        lines += ["", f"## {case.title}", "", *_table(samples)]
    return "\n".join([*lines, ""])


def _table(samples: Samples) -> list[str]:
    lines = [
        "| way | one request | added | throughput | share | batch |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, seconds in samples.milliseconds.items():
        batch = f"{samples.batch_factor:.2f}x" if name == "weightdrop" else ""
        lines.append(
            f"| {name} | {statistics.median(seconds):.2f} ms | "
            f"{samples.added[name]:+.2f} ms | "
            f"{statistics.median(samples.per_second[name]):.0f}/s | "
            f"{samples.share[name]:.1%} | {batch} |"
        )
    return [
        *lines,
        "",
        "; ".join(samples.missed).capitalize() + "."
        if samples.missed
        else "Every limit is kept.",
    ]


def main() -> int:
    """Measure, write the page, and say whether the limits are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--cases", type=int, default=len(_CASES))
    parser.add_argument("--page", type=Path, default=_PAGE)
    words = parser.parse_args()
    found = [(case, measure(case, words.starts)) for case in _CASES[: words.cases]]
    text = page(found, words.starts)
    words.page.parent.mkdir(parents=True, exist_ok=True)
    words.page.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    for case, samples in found:
        report = {"case": case.title, "per_second": samples.per_second}
        sys.stderr.write(json.dumps(report) + "\n")
    return int(any(samples.missed for _, samples in found))


if __name__ == "__main__":
    sys.exit(main())
