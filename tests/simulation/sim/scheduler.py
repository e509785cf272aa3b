"""One seeded scheduler: who runs next, what goes wrong, what time it is."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NoReturn, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from weightdrop.errors import StaleError, TransientError

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Faults:
    """How often each thing goes wrong at a port call (shares of one).

    Attributes:
        before: The call fails and nothing was done.
        after: The call was done, and its caller hears of a failure.
        kill: The process dies, before or after the call.
        delay: Somebody else runs between the call and its answer.
        duplicate: A delivery happens twice.
        stale: A read of a record returns the version before.
        full: A region has no machine.
        slow: Time passes before the call is done, or before its answer is heard:
            seconds as a rule, and an answer now and then not before a lease is over.
    """

    before: float = 0.03
    after: float = 0.03
    kill: float = 0.02
    delay: float = 0.15
    duplicate: float = 0.1
    stale: float = 0.03
    full: float = 0.15
    slow: float = 0.04


NO_FAULTS = Faults(0, 0, 0, 0, 0, 0, 0, 0)

SLOW_SECONDS = (0.1, 8.0)
"""How long a call takes: its client gives up before a lease is over."""

STALLED_SECONDS = (30.0, 150.0)
"""How long a process stands still that has been forgotten."""

STALLED = 0.3
"""Share of the slow answers that are heard by a process that stood still."""

_FAILS, _KILLS = 1, 2


MAX_CALLS = 20_000
"""Port calls of one schedule: a hundred times what a long one needs."""


class EndlessError(Exception):
    """A run that does not end."""


class ProcessKilledError(GreenletExit):
    """The process that ran the task is gone."""


@dataclass(slots=True)
class Job:
    """Something to be run once it is due, again and again until it succeeds."""

    name: str
    run: Callable[[], None]
    due: datetime
    tries: int = 0
    once: bool = False
    asleep: tuple[greenlet, Job] | None = None


@dataclass(slots=True)
class Scheduler:
    """Runs jobs as greenlets that switch at every port call.

    Attributes:
        seed: Decides everything.
        faults: What goes wrong, and how often.
        now: The virtual time.
        trace: What happened, for a person; kept only when asked for.
        calls: Port calls so far; more than MAX_CALLS end the run.
        happened: How often each thing went wrong, by what a person calls it.
    """

    seed: int
    faults: Faults
    tracing: bool = False
    now: datetime = START
    trace: list[str] = field(default_factory=list)
    calls: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    _random: random.Random = field(init=False)
    _waiting: list[tuple[datetime, int, Job]] = field(default_factory=list)
    _ready: list[Job] = field(default_factory=list)
    _planned: int = 0
    _running: list[tuple[greenlet, Job]] = field(default_factory=list)
    _hub: greenlet = field(default_factory=getcurrent)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the start."""
        return (self.now - START).total_seconds()

    # ------------------------------------------------------ for the ports

    def chance(self, share: float) -> bool:
        """Whether something that happens with this share happens now."""
        return share > 0 and self._random.random() < share

    def choose(self, things: list[T]) -> T:
        """One of `things`."""
        return things[self._random.randrange(len(things))]

    def weighted(self, shares: dict[str, int]) -> str:
        """One of the keys, each as often as its share says."""
        return self._random.choices(list(shares), list(shares.values()))[0]

    def between(self, low: float, high: float) -> float:
        """A number in a range."""
        return low + (high - low) * self._random.random()

    def pause(self, seconds: float) -> None:
        """Let time pass for whoever calls, while others go on."""
        task = getcurrent()
        if task is self._hub:
            return
        place = next(i for i, (one, _) in enumerate(self._running) if one is task)
        due = self.now + timedelta(seconds=seconds)
        nap = Job("nap", lambda: None, due, asleep=self._running.pop(place))
        self._plan(nap)
        self._hub.switch()

    def note(self, text: str) -> None:
        """Keep a line of the trace."""
        if self.tracing:
            self.trace.append(f"{self.elapsed:9.2f} {text}")

    def call(self, name: str, act: Callable[[], T]) -> T:
        """One port call, with whatever goes wrong with it."""
        if getcurrent() is self._hub:
            return act()
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise EndlessError(f"{name} is call {self.calls}")
        self._switch()
        faults = self.faults
        wrong = self._draw(faults.before, faults.kill / 2, faults.slow / 2)
        if wrong:
            self._before(name, wrong)
        try:
            result = act()
        except StaleError:
            self.note(f"{name}: stale")
            self.happened["a write lost against another, or a generation was gone"] += 1
            raise
        self.note(f"{name}")
        if self.chance(faults.delay):
            self._switch()
        wrong = self._draw(faults.after, faults.kill / 2, faults.slow / 2)
        if wrong:
            self._after(name, wrong)
        return result

    def _draw(self, *shares: float) -> int:
        """Which of these happens, counted from 1; 0 for none of them."""
        drawn = self._random.random()
        for number, share in enumerate(shares, 1):
            if drawn < share:
                return number
            drawn -= share
        return 0

    def _before(self, name: str, wrong: int) -> None:
        """What goes wrong before a call is done: it fails, kills, or takes its time."""
        if wrong == _FAILS:
            self.note(f"{name}: fails before")
            self.happened["a call failed, nothing was done"] += 1
            raise TransientError(f"{name} failed")
        if wrong == _KILLS:
            self._die(name, "before")
        self._wait(name, stalled=False)

    def _after(self, name: str, wrong: int) -> None:
        """What goes wrong after a call was done, before its caller goes on."""
        if wrong == _FAILS:
            self.note(f"{name}: done, but the answer is lost")
            self.happened["a call was done, its answer lost"] += 1
            raise TransientError(f"{name} timed out")
        if wrong == _KILLS:
            self._die(name, "after")
        self._wait(name, stalled=self.chance(STALLED))

    def _wait(self, name: str, *, stalled: bool) -> None:
        seconds = self.between(*(STALLED_SECONDS if stalled else SLOW_SECONDS))
        self.note(f"{name}: takes {seconds:.2f} s")
        what = "a process stood still" if stalled else "a call took its time"
        self.happened[what] += 1
        self.pause(seconds)

    def _die(self, name: str, when: str) -> NoReturn:
        self.note(f"{name}: killed {when}")
        self.happened["a process was killed"] += 1
        raise ProcessKilledError

    def _switch(self) -> None:
        """Let somebody else go first, if anybody is there who could."""
        if self._ready or len(self._running) > 1:
            self._hub.switch()

    # -------------------------------------------------------- for the world

    def after(
        self, seconds: float, name: str, run: Callable[[], None], *, once: bool = False
    ) -> None:
        """Run something later; again if it fails, unless `once`."""
        self._plan(Job(name, run, self.now + timedelta(seconds=seconds), once=once))

    def _plan(self, job: Job) -> None:
        if job.due <= self.now:
            self._ready.append(job)
            return
        self._planned += 1
        heapq.heappush(self._waiting, (job.due, self._planned, job))

    def step(self) -> bool:
        """Let one thing happen; False when nothing is left to happen."""
        runnable = len(self._running)
        if runnable and (not self._ready or runnable > 3 or self.chance(0.7)):
            self._resume(self._random.randrange(runnable))
            return True
        if self._ready:
            self._start(self._ready.pop(self._random.randrange(len(self._ready))))
            return True
        if not self._waiting:
            return False
        self.now = self._waiting[0][0]
        while self._waiting and self._waiting[0][0] <= self.now:
            self._ready.append(heapq.heappop(self._waiting)[2])
        return True

    def busy(self, *, besides: frozenset[str]) -> bool:
        """Whether anything runs, or is to run, that is not named here."""
        jobs = [
            *self._ready,
            *(job for _, _, job in self._waiting),
            *(job for _, job in self._running),
        ]
        return any(job.name not in besides for job in jobs)

    def _start(self, job: Job) -> None:
        if job.asleep:
            self._running.append(job.asleep)
            self._resume(len(self._running) - 1)
            return
        if self.chance(self.faults.duplicate) and not job.once:
            self.happened["something was delivered twice"] += 1
            self.after(self.between(0, 5), job.name + " (again)", job.run, once=True)
        job.tries += 1
        self.note(f"> {job.name}")
        self._running.append((greenlet(job.run, parent=self._hub), job))
        self._resume(len(self._running) - 1)

    def _resume(self, index: int) -> None:
        task, job = self._running[index]
        try:
            ended = task.switch()
        except TransientError as error:
            ended = error
        if not task.dead:
            return
        self._running.remove((task, job))
        if isinstance(ended, BaseException) and not job.once:
            self.happened["something was delivered again, after a failure"] += 1
            job.due = self.now + timedelta(seconds=min(60, 2**job.tries))
            self._plan(job)

    def cancel_all(self) -> None:
        """Let go of what still runs."""
        for task, _ in self._running:
            task.throw(ProcessKilledError)
        self._running.clear()
