"""Every line about one drop carries the deployment and its trace."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from fakes.builders import make_deployment, make_revision
from fakes.bus import MemoryBus
from fakes.clock import FakeClock
from fakes.records import MemoryRecords
from weightdrop import logs, telemetry
from weightdrop.core.deployment import tracing
from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.transitions import move
from weightdrop.services.session import Session

CALLER = f"00-{'c' * 32}-{'d' * 16}-01"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What a handler of our form writes; other handlers stay as they are."""
    found = io.StringIO()
    handler = logging.StreamHandler(found)
    handler.setFormatter(logs.JsonFormatter(lambda: telemetry.log_facts("p")))
    package = logging.getLogger("weightdrop")
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    yield found
    package.removeHandler(handler)
    package.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """The lines so far."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def accepted() -> Session:
    """A session whose record is on its way."""
    deployment = make_deployment(revisions=(make_revision(phase=Phase.ACCEPTED),))
    records = MemoryRecords()
    records.create(deployment)
    session = Session(records, MemoryBus(), FakeClock(), 20.0)
    session.load(deployment.id)
    return session


def test_a_line_says_which_drop_it_is_about(stream: io.StringIO) -> None:
    """In the fields by which Cloud Logging finds lines of one trace."""
    log = logging.getLogger("weightdrop.test")
    with telemetry.work("on_request"):
        deployment = accepted().deployment
        log.warning("something is odd")
    log.warning("elsewhere")
    about, elsewhere = lines(stream)
    assert deployment.latest is not None
    trace = tracing.trace_id(deployment, deployment.latest)

    assert about["deployment"] == deployment.id
    assert about[logs.TRACE] == f"projects/p/traces/{trace}"
    assert len(str(about[logs.SPAN])) == 16
    assert {logs.TRACE, logs.SPAN, "deployment"} & elsewhere.keys() == set()


def test_a_call_that_is_about_no_drop_has_its_callers_trace(
    stream: io.StringIO,
) -> None:
    """So that it is found beside the request."""
    with telemetry.work("status", caller=CALLER):
        logging.getLogger("weightdrop.test").warning("refused")

    assert lines(stream)[0][logs.TRACE] == f"projects/p/traces/{'c' * 32}"


def test_a_move_is_a_line_with_its_duration(stream: io.StringIO) -> None:
    """What metrics are made of where no OpenTelemetry is wanted."""
    session = accepted()
    revision = session.deployment.revisions[0]
    now = session.clock.now()
    session.save(move(session.deployment, revision, Phase.UPLOADING, now=now))
    (line,) = lines(stream)

    assert (line[logs.LEFT], line[logs.NEXT]) == ("accepted", "uploading")
    assert line[logs.LEFT_SECONDS] == (now - revision.phase_since).total_seconds()
    assert line["deployment"] == session.deployment.id


def test_a_write_that_is_refused_tells_of_no_move(stream: io.StringIO) -> None:
    """Whoever wrote first tells of it."""
    session = accepted()
    held = session.held
    assert held is not None
    session.records.put(held.deployment, version=held.version)
    revision = session.deployment.revisions[0]
    moved = move(session.deployment, revision, Phase.UPLOADING, now=session.clock.now())
    with pytest.raises(Exception, match="lacks version"):
        session.save(moved)

    assert lines(stream) == []
