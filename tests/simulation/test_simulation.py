"""The pipeline under every fault that a port can have, seed by seed."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sim.invariants import InvariantError
from sim.ports import MUTE, SimBus
from sim.scheduler import NO_FAULTS, Faults
from sim.world import run_schedule

from fakes.records import MemoryRecords
from weightdrop.core.deployment import naming, steps
from weightdrop.core.deployment.phases import MOVES, Phase
from weightdrop.core.deployment.record import Deployment, Message
from weightdrop.errors import StaleError, TransientError
from weightdrop.ports import Platform, Resource, Versioned
from weightdrop.services import pace
from weightdrop.services.pace import Pace
from weightdrop.services.release import Release
from weightdrop.services.session import Session
from weightdrop.services.sweep import Sweep

SCHEDULES = 20_000
CHUNK = 500
PLANTED = 6_000
"""Schedules within which each planted bug must be found."""

SOME = range(8)
"""Seeds that are run twice."""

COVERED = 8_000
"""Schedules within which every move must have been made."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Warnings about planted faults are expected by the thousand."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, SCHEDULES, CHUNK))
def test_every_invariant_holds_on_every_schedule(first: int) -> None:
    """Lost, repeated, reordered or cut short: the same truth is found."""
    for seed in range(first, first + CHUNK):
        try:
            run_schedule(seed, Faults())
        except InvariantError as error:
            pytest.fail(f"seed {seed}: {error}; make simulate SEED={seed}")


def test_without_faults_every_revision_rests_where_its_bytes_say() -> None:
    """In a calm world only that fails whose server answers no prompt."""
    failed = {
        revision.options.model_display_name == MUTE
        for seed in range(200)
        for deployment in run_schedule(seed, NO_FAULTS).deployments()
        for revision in deployment.revisions
        if revision.phase is Phase.FAILED
    }

    assert failed == {True}


def test_a_seed_replays_exactly() -> None:
    """The trace of a failure is the trace of its seed, always."""
    first, second = (
        [run_schedule(seed, Faults(), tracing=True).scheduler.trace for seed in SOME]
        for _ in range(2)
    )

    assert first == second
    assert max(map(len, first)) > 100


def test_schedules_make_every_move_of_the_table() -> None:
    """A move that no schedule makes would be a hole in what is proved."""
    left = {(phase, to) for phase, ways in MOVES.items() for to in ways}
    for seed in range(COVERED):
        left -= run_schedule(seed, Faults()).invariants.moves.keys()
        if not left:
            return
    pytest.fail(f"not made in {COVERED} schedules: {sorted(left)}")


def forgotten_outbox(patch: pytest.MonkeyPatch) -> None:
    """What a crash left in the outbox is struck out without being published."""
    honest = Session.publish

    def publish(self: Session) -> None:
        held = self.held
        if held is not None and not self._sent:
            self._sent.update(
                message.id
                for message in held.deployment.outbox
                if message.time < self.clock.now()
            )
        honest(self)

    patch.setattr(Session, "publish", publish)


def random_ids(patch: pytest.MonkeyPatch) -> None:
    """A deployed model has a new id at every try."""

    def drawn(_: str) -> str:
        return str(10**9 + secrets.randbelow(9 * 10**9))

    patch.setattr(naming, "deployed_model_id", drawn)


def random_event_ids(patch: pytest.MonkeyPatch) -> None:
    """The same news has another id each time it is published."""
    honest = SimBus.publish

    def publish(self: SimBus, message: Message) -> None:
        honest(self, replace(message, id=secrets.token_hex(16)))

    patch.setattr(SimBus, "publish", publish)


def unguarded_write(patch: pytest.MonkeyPatch) -> None:
    """Whoever writes last wins."""
    honest = MemoryRecords.put

    def put(
        self: MemoryRecords,
        deployment: Deployment,
        *,
        version: str,
        events: tuple[Message, ...] = (),
    ) -> Versioned:
        held = self.get(deployment.id)
        return honest(
            self,
            deployment,
            version=held.version if held else version,
            events=events,
        )

    patch.setattr(MemoryRecords, "put", put)


def told_before_written(patch: pytest.MonkeyPatch) -> None:
    """Events are published, then the phase is written."""
    honest = Session.save

    def save(self: Session, changed: Deployment) -> None:
        for message in changed.outbox:
            if message.id not in self._sent:
                try:
                    self.bus.publish(message)
                except TransientError:
                    break
        honest(self, changed)

    patch.setattr(Session, "save", save)


def swallowed_conflict(patch: pytest.MonkeyPatch) -> None:
    """A write that lost is taken for a write that won."""
    honest = Session.save

    def save(self: Session, changed: Deployment) -> None:
        try:
            honest(self, changed)
        except StaleError:
            self.held = Versioned(changed, self.held.version if self.held else "1")

    patch.setattr(Session, "save", save)


def no_pace(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a turn."""
    patch.setattr(Pace, "_wait", lambda _: None)


def late_turn(patch: pytest.MonkeyPatch) -> None:
    """A turn is taken however late its caller hears of it."""
    patch.setattr(pace, "LATE", timedelta(hours=1))


def record_before_world(patch: pytest.MonkeyPatch) -> None:
    """What the sweep sees is judged by a record that it read before."""
    honest = Sweep._endpoint

    def endpoint(self: Sweep, resource: Resource) -> tuple[str, ...]:
        old = MemoryRecords()
        held = self.records.get(resource.deployment_id)
        if held is not None:
            old.create(held.deployment)
        return honest(replace(self, records=old), resource)

    patch.setattr(Sweep, "_endpoint", endpoint)


class Gone:
    """A platform on which no endpoint is."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def __getattr__(self, name: str) -> object:
        return getattr(self._platform, name)

    def endpoint(self, name: str) -> None:
        """See weightdrop.ports.Platform."""


def list_believed(patch: pytest.MonkeyPatch) -> None:
    """What was not listed is gone, though the record was read after the list."""
    honest = Sweep._note

    def note(self: Sweep, deployment_id: str) -> None:
        gone: Any = Gone(self.platform)
        honest(replace(self, platform=gone), deployment_id)

    patch.setattr(Sweep, "_note", note)


def blind_sweep(patch: pytest.MonkeyPatch) -> None:
    """The sweep compares what it sees, and misses nothing."""
    patch.setattr(Sweep, "_missed", lambda *_: ())


def own_removed(patch: pytest.MonkeyPatch) -> None:
    """What was left in a region is removed, though the deployment has come back."""
    patch.setattr(Release, "_claims", lambda *_: False)


def no_renewal(patch: pytest.MonkeyPatch) -> None:
    """A lease lasts as long as it lasts, whatever is still to be done."""
    patch.setattr(Session, "renew", lambda _: None)


def three_at_once(patch: pytest.MonkeyPatch) -> None:
    """A third revision starts beside a canary."""

    def begin(deployment: Deployment) -> steps.Step:
        waiting = [r for r in deployment.revisions if r.phase is Phase.ACCEPTED]
        return steps.Start(waiting[0]) if waiting else steps.Rest()

    patch.setattr(steps, "_begin", begin)


@pytest.mark.parametrize(
    "plant",
    [
        no_pace,
        late_turn,
        record_before_world,
        list_believed,
        blind_sweep,
        own_removed,
        no_renewal,
        three_at_once,
        forgotten_outbox,
        random_ids,
        random_event_ids,
        unguarded_write,
        told_before_written,
        swallowed_conflict,
    ],
)
def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A simulation that cannot fail proves nothing."""
    plant(monkeypatch)

    for seed in range(PLANTED):
        try:
            run_schedule(seed, Faults(slow=0.15))
        except Exception:  # noqa: BLE001 - a crash finds the bug as well
            return
    pytest.fail(f"not found in {PLANTED} schedules")
