"""The tick: look at every record that is due.

It is the safety net under every event that was lost, and the pulse of every
operation under way. One record's trouble never keeps it from the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import timedelta

from weightdrop import logs, telemetry
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment
from weightdrop.errors import StaleError, TransientError, WeightdropError
from weightdrop.ports import Records
from weightdrop.services.admit import Admission
from weightdrop.services.reconcile import Reconciler

log = logging.getLogger(__name__)

BATCH = 100
"""Records looked at by one tick; the next takes the rest."""

WORKERS = 8
"""Records looked at side by side: most of a look is waiting for an answer."""


LONGEST_WAIT = 600.0
"""Seconds that a record which makes trouble is left alone, at most."""

MOST_SETBACKS = 10
"""Setbacks that are counted: by then the longest wait is reached."""

LONGEST_WORDS = 500
"""Characters that are kept of what a setback said."""

Each = Callable[[Callable[[str], None], Sequence[str]], None]


def one_by_one(act: Callable[[str], None], things: Sequence[str]) -> None:
    """Do `act` to each of `things`, in their order."""
    for thing in things:
        act(thing)


def at_once(act: Callable[[str], None], things: Sequence[str]) -> None:
    """Do `act` to each of `things`, several at a time; returns when all is done."""
    if len(things) < 2:  # noqa: PLR2004 - a pair is the least that has company
        one_by_one(act, things)
        return
    with ThreadPoolExecutor(min(WORKERS, len(things)), "tick") as pool:
        for done in [pool.submit(copy_context().run, act, one) for one in things]:
            done.result()


@dataclass(frozen=True, slots=True)
class Tick:
    """Looks at what is due.

    Attributes:
        records: The records.
        admission: For folders that wait.
        reconciler: For everything else.
        each: Does one thing to each of many; several at once, if it likes.
    """

    records: Records
    admission: Admission
    reconciler: Reconciler
    each: Each = one_by_one

    def run(self) -> int:
        """Look at what is due; returns how many records were looked at."""
        ids = self.records.due(self.reconciler.clock.now(), limit=BATCH)
        self.each(self._one, ids)
        return len(ids)

    def _one(self, deployment_id: str) -> None:
        with telemetry.work("on_tick"):
            self._try(deployment_id)

    def _try(self, deployment_id: str) -> None:
        try:
            self._look(deployment_id)
        except StaleError as error:
            log.info("%s: %s", deployment_id, error)
        except TransientError as error:
            log.warning("%s: %s", deployment_id, error)
            self._later(deployment_id, error)
        except WeightdropError as error:
            log.exception("%s", deployment_id)
            self._later(deployment_id, error)

    def _look(self, deployment_id: str) -> None:
        held = self.records.get(deployment_id)
        if held is None:
            return
        self._tell(held.deployment)
        deployment: Deployment | None = held.deployment
        if held.deployment.phase is Phase.WAITING:
            bucket, prefix = held.deployment.bucket, held.deployment.prefix
            deployment = self.admission.folder(bucket, prefix, held=held)
        # What admission wrote is read anew: the version of it is not known here.
        same = deployment is held.deployment
        self.reconciler.deployment(deployment_id, held=held if same else None)

    def _tell(self, deployment: Deployment) -> None:
        """Log how long the record has been where it is, if it is to leave there."""
        latest = deployment.latest
        if latest is None or latest.phase.resting:
            return
        age = (self.reconciler.clock.now() - latest.phase_since).total_seconds()
        facts = {
            logs.DEPLOYMENT: deployment.id,
            logs.PHASE: latest.phase.value,
            logs.PHASE_SECONDS: age,
        }
        log.info(
            "%s is %s since %d s",
            deployment.id,
            latest.phase,
            age,
            extra={"facts": facts},
        )

    def _later(self, deployment_id: str, error: WeightdropError) -> None:
        """Put a record that made trouble behind the others, and say why."""
        held = self.records.get(deployment_id)
        if held is None:
            return
        now = self.reconciler.clock.now()
        setbacks = held.deployment.setbacks
        poll = self.reconciler.settings.poll_seconds
        asked = error.retry_after if isinstance(error, TransientError) else None
        wait = max(asked or 0.0, min(LONGEST_WAIT, poll * 2**setbacks))
        later = replace(
            held.deployment,
            due=now + timedelta(seconds=wait),
            setbacks=min(setbacks + 1, MOST_SETBACKS),
            setback=str(error)[:LONGEST_WORDS],
        )
        try:
            self.records.put(later, version=held.version)
        except StaleError:
            return
