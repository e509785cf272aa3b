"""A revision that ends badly says what its server said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes.builders import make_deployment, make_revision
from fakes.bus import MemoryBus
from fakes.clock import FakeClock
from fakes.platform import MemoryPlatform, server_failed
from fakes.records import MemoryRecords
from functions.test_openapi import PLAN
from weightdrop.core.deployment import naming
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import Revision
from weightdrop.core.deployment.transitions import tell
from weightdrop.ports import Fault, ServerLog
from weightdrop.services.reconcile import Reconciler
from weightdrop.settings import Settings

DIGEST = "7" * 64
OWN = naming.deployed_model_id(DIGEST)
HINT = "The server's log could not be read here: grant it."


class Bench:
    """One accepted revision and a platform to deploy it on."""

    def __init__(self) -> None:
        self.platform = MemoryPlatform()
        self.clock = FakeClock()
        self.records = MemoryRecords(strict=True)
        self.reconciler = Reconciler(
            records=self.records,
            bus=MemoryBus(),
            platform=self.platform,
            clock=self.clock,
            settings=Settings(),
        )
        now = self.clock.now()
        revision = make_revision(
            digest=DIGEST, phase=Phase.ACCEPTED, plan=PLAN, phase_since=now
        )
        made = make_deployment(revisions=(revision,))
        made = replace(made, endpoint_id=naming.endpoint_id(made.id))
        self.id = self.records.create(tell(made, revision, now)).deployment.id

    def run(self) -> Revision:
        """Reconcile until nothing moves, and give the newest revision."""
        for _ in range(10):
            self.clock.advance(60)
            self.reconciler.deployment(self.id)
            self.platform.settle()
        held = self.records.get(self.id)
        assert held is not None
        assert held.deployment.latest is not None
        return held.deployment.latest


@pytest.mark.parametrize(
    ("tail", "log", "lines", "hint"),
    [
        (("said by Vertex AI",), ServerLog(("log",)), ("said by Vertex AI",), False),
        ((), ServerLog(("out of memory",)), ("out of memory",), False),
        ((), ServerLog((), hint=HINT), (), True),
    ],
)
def test_a_failed_deployment_carries_the_log(
    tail: tuple[str, ...], log: ServerLog, lines: tuple[str, ...], hint: bool
) -> None:
    """The platform's own words first; else the log's; else why there are none."""
    bench = Bench()
    bench.platform.faults[OWN] = server_failed(*tail)
    bench.platform.logs[OWN] = log

    found = bench.run()

    assert (found.phase, found.reason) == (Phase.FAILED, Reason.SERVER_FAILED)
    assert found.log_tail == lines
    assert found.message.endswith(HINT) is hint


def test_a_server_that_answers_badly_is_asked_for_its_log() -> None:
    """Whoever reads `no_answer` is told to read the log: here it is."""
    bench = Bench()
    bench.platform.mute.add(OWN)
    bench.platform.logs[OWN] = ServerLog(("CUDA error",))

    found = bench.run()

    assert (found.reason, found.log_tail) == (Reason.NO_ANSWER, ("CUDA error",))


def test_what_never_had_a_server_has_no_log() -> None:
    """A model that could not be made is not looked for in the log."""
    bench = Bench()
    bench.platform.logs[OWN] = ServerLog(("not of this one",))
    bench.clock.advance(1)
    bench.reconciler.deployment(bench.id)
    for work in bench.platform._works.values():
        work.operation = replace(
            work.operation, done=True, fault=Fault(Reason.UPLOAD_FAILED, "no")
        )
        bench.platform._operations[work.operation.name] = work.operation
    bench.clock.advance(60)
    bench.reconciler.deployment(bench.id)

    held = bench.records.get(bench.id)
    assert held is not None
    assert held.deployment.latest is not None
    assert held.deployment.latest.reason is Reason.UPLOAD_FAILED
    assert held.deployment.latest.log_tail == ()
