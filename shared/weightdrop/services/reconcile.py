"""Reconcile: take the steps of one record until it rests or must wait.

Load the record, ask core for the next step, take it with ids derived from the
digest, write what came of it where the record is still as it was read. A crash
between taking a step and writing it down costs nothing: the next run takes the
same step and finds its own work.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from weightdrop import telemetry
from weightdrop.core.deployment import steps
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import WHOLE, Deployment, Revision
from weightdrop.core.deployment.transitions import (
    fail,
    move,
    progress,
    reactivate,
    supersede,
    with_revision,
    withdraw,
)
from weightdrop.errors import (
    PermanentError,
    QuotaError,
    StaleError,
    TransientError,
    WeightdropError,
)
from weightdrop.ports import Bus, Clock, Operation, Platform, Records, Versioned
from weightdrop.services import specs
from weightdrop.services.elsewhere import Elsewhere
from weightdrop.services.last_words import last_words
from weightdrop.services.location import located
from weightdrop.services.pace import Pace
from weightdrop.services.release import Release, Taken
from weightdrop.services.session import Session
from weightdrop.services.verify import Verifier, settle_traffic
from weightdrop.settings import Settings

log = logging.getLogger(__name__)

MAX_STEPS = 40
"""Steps of one run; a record that needs more is looked at by the next tick."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """The ports that reconciling takes.

    Attributes:
        records: The records.
        bus: Where events go.
        platform: Vertex AI.
        clock: Time.
        settings: Deadlines, image, endpoints, pace.
        pause: How to wait for a turn, in seconds.
    """

    records: Records
    bus: Bus
    platform: Platform
    clock: Clock
    settings: Settings
    pause: Callable[[float], None] = time.sleep

    def deployment(
        self, deployment_id: str, *, held: Versioned | None = None
    ) -> Deployment | None:
        """Take steps until the record rests or must wait; None if there is none.

        Args:
            deployment_id: Which one.
            held: The record, where it has just been read.

        Raises:
            TransientError: If the platform could not be asked; come again.
            StaleError: If somebody else works on the record.
        """
        session = Session(
            self.records, self.bus, self.clock, self.settings.poll_seconds
        )
        loaded = session.load(deployment_id, held=held)
        if loaded is None:
            return None
        try:
            if not isinstance(steps.next_step(loaded, self.clock.now()), steps.Rest):
                session.claim(self.settings.lease_seconds)
            self._steps(session)
        except WeightdropError:
            session.give_up()
            raise
        return session.deployment

    def _steps(self, session: Session) -> None:
        for _ in range(MAX_STEPS):
            session.renew()
            taken = self._take(session.deployment)
            if taken.deployment and taken.deployment != session.deployment:
                self._write(session, taken.deployment)
                session.publish()
            if taken.wait or taken.deployment is None:
                break
        session.close(got_on=True)

    def _write(self, session: Session, changed: Deployment) -> None:
        before = session.deployment
        try:
            session.save(replace(changed, setbacks=0, setback=""))
        except StaleError:
            self.release.undo(before)
            raise

    @property
    def release(self) -> Release:
        """What frees what a revision holds."""
        return Release(self.records, self.platform)

    def _take(self, deployment: Deployment) -> Taken:
        step = steps.next_step(deployment, self.clock.now())
        if isinstance(step, steps.Rest):
            return Taken(None)
        act = self._ACTS[type(step)]
        try:
            with telemetry.step(type(step).__name__):
                return act(self, deployment, step.revision)
        except PermanentError as error:
            return self._refused(deployment, step.revision, error)

    def _refused(
        self, deployment: Deployment, revision: Revision, error: PermanentError
    ) -> Taken:
        if not revision.phase.in_flight:
            log.error("%s: %s", deployment.id, error)
            raise TransientError(str(error)) from error
        reason = (
            Reason.QUOTA
            if isinstance(error, QuotaError)
            else _BLAME.get(revision.phase, Reason.PLATFORM)
        )
        return self._failed(deployment, revision, reason, str(error))

    def _failed(
        self,
        deployment: Deployment,
        revision: Revision,
        reason: Reason,
        words: str,
        *,
        tail: tuple[str, ...] = (),
    ) -> Taken:
        """End `revision` badly, with the last words of its server if it had one.

        For want of a machine it begins anew in another region, if it may.
        """
        away = Elsewhere(self.platform, self.clock, self.settings)
        there = away.begin(deployment, revision, reason)
        if there:
            log.warning("%s moves to %s: %s", deployment.id, there.region, words)
            return Taken(there)
        if not tail:
            said = last_words(self.platform, deployment, revision)
            words, tail = f"{words} {said.hint}".rstrip(), said.lines
        now = self.clock.now()
        return Taken(fail(deployment, revision, reason, words, now=now, log_tail=tail))

    @property
    def _pace(self) -> Pace:
        every = self.settings.pace_seconds
        return Pace(self.records, self.clock, every=every, pause=self.pause)

    # ------------------------------------------------------------ the steps

    def _start(self, deployment: Deployment, revision: Revision) -> Taken:
        name = self.platform.model_name(
            deployment.region, specs.model_id(deployment, revision)
        )
        return self._moved(deployment, revision, Phase.UPLOADING, model_name=name)

    def _upload(self, deployment: Deployment, revision: Revision) -> Taken:
        spec = specs.model(deployment, revision, self.settings)
        with self._pace.turn():
            operation = self.platform.upload_model(spec)
        return self._begun(deployment, revision, operation)

    def _create(self, deployment: Deployment, revision: Revision) -> Taken:
        spec = specs.endpoint(deployment, revision)
        return self._begun(deployment, revision, self.platform.create_endpoint(spec))

    def _deploy(self, deployment: Deployment, revision: Revision) -> Taken:
        spec = specs.deploy(deployment, revision)
        with self._pace.turn():
            operation = self.platform.deploy(spec)
        return self._begun(deployment, revision, operation)

    def _begun(
        self, deployment: Deployment, revision: Revision, operation: Operation
    ) -> Taken:
        if operation.done:
            return self._ended(deployment, revision, operation)
        noted = progress(
            deployment,
            revision,
            operation=operation.name,
            stage=operation.stage,
            now=self.clock.now(),
        )
        return Taken(noted, wait=True)

    def _await(self, deployment: Deployment, revision: Revision) -> Taken:
        operation = self.platform.operation(revision.operation)
        if operation is None:
            # Forgotten by the platform: taking the step again finds its result.
            return Taken(with_revision(deployment, replace(revision, operation="")))
        return self._begun(deployment, revision, operation)

    def _ended(
        self, deployment: Deployment, revision: Revision, operation: Operation
    ) -> Taken:
        fault = operation.fault
        if fault is not None:
            return self._failed(
                deployment, revision, fault.reason, fault.message, tail=fault.log_tail
            )
        if revision.phase is Phase.UPLOADING:
            return self._moved(deployment, revision, Phase.CREATING_ENDPOINT)
        known = located(self.platform, deployment, self.settings.vertex_endpoint)
        if revision.phase is Phase.CREATING_ENDPOINT:
            return self._moved(known, revision, Phase.DEPLOYING, deployed=True)
        return self._moved(known, revision, Phase.VERIFYING)

    def _moved(
        self,
        deployment: Deployment,
        revision: Revision,
        phase: Phase,
        **changes: object,
    ) -> Taken:
        limit = {
            Phase.DEPLOYING: self.settings.deploy_seconds,
            Phase.VERIFYING: self.settings.verify_seconds,
        }.get(phase, self.settings.operation_seconds)
        return Taken(
            move(
                deployment,
                revision,
                phase,
                now=self.clock.now(),
                limit=limit,
                **changes,
            )
        )

    def _verify(self, deployment: Deployment, revision: Revision) -> Taken:
        outcome = Verifier(self.platform).verify(deployment, revision)
        if outcome.words:
            return self._failed(deployment, revision, Reason.NO_ANSWER, outcome.words)
        if not outcome.answered:
            return Taken(None, wait=True)
        return Taken(self._ready(deployment, revision))

    def _ready(self, deployment: Deployment, revision: Revision) -> Deployment:
        now = self.clock.now()
        old = deployment.serving
        changed = move(
            replace(deployment, served=True),
            revision,
            Phase.READY,
            now=now,
            reason=Reason.NONE,
            message="",
        )
        lasting = revision.share < WHOLE
        return supersede(changed, old, now) if old and not lasting else changed

    def _give_up(self, deployment: Deployment, revision: Revision) -> Taken:
        late = self._last_look(deployment, revision)
        if late is not None and late.deployment and not late.wait:
            return late
        settle_traffic(self.platform, deployment)
        reason = (
            Reason.NO_ANSWER
            if revision.phase is Phase.VERIFYING
            else (Reason.TIMED_OUT)
        )
        words = f"The phase {revision.phase.value} did not end in time."
        if revision.stage:
            words += f" Last stage: {revision.stage}."
        return self._failed(deployment, revision, reason, words)

    def _last_look(self, deployment: Deployment, revision: Revision) -> Taken | None:
        """What became of a revision whose time is over; None if nothing was begun.

        Nobody may have looked for as long: what is done is not thrown away.
        """
        if revision.operation:
            return self._await(deployment, revision)
        if revision.phase is Phase.VERIFYING:
            return self._verify(deployment, revision)
        return None

    def _finish(self, deployment: Deployment, revision: Revision) -> Taken:
        now = self.clock.now()
        return Taken(move(deployment, revision, Phase.RETIRED, now=now))

    def _withdraw(self, deployment: Deployment, revision: Revision) -> Taken:
        reason = Reason.WITHDRAWN if deployment.withdrawn else Reason.EXPIRED
        return Taken(withdraw(deployment, revision, reason, self.clock.now()))

    def _let_another_in(self, deployment: Deployment, revision: Revision) -> Taken:
        return Taken(supersede(deployment, revision, self.clock.now()))

    def _recall(self, deployment: Deployment, revision: Revision) -> Taken:
        return Taken(reactivate(deployment, revision, self.clock.now()))

    _ACTS: ClassVar = {
        steps.Start: _start,
        steps.Upload: _upload,
        steps.CreateEndpoint: _create,
        steps.Deploy: _deploy,
        steps.Await: _await,
        steps.Verify: _verify,
        steps.GiveUp: _give_up,
        steps.Undeploy: lambda it, *what: it.release.undeploy(*what),
        steps.RemoveModel: lambda it, *what: it.release.remove_model(*what),
        steps.Clear: lambda it, *what: it.release.clear(*what),
        steps.Finish: _finish,
        steps.Withdraw: _withdraw,
        steps.Displace: _let_another_in,
        steps.MakeRoom: _let_another_in,
        steps.Recall: _recall,
    }


_BLAME = {
    Phase.UPLOADING: Reason.UPLOAD_FAILED,
    Phase.CREATING_ENDPOINT: Reason.ENDPOINT_FAILED,
    Phase.DEPLOYING: Reason.PLATFORM,
    Phase.VERIFYING: Reason.NO_ANSWER,
}
