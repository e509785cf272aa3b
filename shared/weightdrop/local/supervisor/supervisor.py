"""The loop that keeps the processes of a local stack running."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType

from weightdrop.errors import UsageError, WeightdropError
from weightdrop.local.supervisor import preflight, processes, stack
from weightdrop.local.supervisor.children import Child
from weightdrop.local.supervisor.layout import (
    UNWANTED,
    Layout,
    Service,
    services,
    stack_defaults,
    stack_variables,
)
from weightdrop.settings import child_environment

ANSWER_SECONDS = 120.0
"""A machine that compiles every import for the first time needs most of it."""

FATAL_DEATHS = 3
"""Deaths in a row, before its first answer, after which starting is given up."""

KILL_SECONDS = 2.0
ORPHAN_SECONDS = 3.0
_PROBE_EVERY = 0.1
_WATCH_EVERY = 2.0
_PATIENCE = 2.0
"""Seconds after which a person wants to know what is being waited for."""
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """Runs one local stack in this process until a signal ends it.

    Args:
        layout: Where the stack lives; port 0 lets it find free ones.
        members: Says which processes it has; the real stack's by default.
        say: Called with a line for a person whenever something changes.
        ready: Called once, when all processes have answered.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        members: Callable[[Layout], tuple[Service, ...]] = services,
        say: Callable[[str], None],
        ready: Callable[[stack.Stack], None],
    ) -> None:
        self._layout = layout
        self._say = say
        self._on_ready = ready
        self._ready = False
        self._signals = 0
        self._orphans: dict[int, float] = {}
        self._members = members
        self._children: list[Child] = []
        self._environment: dict[str, str] = {}

    def run(self) -> None:
        """Start, watch and restart until SIGINT, SIGTERM or SIGHUP, then stop all.

        Raises:
            UsageError: If something is in the way; nothing was started.
            WeightdropError: If a process cannot be brought to answer; all
                that was started is stopped.
        """
        home = self._layout.home
        preflight.check_layout(self._layout)
        preflight.check_packages()
        preflight.prepare_home(self._layout)
        with preflight.claim(home):
            preflight.end_leftovers(home)
            preflight.forget_emulated(self._layout)
            self._settle()
            processes.adopt_orphans()
            with self._wake_on_signals() as bell:
                try:
                    self._start()
                    self._watch(bell)
                finally:
                    self._stop(bell)

    def _settle(self) -> None:
        """Decide on ports, and so on processes, now that no leftover has any."""
        layout = preflight.choose_port(self._layout)
        members = self._members(layout)
        preflight.check_ports(members)
        self._layout = layout
        self._children = [
            Child(
                service=service,
                folder=layout.home / "run" / service.name,
                log=layout.home / "logs" / f"{service.name}.log",
            )
            for service in members
        ]
        self._environment = child_environment(
            stack_variables(layout), defaults=stack_defaults(layout), without=UNWANTED
        )

    # ------------------------------------------------------------------ start

    def _start(self) -> None:
        try:
            for child in self._children:
                child.bound_log()
                child.start(self._environment)
            stack.write(self._described())
        except OSError as error:
            raise UsageError(
                f"The stack cannot be started in {self._layout.home} "
                f"({error.strerror or error}): free the folder's disk, or choose "
                "another with --home."
            ) from error

    def _publish(self) -> None:
        """Write stack.json anew; a disk that has become full ends nothing."""
        try:
            stack.write(self._described())
        except OSError as error:
            self._say(f"{self._layout.home} cannot be written: {error.strerror}")

    # ------------------------------------------------------------------ watch

    def _watch(self, bell: socket.socket) -> None:
        begin = time.monotonic()
        next_care, next_word = 0.0, begin + _PATIENCE
        while not self._signals:
            self._reap()
            self._restart()
            self._probe(begin + ANSWER_SECONDS)
            if not self._ready and time.monotonic() > next_word:
                next_word += 5 * _PATIENCE
                self._say(f"Waiting for: {', '.join(self._silent())}")
            if time.monotonic() >= next_care:
                next_care = time.monotonic() + _WATCH_EVERY
                self._end_orphans()
                for child in self._children:
                    child.bound_log()
            _rest(bell, self._pause())

    def _pause(self) -> float:
        """How long nothing needs to be done unless a signal comes."""
        if not all(child.answered for child in self._children):
            return _PROBE_EVERY
        return _WATCH_EVERY

    def _reap(self) -> None:
        for child in self._children:
            status = child.look()
            if status is not None:
                self._mourn(child, status)
        ours = {child.pid for child in self._children}
        for pid in [pid for pid in self._orphans if pid not in ours]:
            try:
                ended = os.waitpid(pid, os.WNOHANG)[0]
            except ChildProcessError:
                ended = pid
            if ended:
                del self._orphans[pid]

    def _mourn(self, child: Child, status: int) -> None:
        title = child.service.title
        how = (
            f"was killed by {signal.Signals(-status).name}"
            if status < 0
            else f"ended with status {status}"
        )
        if not self._ready and child.deaths >= FATAL_DEATHS:
            tail = "\n".join(f"  {line}" for line in child.tail(15))
            raise WeightdropError(
                f"The {title} {how} {child.deaths} times before it answered; its "
                f"log {child.log} ends with:\n{tail}"
            )
        wait = (child.restart_at or 0) - time.monotonic()
        self._say(
            f"The {title} {how}; starting it again in {max(wait, 0):.1f} s "
            f"(log: {child.log})"
        )

    def _restart(self) -> None:
        now = time.monotonic()
        due = [
            child
            for child in self._children
            if child.restart_at is not None and child.restart_at <= now
        ]
        for child in due:
            try:
                child.start(self._environment)
            except OSError as error:
                self._say(f"The {child.service.title} cannot be started: {error}")
                child.restart_at = now + _WATCH_EVERY
        if due:
            self._publish()

    def _probe(self, give_up: float) -> None:
        silent = [child for child in self._children if not child.answered]
        for child in silent:
            if child.probe() and self._ready:
                self._say(f"The {child.service.title} answers again")
        if self._ready or not silent:
            return
        if all(child.answered for child in self._children):
            self._ready = True
            self._publish()
            self._on_ready(self._described())
        elif time.monotonic() > give_up:
            late = next(child for child in silent if not child.answered)
            raise WeightdropError(
                f"The {late.service.title} did not answer within "
                f"{ANSWER_SECONDS:.0f} s: read its log {late.log}."
            )

    def _silent(self) -> list[str]:
        return [child.service.title for child in self._children if not child.answered]

    def _described(self) -> stack.Stack:
        pids = {child.service.name: child.pid for child in self._children}
        return stack.describe(self._layout, pids=pids, ready=self._ready)

    def _end_orphans(self) -> None:
        """Kill what outlived its own parent and so became our child."""
        ours = {child.pid for child in self._children}
        now = time.monotonic()
        for pid in processes.children_of(os.getpid()):
            if pid not in ours:
                since = self._orphans.setdefault(pid, now)
                if now - since > ORPHAN_SECONDS:
                    processes.send([pid], signal.SIGKILL)

    # ------------------------------------------------------------------- stop

    def _stop(self, bell: socket.socket) -> None:
        """End everything that was started, the slow ones by force."""
        heard, begin = self._signals, time.monotonic()
        if heard:
            # The terminal may be gone: that is one of the signals.
            with contextlib.suppress(OSError):
                self._say("Stopping everything; a second Ctrl-C does it at once.")
        for child in self._children:
            child.terminate()
        while slow := [child for child in self._children if child.running]:
            for child in slow:
                # A second Ctrl-C means: now.
                waited = time.monotonic() - begin
                if waited > child.service.grace or self._signals > heard:
                    child.kill_group()
            _rest(bell, _PROBE_EVERY)
        for child in self._children:
            child.kill_group()
        deadline = time.monotonic() + KILL_SECONDS
        while left := processes.descendants(os.getpid()):
            if time.monotonic() > deadline:
                break
            processes.send(left, signal.SIGKILL)
            self._reap_all()
            time.sleep(_PROBE_EVERY / 2)
        self._reap_all()
        stack.remove(self._layout.home)

    def _reap_all(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    # ---------------------------------------------------------------- signals

    @contextlib.contextmanager
    def _wake_on_signals(self) -> Iterator[socket.socket]:
        """Let signals end the loop's rest, and count those that ask to stop."""

        def count(_number: int, _frame: FrameType | None) -> None:
            self._signals += 1

        def ignore(_number: int, _frame: FrameType | None) -> None:
            """Only wake the loop."""

        ear, bell = socket.socketpair()
        ear.settimeout(0)
        bell.settimeout(0)
        heard = set(_STOPPING)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
            heard.remove(signal.SIGHUP)
        before = {number: signal.signal(number, count) for number in heard}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, ignore)
        old_fd = signal.set_wakeup_fd(ear.fileno(), warn_on_full_buffer=False)
        try:
            yield bell
        finally:
            signal.set_wakeup_fd(old_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            ear.close()
            bell.close()


def _rest(bell: socket.socket, seconds: float) -> None:
    """Sleep until a signal rings or `seconds` are over."""
    if select.select([bell], [], [], seconds)[0]:
        with contextlib.suppress(BlockingIOError):
            while bell.recv(4096):
                pass
