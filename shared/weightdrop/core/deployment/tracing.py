"""The trace of a drop: ids that follow from the record, as all others do.

One attempt of one revision is one trace, from the moment its folder was seen to
the moment it came to rest. Whichever function looks at the record next, and
however often, finds the same trace without being told: no context can get lost
between two of them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # An event that is ignored pays for every import.
    from datetime import datetime

    from weightdrop.core.deployment.record import Deployment, Revision

ATTRIBUTE = "traceparent"
"""Attribute that carries the trace a message belongs to: the name that W3C Trace
Context and CloudEvents' distributed tracing extension give it."""

_SAMPLED = "01"


def trace_id(deployment: Deployment, revision: Revision) -> str:
    """The trace of the revision's present attempt: 32 hexadecimal digits."""
    begun = revision.created.isoformat()
    named = (deployment.id, str(revision.number), begun, str(revision.attempt))
    return _hex("\0".join(named), 32)


def span_id(trace: str, name: str) -> str:
    """The id of the one span of that name in a trace: 16 hexadecimal digits."""
    return _hex(f"{trace}\0{name}", 16)


def root_id(trace: str) -> str:
    """The id of the span that is the whole drop."""
    return span_id(trace, "drop")


def phase_id(trace: str, revision: Revision) -> str:
    """The id of the span that is the revision's phase in the region it is tried in."""
    return span_id(trace, " ".join((revision.phase.value, *revision.tried)))


def traceparent(deployment: Deployment, revision: Revision) -> str:
    """The root span as W3C Trace Context writes it: version, trace, span, flags.

    https://www.w3.org/TR/trace-context/#traceparent-header
    """
    trace = trace_id(deployment, revision)
    return f"00-{trace}-{root_id(trace)}-{_SAMPLED}"


def started(revision: Revision) -> datetime:
    """When the present attempt began."""
    return revision.started or revision.created


def _hex(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
