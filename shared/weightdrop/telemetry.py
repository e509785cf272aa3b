"""What a piece of work was about: for every log line, and for traces and metrics.

One drop is one trace (core/deployment/tracing.py). Here the services say what they
do; what becomes of it is decided by a sink, which is none at all until one is
chosen. Without a sink nothing is collected, and log lines still carry the
deployment and its trace, so that all lines about one drop are found together.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from weightdrop import logs
from weightdrop.core.deployment import tracing
from weightdrop.errors import StaleError

if TYPE_CHECKING:
    # An event that is ignored pays for every import.
    from weightdrop.core.deployment.record import Deployment, Message

log = logging.getLogger(__name__)

DEPLOYMENT = "weightdrop.deployment"
"""Attribute of every span: the deployment's id."""

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Span:
    """Something that was done, with its place in a trace.

    Attributes:
        name: What it was.
        trace: 32 hexadecimal digits.
        id: 16 hexadecimal digits.
        parent: Id of the span it is part of; empty for the whole drop.
        start: When it began.
        end: When it was over.
        facts: Attributes.
        links: Other traces it has to do with, as `traceparent`.
        fault: Name of the error that ended it; empty if none did.
    """

    name: str
    trace: str
    id: str
    parent: str
    start: datetime
    end: datetime
    facts: Mapping[str, str | int] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    fault: str = ""


class Sink(Protocol):
    """Where spans and durations go. No call waits for a network, but `flush`."""

    def span(self, span: Span) -> None:
        """Take a span that is over."""
        ...

    def duration(self, name: str, seconds: float, facts: Mapping[str, str]) -> None:
        """Take one value of a histogram."""
        ...

    def flush(self) -> None:
        """Send what was taken; a function may stand still after its answer."""
        ...


@dataclass(slots=True)
class _Work:
    """One piece of work while it is done, and what was found out about it."""

    name: str
    caller: str
    id: str
    began: datetime
    trace: str = ""
    about: Deployment | None = None
    told: bool = False
    steps: list[tuple[str, datetime, datetime, str]] = field(default_factory=list)

    def of_drop(self) -> str:
        """The trace of the drop that it is about, else that of its caller."""
        latest = self.about.latest if self.about else None
        if self.about is None or latest is None:
            return self.trace
        return tracing.trace_id(self.about, latest)


class _Chosen:
    """The process's sink, made when the first span is there."""

    make: Callable[[], Sink] | None = None
    made: Sink | None = None


_work: ContextVar[_Work | None] = ContextVar("weightdrop_work", default=None)


def use(make: Callable[[], Sink] | None) -> None:
    """Collect from now on, and give it to what `make` returns; None for nowhere."""
    _Chosen.make, _Chosen.made = make, None


def sink() -> Sink | None:
    """Where spans go; None for nowhere.

    A sink that cannot be made is said once, and done without: what a deployment
    needs is not what looks at it.
    """
    if _Chosen.made is None and _Chosen.make is not None:
        try:
            _Chosen.made = _Chosen.make()
        except Exception:
            log.exception("No traces and metrics: their sink cannot be made")
            _Chosen.make = None
    return _Chosen.made


def sent(message: Message) -> Message:
    """The message as it is published: with its trace, if anybody collects it."""
    return message if _Chosen.make else replace(message, trace="")


# ------------------------------------------------------------------- the work


@contextmanager
def work(name: str, *, caller: object = "") -> Iterator[None]:
    """Do one piece of work, usually a function's call, on one deployment at most.

    Args:
        name: Of the span, which is part of the drop it turns out to be about; one
            that is about none leaves no span.
        caller: The `traceparent` that came with the call, if any: what is no such
            text is ignored.
    """
    outer = _work.get()
    context = caller if isinstance(caller, str) else ""
    found = _TRACEPARENT.fullmatch(context)
    one = _Work(
        name=name,
        caller=context if found else "",
        id=secrets.token_hex(8),
        began=datetime.now(UTC),
        trace=found[1] if found else "",
    )
    token = _work.set(one)
    fault = ""
    try:
        yield
    except StaleError:
        raise
    except BaseException as error:
        fault = type(error).__name__
        raise
    finally:
        _work.reset(token)
        told = _finish(one, fault) or one.told
        if outer is not None:
            outer.told |= told
        elif told and _Chosen.made is not None:
            _Chosen.made.flush()


def about(deployment: Deployment) -> None:
    """Say which deployment the present work is about."""
    one = _work.get()
    if one is not None and deployment.latest is not None:
        one.about = deployment


@contextmanager
def step(name: str) -> Iterator[None]:
    """Do one part of the present work; it becomes a span inside that of the work."""
    one = _work.get()
    if one is None or _Chosen.make is None:
        yield
        return
    began, fault = datetime.now(UTC), ""
    try:
        yield
    except BaseException as error:
        fault = type(error).__name__
        raise
    finally:
        one.steps.append((name, began, datetime.now(UTC), fault))


def log_facts(project: str) -> dict[str, object]:
    """What a log line written now is about, under Cloud Logging's own names.

    https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields
    """
    one = _work.get()
    if one is None:
        return {}
    facts: dict[str, object] = {}
    if one.about:
        facts[logs.DEPLOYMENT] = one.about.id
    if trace := one.of_drop():
        facts[logs.TRACE] = f"projects/{project}/traces/{trace}"
        facts[logs.SPAN] = one.id
    return facts


def _finish(one: _Work, fault: str) -> bool:
    """Give the work's spans to the sink, if there are any."""
    if one.about is None or (found := sink()) is None:
        return False
    trace = one.of_drop()
    facts = {DEPLOYMENT: one.about.id}
    foreign = one.caller and trace not in one.caller
    found.span(
        Span(
            name=one.name,
            trace=trace,
            id=one.id,
            parent=tracing.root_id(trace),
            start=one.began,
            end=datetime.now(UTC),
            facts=facts,
            links=(one.caller,) if foreign else (),
            fault=fault,
        )
    )
    for name, start, end, wrong in one.steps:
        found.span(
            Span(
                name=name,
                trace=trace,
                id=secrets.token_hex(8),
                parent=one.id,
                start=start,
                end=end,
                facts=facts,
                fault=wrong,
            )
        )
    return True
