"""The phases of a revision, the reasons of an end, and the legal moves."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Where a revision is."""

    WAITING = "waiting"
    REJECTED = "rejected"
    ACCEPTED = "accepted"
    UPLOADING = "uploading"
    CREATING_ENDPOINT = "creating_endpoint"
    DEPLOYING = "deploying"
    VERIFYING = "verifying"
    READY = "ready"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    RETIRING = "retiring"
    RETIRED = "retired"

    @property
    def resting(self) -> bool:
        """Whether nothing happens any more without a new cause."""
        return self in RESTING

    @property
    def in_flight(self) -> bool:
        """Whether the platform is being worked on for it."""
        return self in IN_FLIGHT

    @property
    def live(self) -> bool:
        """Whether it serves, or is on its way to."""
        return self.in_flight or self in {Phase.READY, Phase.ACCEPTED}


RESTING = frozenset(
    {
        Phase.REJECTED,
        Phase.READY,
        Phase.FAILED,
        Phase.SUPERSEDED,
        Phase.RETIRED,
    }
)

IN_FLIGHT = frozenset(
    {
        Phase.UPLOADING,
        Phase.CREATING_ENDPOINT,
        Phase.DEPLOYING,
        Phase.VERIFYING,
    }
)

MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.WAITING: frozenset({Phase.ACCEPTED, Phase.REJECTED, Phase.SUPERSEDED}),
    Phase.REJECTED: frozenset(),
    Phase.ACCEPTED: frozenset({Phase.UPLOADING, Phase.SUPERSEDED, Phase.RETIRED}),
    Phase.UPLOADING: frozenset({Phase.CREATING_ENDPOINT, Phase.FAILED, Phase.RETIRING}),
    Phase.CREATING_ENDPOINT: frozenset({Phase.DEPLOYING, Phase.FAILED, Phase.RETIRING}),
    Phase.DEPLOYING: frozenset(
        {Phase.VERIFYING, Phase.UPLOADING, Phase.FAILED, Phase.RETIRING}
    ),
    Phase.VERIFYING: frozenset({Phase.READY, Phase.FAILED, Phase.RETIRING}),
    Phase.READY: frozenset({Phase.SUPERSEDED, Phase.RETIRING}),
    Phase.FAILED: frozenset({Phase.ACCEPTED}),
    Phase.SUPERSEDED: frozenset({Phase.ACCEPTED}),
    Phase.RETIRING: frozenset({Phase.RETIRED}),
    Phase.RETIRED: frozenset({Phase.ACCEPTED}),
}
"""Every move a revision may make; a test draws ARCHITECTURE.md's diagram from it.

A revision that has not started is `superseded` when a newer digest takes its place;
`retry` and `rollback` lead back to `accepted`; where a region has no machine,
`deploying` begins anew in another. The simulation makes every one of them.
"""


class Reason(StrEnum):
    """Why a revision came to rest where it did."""

    NONE = ""
    INVALID = "invalid"
    INCOMPLETE = "incomplete"
    NO_PLAN = "no_plan"
    UPLOAD_FAILED = "upload_failed"
    ENDPOINT_FAILED = "endpoint_failed"
    QUOTA = "quota"
    NO_CAPACITY = "no_capacity"
    SERVER_FAILED = "server_failed"
    TIMED_OUT = "timed_out"
    NO_ANSWER = "no_answer"
    PERMISSION = "permission"
    PLATFORM = "platform"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    REMOVED = "removed"

    @property
    def retryable(self) -> bool:
        """Whether `retry` with the same bytes may end differently."""
        return self in _RETRYABLE


_RETRYABLE = frozenset(Reason) - {
    Reason.NONE,
    Reason.INVALID,
    Reason.INCOMPLETE,
    Reason.NO_PLAN,
}

ADVICE: dict[Reason, str] = {
    Reason.INVALID: "Fix the findings and copy the folder again.",
    Reason.INCOMPLETE: "Copy the missing files; the drop is looked at again.",
    Reason.NO_PLAN: "Choose a shorter context, a larger machine or another region "
    "in weightdrop.json and copy it beside config.json.",
    Reason.UPLOAD_FAILED: "Check that Vertex AI's service agent may read the bucket "
    "and the image, then `weightdrop retry`.",
    Reason.ENDPOINT_FAILED: "Read the platform's message, then `weightdrop retry`.",
    Reason.QUOTA: "Ask for more serving quota of this accelerator in this region, "
    "or choose another in weightdrop.json, then `weightdrop retry`.",
    Reason.NO_CAPACITY: "The region has no such machine free now: `weightdrop retry` "
    "later, or choose another region or accelerator in weightdrop.json.",
    Reason.SERVER_FAILED: "Read the log tail: the model server ended before it was "
    "healthy.",
    Reason.TIMED_OUT: "Read the log tail: the model server was not healthy in time.",
    Reason.NO_ANSWER: "The server came up and answered no prompt: read the log tail.",
    Reason.PERMISSION: "Grant the missing role that the message names, then "
    "`weightdrop retry`.",
    Reason.PLATFORM: "Read the platform's message, then `weightdrop retry`.",
    Reason.WITHDRAWN: "Undeployed on request; `weightdrop retry` brings it back.",
    Reason.EXPIRED: "Its ttl ran out; `weightdrop retry` brings it back.",
    Reason.REMOVED: "Somebody undeployed it outside Weightdrop; `weightdrop retry` "
    "brings it back.",
}
"""What to do about each reason, for a person."""
