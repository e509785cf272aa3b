"""The spans of a drop: itself, and each phase it went through.

Made from two states of the record when the later one is written, so that every
phase is told of once, whichever function takes the step.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from weightdrop import logs, telemetry
from weightdrop.core.deployment import tracing
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import Deployment, Revision

log = logging.getLogger(__name__)

PHASE_DURATION = "weightdrop.phase.duration"
"""Histogram, in seconds: how long a phase took, by `phase` and `next`."""

DROP_DURATION = "weightdrop.drop.duration"
"""Histogram, in seconds: from the drop to its rest, by `phase` and `reason`."""


def moved(before: Deployment | None, after: Deployment) -> None:
    """Tell of every phase that was left between two states of a record.

    To be called when `after` is written: then nobody else tells of it, too.
    """
    for revision in after.revisions:
        old = _of(before, revision)
        if old.phase is not revision.phase and not old.phase.resting:
            _left(after, old, revision)


def _of(before: Deployment | None, revision: Revision) -> Revision:
    """The revision as it was; a new one began by waiting."""
    for old in before.revisions if before else ():
        if old.number == revision.number:
            return old
    return replace(revision, phase=Phase.WAITING, phase_since=revision.created)


def _left(deployment: Deployment, old: Revision, new: Revision) -> None:
    took = (new.phase_since - old.phase_since).total_seconds()
    told = {
        logs.DEPLOYMENT: deployment.id,
        logs.LEFT: old.phase.value,
        logs.LEFT_SECONDS: took,
        logs.NEXT: new.phase.value,
    }
    words = (deployment.id, old.phase, took, new.phase)
    log.info("%s was %s for %.1f s, is %s", *words, extra={"facts": told})
    found = telemetry.sink()
    if found is None:
        return
    trace = tracing.trace_id(deployment, new)
    facts: dict[str, str | int] = {
        telemetry.DEPLOYMENT: deployment.id,
        "weightdrop.revision": new.number,
        "weightdrop.digest": new.digest,
        "weightdrop.attempt": new.attempt,
    }
    phase = telemetry.Span(
        name=old.phase.value,
        trace=trace,
        id=tracing.phase_id(trace, old),
        parent=tracing.root_id(trace),
        start=old.phase_since,
        end=new.phase_since,
        facts=facts,
    )
    found.span(phase)
    labels = {"phase": old.phase.value, "next": new.phase.value}
    found.duration(PHASE_DURATION, took, labels)
    if new.phase.resting and old.phase is not Phase.RETIRING:
        _rested(found, deployment, new, facts=facts)


def _rested(
    found: telemetry.Sink,
    deployment: Deployment,
    revision: Revision,
    *,
    facts: Mapping[str, str | int],
) -> None:
    """The whole drop is over; that of an earlier attempt is linked to it."""
    trace = tracing.trace_id(deployment, revision)
    began = tracing.started(revision)
    bad = revision.phase in {Phase.FAILED, Phase.REJECTED}
    links: tuple[str, ...] = ()
    if revision.attempt > 1:
        earlier = replace(revision, attempt=revision.attempt - 1)
        links = (tracing.traceparent(deployment, earlier),)
    reason = revision.reason.value
    found.span(
        telemetry.Span(
            name="drop",
            trace=trace,
            id=tracing.root_id(trace),
            parent="",
            start=began,
            end=revision.phase_since,
            facts={
                **facts,
                "weightdrop.source": f"gs://{deployment.bucket}/{deployment.prefix}",
                "weightdrop.phase": revision.phase.value,
                "weightdrop.reason": reason,
            },
            links=links,
            fault=(reason or revision.phase.value) if bad else "",
        )
    )
    took = (revision.phase_since - began).total_seconds()
    labels = {"phase": revision.phase.value, "reason": reason}
    found.duration(DROP_DURATION, took, labels)
