"""Drop many folders while functions are killed at random; all must come to rest.

Real functions under functions-framework, Google's emulators of Firestore and
Pub/Sub (which pushes requests to on_request), the bucket server, and the
Vertex AI stand-in with a container that costs next to nothing. Of ten drops two
become ready, four become ready and are retired by their ttl, two are rejected,
and two fail because their server ends. Exit status: 0 when every drop rests
where it must, each phase was told with one event id, and no dead letter is left.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from controllab import hotel
from controllab.drops import Drop, container, drop
from controllab.lab import (
    BUCKET,
    EVENTS_SUBSCRIPTION,
    HOST,
    Lab,
    Ticker,
    free_port,
    lab,
)

from weightdrop import codec
from weightdrop.core.deployment.events import EVENTS_TOPIC, event_type
from weightdrop.core.deployment.naming import deployment_id
from weightdrop.core.deployment.phases import RESTING, Phase

VICTIMS = ("on_artifact", "on_request", "on_tick")
UPLOADS_AT_ONCE = 8
PAGE = 500
LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Storm:
    """What is done.

    Attributes:
        drops: How many folders.
        over: Seconds over which they are dropped.
        kill_every: Mean seconds between two kills; 0 kills nobody.
        patience: Seconds after the last drop in which all must rest.
        seed: Decides who is killed and when.
    """

    drops: int
    over: float
    kill_every: float
    patience: float
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went.

    Attributes:
        faults: What is not as it must be; empty when all is well.
        facts: For a person.
    """

    faults: tuple[str, ...]
    facts: dict[str, Any]


def main() -> int:
    """Run one storm and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drops", type=int, default=1000)
    parser.add_argument("--over", type=float, default=60.0)
    parser.add_argument("--kill-every", type=float, default=3.0)
    parser.add_argument("--patience", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="Folder in which logs stay.")
    chosen = vars(parser.parse_args())
    keep = chosen.pop("keep")
    storm = Storm(**chosen)
    # So that everything that was started is ended too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(2))
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(storm, Path(keep or folder), say=partial(print, flush=True))
    for name, value in outcome.facts.items():
        print(f"{name}: {value}")
    for fault in outcome.faults[:50]:
        print(f"FAULT: {fault}", file=sys.stderr)
    return int(bool(outcome.faults))


def run(storm: Storm, home: Path, *, say: Any = lambda _: None) -> Outcome:
    """Run one storm in `home`."""
    home.mkdir(parents=True, exist_ok=True)
    drops = [drop(number) for number in range(storm.drops)]
    told = {"settle_seconds": "1", "poll_seconds": "1", "lease_seconds": "10"}
    # The storm is about deaths, not about the pace that Vertex AI asks for.
    told["pace_seconds"] = "0"
    with lab(home, **told) as made:
        _start(made, home)
        begin = time.monotonic()
        stop = threading.Event()
        killer = threading.Thread(target=_kill, args=(made, storm, stop))
        with Ticker(made.members["on_tick"].url, seconds=1.0):
            killer.start()
            try:
                _drop_all(made, drops, over=storm.over)
                dropped = time.monotonic() - begin
                say(f"dropped {len(drops)} folders in {dropped:.1f} s")
                phases = _rest(made, drops, storm.patience, stop, say=say)
            finally:
                stop.set()
                killer.join()
        took = time.monotonic() - begin
        outcome = _judge(made, drops, phases)
    kills = {name: made.members[name].deaths - 1 for name in VICTIMS}
    facts = {
        "drops": len(drops),
        "dropped in": f"{dropped:.1f} s",
        "all at rest after": f"{took:.1f} s",
        "kills": kills,
        **outcome.facts,
    }
    return Outcome(outcome.faults, facts)


def _start(made: Lab, home: Path) -> None:
    ports = {name: free_port() for name in ("bucket", "on_artifact")}
    door = home / "hotel.sock"
    made.add("hotel", str(Path(hotel.__file__)), str(door), port=0)
    made.bucket(port=ports["bucket"], notify=f"http://{HOST}:{ports['on_artifact']}")
    port = free_port()
    made.add(
        "vertex",
        *("-m", "weightdrop.local.vertex", "--port", str(port)),
        *("--home", str(home / "vertex"), "--gpus", "100000"),
        *("--storage-endpoint", made.members["bucket"].url),
        port=port,
        PYTHONPATH=container(home),
        WEIGHTDROP_LAB_HOST=str(door),
    )
    made.function("on_artifact", port=ports["on_artifact"])
    for name in ("on_request", "on_tick"):
        made.function(name)
    for name, member in made.members.items():
        if name != "hotel":
            member.ready()
    made.topics(request_url=made.members["on_request"].url)


def _kill(made: Lab, storm: Storm, stop: threading.Event) -> None:
    """Kill a function now and then, and start it again."""
    chance = random.Random(storm.seed)  # noqa: S311  # a storm that can be repeated
    while storm.kill_every and not stop.wait(
        chance.uniform(0.5, 1.5) * storm.kill_every
    ):
        victim = made.members[chance.choice(VICTIMS)]
        victim.kill()
        stop.wait(chance.uniform(0.0, 0.5))
        victim.start()


def _drop_all(made: Lab, drops: list[Drop], *, over: float) -> None:
    """Copy the folders, spread evenly over the time."""
    begin = time.monotonic()
    url = f"{made.members['bucket'].url}/upload/storage/v1/b/{BUCKET}/o"
    with (
        httpx.Client(trust_env=False, timeout=120) as client,
        ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool,
    ):

        def copy(number: int) -> None:
            wait = begin + over * number / len(drops) - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            for name, content in drops[number].files:
                query = {
                    "uploadType": "media",
                    "name": f"{drops[number].prefix}/{name}",
                }
                client.post(url, params=query, content=content).raise_for_status()

        list(pool.map(copy, range(len(drops))))


def _phases(made: Lab) -> dict[str, Phase]:
    records = made.app().records
    found: dict[str, Phase] = {}
    token = ""
    while True:
        page = records.page(phase=None, size=PAGE, token=token)
        found |= {it.id: it.phase for it in page.deployments}
        token = page.next_token
        if not token:
            return found


def _rest(
    made: Lab,
    drops: list[Drop],
    patience: float,
    stop: threading.Event,
    *,
    say: Any,
) -> dict[str, Phase]:
    """Wait until every drop rests where it must, or for as long as allowed.

    When nine of ten rest, no more functions are killed: faults stop, and what
    is left must come to rest.
    """
    wanted = {deployment_id(BUCKET, it.prefix): it.rests for it in drops}
    deadline = time.monotonic() + patience
    said = ""
    while True:
        phases = _phases(made)
        there = sum(phases.get(name) is rests for name, rests in wanted.items())
        if there >= 0.9 * len(wanted):
            stop.set()
        line = ", ".join(
            f"{n} {it}" for it, n in sorted(Counter(phases.values()).items())
        )
        if line != said:
            say(f"{there}/{len(wanted)} at rest: {line}")
            said = line
        if there == len(wanted) or time.monotonic() > deadline:
            return phases
        time.sleep(LOOK_SECONDS)


def _judge(made: Lab, drops: list[Drop], phases: dict[str, Phase]) -> Outcome:
    faults: list[str] = []
    wanted = {deployment_id(BUCKET, it.prefix): it.rests for it in drops}
    for name, rests in wanted.items():
        if phases.get(name) is not rests:
            faults.append(f"{name} is {phases.get(name)} and not {rests}")
    faults += [f"{name} was never dropped" for name in phases if name not in wanted]
    told, copies = _told(made)
    for name, rests in wanted.items():
        for kind in _kinds(rests):
            ids = told[name, kind]
            if len(ids) != 1:
                faults.append(f"{name} told {kind} with {len(ids)} ids")
    letters = made.app().dead_letters.letters(limit=1000)
    faults += [f"dead letter {it.id}: {it.reason} {it.data[:200]}" for it in letters]
    facts = {
        "phases": dict(Counter(str(it) for it in phases.values())),
        "events delivered": copies,
        "different events": sum(map(len, told.values())),
        "dead letters": len(letters),
    }
    return Outcome(tuple(faults), facts)


def _kinds(rests: Phase) -> list[str]:
    """The types that must have been told once, whatever happened."""
    kinds = [event_type(rests)]
    if rests is Phase.RETIRED:
        kinds.append(event_type(Phase.READY))
    if rests is not Phase.REJECTED:
        kinds.append(event_type(Phase.ACCEPTED))
    return kinds


def _told(made: Lab) -> tuple[dict[tuple[str, str], set[str]], int]:
    """Event ids by deployment and type of resting phases, and all deliveries."""
    told: dict[tuple[str, str], set[str]] = defaultdict(set)
    copies = 0
    deadline = time.monotonic() + 60
    lasting = {event_type(it) for it in (*RESTING, Phase.ACCEPTED)}
    for message in made.pulled(EVENTS_SUBSCRIPTION):
        copies += 1
        event = codec.received(
            topic=EVENTS_TOPIC,
            data=message.data,
            attributes=message.attributes,
            ordering_key=message.ordering_key,
        )
        if event.type in lasting:
            told[event.ordering_key, event.type].add(event.id)
        if time.monotonic() > deadline:
            break
    return told, copies


if __name__ == "__main__":
    sys.exit(main())
