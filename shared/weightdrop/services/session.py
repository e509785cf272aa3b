"""Reading and writing one record: guarded writes and the outbox.

An event is written in the same write as the phase it tells of, published
after, and struck out by the next write. What a crash leaves in the outbox is
published by the next run; consumers drop repeats by id.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from weightdrop import telemetry
from weightdrop.core.deployment.record import Deployment
from weightdrop.core.deployment.steps import due
from weightdrop.errors import StaleError, TransientError
from weightdrop.ports import Bus, Clock, Records, Versioned
from weightdrop.services import spans

log = logging.getLogger(__name__)

ENOUGH = 0.75
"""Part of a lease that a step may take: 90 of 120 s. It waits for its turn at Vertex AI
for 30 s at most, and an answer to its call is given up after 50 s."""


@dataclass(slots=True)
class Session:
    """One record during one run of a service.

    Attributes:
        records: Where it is kept.
        bus: Where its messages go.
        clock: Time.
        poll: Seconds to leave the platform alone while it works.
        held: The record and the version that guards the next write; None
            while there is no record.
    """

    records: Records
    bus: Bus
    clock: Clock
    poll: float
    held: Versioned | None = None
    _sent: set[str] = field(default_factory=set)
    _span: timedelta = timedelta()
    _leases: set[datetime] = field(default_factory=set)
    _wrote: bool = False

    @property
    def deployment(self) -> Deployment:
        """The record as it was last read or written.

        Raises:
            LookupError: If there is no record; ask `held` first.
        """
        if self.held is None:
            raise LookupError("no record was loaded")
        return self.held.deployment

    def load(
        self, deployment_id: str, *, held: Versioned | None = None
    ) -> Deployment | None:
        """Read the record, or take it as it was just read; None if there is none."""
        self.held = held or self.records.get(deployment_id)
        if self.held is None:
            return None
        telemetry.about(self.held.deployment)
        return self.held.deployment

    def save(self, changed: Deployment) -> None:
        """Write `changed` where the record still is as it was read.

        Raises:
            StaleError: If somebody else wrote first; nothing was written.
        """
        now = self.clock.now()
        before = self.held.deployment if self.held else None
        known = {message.id for message in before.outbox} if before else set()
        fresh = tuple(
            message
            for message in changed.outbox
            if message.type and message.id not in known
        )
        outbox = tuple(m for m in changed.outbox if m.id not in self._sent)
        when = due(changed, now, self.poll, owing=bool(outbox))
        stripped = replace(changed, outbox=outbox, updated=now, due=when)
        if self.held is None:
            self.held = self.records.create(stripped, events=fresh)
        else:
            self.held = self.records.put(
                stripped, version=self.held.version, events=fresh
            )
        self._wrote = True
        telemetry.about(stripped)
        spans.moved(before, stripped)

    def claim(self, seconds: float) -> None:
        """Be the only one to take the record's steps for so many seconds.

        Raises:
            StaleError: If somebody else is.
        """
        held_until = self.deployment.leased_until
        if held_until is not None and held_until > self.clock.now():
            raise StaleError(f"{self.deployment.id} is being worked on")
        self._span = timedelta(seconds=seconds)
        self._lease()

    def renew(self) -> None:
        """Stay the only one, where the lease will not last for one more step.

        Raises:
            StaleError: If it has run out, and somebody else has come.
        """
        # A write that was answered late has leased what is over by now.
        while self._running_out():
            self._lease()

    def _running_out(self) -> bool:
        until = self.deployment.leased_until
        if until is None or until not in self._leases:
            return False
        return until - self.clock.now() < self._span * ENOUGH

    def _lease(self) -> None:
        until = self.clock.now() + self._span
        # Even where the answer of the write is lost, the lease may be there.
        self._leases.add(until)
        self.save(replace(self.deployment, leased_until=until))

    def give_up(self) -> None:
        """Let others take the record's steps: this run ends before it is done.

        Without it, what one write of somebody else or one refusal of the platform
        cut short would wait until the lease ends. Only a crash may cost that.
        """
        while self._leases:
            try:
                held = self.records.get(self.deployment.id)
                if held is not None and held.deployment.leased_until in self._leases:
                    free = replace(held.deployment, leased_until=None)
                    self.records.put(free, version=held.version)
                self._leases.clear()
            except StaleError:
                continue
            except TransientError as error:
                log.warning("%s stays leased: %s", self.deployment.id, error)
                self._leases.clear()

    def publish(self) -> None:
        """Publish what is in the outbox, in order; stop at the first refusal.

        A refusal is not an error here: the record says what is left, and the
        next run publishes it.
        """
        for message in self.deployment.outbox:
            if message.id in self._sent:
                continue
            try:
                self.bus.publish(telemetry.sent(message))
            except TransientError as error:
                log.warning("not published yet: %s %s", message.id, error)
                return
            self._sent.add(message.id)

    def close(self, *, got_on: bool = False) -> None:
        """Publish what is left, strike it out, and say when to look again.

        Args:
            got_on: Whether the record's setbacks are over.

        Raises:
            StaleError: If somebody else wrote first; they publish it again.
        """
        if self.held is None or self._somebody_elses():
            return
        self.publish()
        sent = any(message.id in self._sent for message in self.deployment.outbox)
        over = got_on and self.deployment.setbacks > 0
        if sent or self._leases or over or self._overdue():
            lease = None if self._leases else self.deployment.leased_until
            changed = replace(self.deployment, leased_until=lease)
            self.save(replace(changed, setbacks=0, setback="") if over else changed)
            self._leases.clear()

    def _somebody_elses(self) -> bool:
        """Whether the outbox is in other hands: a write would only be in their way."""
        until = self.deployment.leased_until
        leased = until is not None and until > self.clock.now()
        return leased and until not in self._leases and not self._wrote

    def _overdue(self) -> bool:
        """Whether ticks would go on looking at a record that needs no look."""
        now = self.clock.now()
        said = self.deployment.due
        if said is None or said > now:
            return False
        owing = bool(self.deployment.outbox)
        return due(self.deployment, now, self.poll, owing=owing) != said
