"""What is told to the world: CloudEvents about phases, and deploy requests."""

from __future__ import annotations

import json
from datetime import datetime

from weightdrop.core.deployment.naming import event_id
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import WHOLE, Deployment, Message, Revision
from weightdrop.core.deployment.tracing import traceparent
from weightdrop.core.deployment.views import endpoint_view, finding_view, model_view

EVENTS_TOPIC = "weightdrop-events"
REQUESTS_TOPIC = "weightdrop-requests"
DEAD_LETTERS_TOPIC = "weightdrop-dead-letters"

TYPE = "weightdrop.deployment.{}.v1"

_WORDS: dict[Phase, str] = {
    Phase.WAITING: "waiting",
    Phase.REJECTED: "rejected",
    Phase.ACCEPTED: "accepted",
    Phase.UPLOADING: "progress",
    Phase.CREATING_ENDPOINT: "progress",
    Phase.DEPLOYING: "progress",
    Phase.VERIFYING: "progress",
    Phase.READY: "ready",
    Phase.FAILED: "failed",
    Phase.SUPERSEDED: "superseded",
    Phase.RETIRED: "retired",
}

_REASONED = frozenset({Phase.REJECTED, Phase.FAILED, Phase.SUPERSEDED, Phase.RETIRED})

EVENT_TYPES = tuple(dict.fromkeys(TYPE.format(word) for word in _WORDS.values()))


def event_type(phase: Phase) -> str:
    """The CloudEvents type that tells of `phase`; empty if none does."""
    word = _WORDS.get(phase, "")
    return TYPE.format(word) if word else ""


def event(deployment: Deployment, revision: Revision, now: datetime) -> Message | None:
    """The event that tells of the phase `revision` is in; None for `retiring`.

    Its id is derived from deployment, digest, phase, attempt and (for progress)
    stage and the region after the first: telling of the same thing twice gives
    the same id twice.
    """
    kind = event_type(revision.phase)
    if not kind:
        return None
    detail = f"{revision.attempt}" if revision.attempt > 1 else ""
    if revision.phase.in_flight:
        detail += f"/{revision.stage}"
    if revision.phase.in_flight and revision.tried:
        detail += f"/{deployment.region}"
    return Message(
        id=event_id(deployment.id, revision.digest, revision.phase, detail=detail),
        topic=EVENTS_TOPIC,
        ordering_key=deployment.id,
        type=kind,
        time=now,
        data=json.dumps(event_data(deployment, revision), separators=(",", ":")),
        trace=traceparent(deployment, revision),
    )


def event_data(deployment: Deployment, revision: Revision) -> dict[str, object]:
    """The body of an event: what a subscriber needs without asking again."""
    data: dict[str, object] = {
        "deployment": deployment.id,
        "source": f"gs://{deployment.bucket}/{deployment.prefix}",
        "revision": revision.number,
        "digest": revision.digest,
        "attempt": revision.attempt,
        "phase": revision.phase.value,
    }
    if revision.phase is Phase.WAITING:
        data["missing"] = list(revision.missing)
    if revision.phase in {Phase.REJECTED, Phase.ACCEPTED}:
        data["findings"] = [finding_view(finding) for finding in revision.findings]
    if revision.phase is Phase.ACCEPTED and revision.model:
        data["model"] = model_view(revision.model)
    if revision.phase.in_flight:
        data["stage"] = revision.stage
        data["region"] = deployment.region
    if revision.reason and revision.phase in _REASONED:
        data["reason"] = revision.reason.value
        data["message"] = revision.message
    if revision.phase is Phase.FAILED:
        data["logTail"] = list(revision.log_tail)
    if revision.phase is Phase.READY:
        parts = {one.number: part for one, part in deployment.split}
        data["traffic"] = parts.get(revision.number, WHOLE)
        data["endpoint"] = endpoint_view(deployment, revision)
    return data


def request(
    deployment: Deployment, revision: Revision, now: datetime, *, detail: str = ""
) -> Message:
    """The deploy request: it only says where to look.

    Args:
        deployment: Where.
        revision: For the sake of which revision.
        now: When.
        detail: What tells it from another one for the same attempt.
    """
    detail = f"{revision.attempt}/{detail}" if detail else f"{revision.attempt}"
    return Message(
        id=event_id(deployment.id, revision.digest, "request", detail=detail),
        topic=REQUESTS_TOPIC,
        ordering_key=deployment.id,
        type="",
        time=now,
        data=json.dumps(
            {"deployment": deployment.id, "digest": revision.digest},
            separators=(",", ":"),
        ),
        trace=traceparent(deployment, revision),
    )
