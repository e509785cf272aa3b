"""Orders that choose: laid over the folder's options, part of what is identified."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drops.models import TINY_LLAMA, model_files
from drops.stores import MemoryArtifacts
from fakes.bus import MemoryBus
from fakes.clock import FakeClock
from fakes.records import MemoryRecords
from weightdrop.core.artifacts.overrides import Overrides
from weightdrop.core.deployment.phases import Phase, Reason
from weightdrop.core.deployment.record import Deployment, Revision
from weightdrop.errors import ConflictError
from weightdrop.services import specs
from weightdrop.services.admit import Admission
from weightdrop.services.commands import Commands
from weightdrop.settings import Settings

LARGE: Overrides = (
    ("accelerator_count", 2),
    ("accelerator_type", "NVIDIA_L4"),
    ("machine_type", "g2-standard-24"),
)
TWO: Overrides = (("max_replica_count", 2), ("min_replica_count", 2))


class Desk:
    """Admission of one folder of a small Llama."""

    def __init__(self) -> None:
        self.files: dict[str, Any] = {
            f"llama/{name}": file for name, file in model_files(TINY_LLAMA).items()
        }
        self.records = MemoryRecords(strict=True)
        self.bus = MemoryBus()
        self.clock = FakeClock()
        self.clock.advance(3600)
        self.admission = Admission(
            artifacts=MemoryArtifacts(self.files),
            records=self.records,
            bus=self.bus,
            clock=self.clock,
            settings=Settings(buckets=("models",)),
        )

    def order(self, overrides: Overrides | None) -> Deployment:
        """Ask for the folder with these choices."""
        found = self.admission.folder("models", "llama", overrides=overrides)
        assert found is not None
        return found

    def rest(self, phase: Phase, **fields: Any) -> Deployment:
        """Let the newest revision come to rest, as reconciling would."""
        (held,) = self.records.page(phase=None, size=2, token="").deployments
        stored = self.records.get(held.id)
        assert stored is not None
        *earlier, latest = held.revisions
        rested = replace(latest, phase=phase, **fields)
        changed = replace(held, revisions=(*earlier, rested))
        return self.records.put(changed, version=stored.version).deployment


@pytest.fixture
def desk() -> Desk:
    """A folder that nobody has looked at."""
    return Desk()


def newest(deployment: Deployment) -> Revision:
    """The newest revision."""
    assert deployment.latest is not None
    return deployment.latest


def machine(deployment: Deployment) -> str:
    """The machine of the newest revision."""
    plan = newest(deployment).plan
    assert plan is not None
    return plan.machine_type


def test_choices_are_planned_and_kept(desk: Desk) -> None:
    """They are in the record, and the bytes are still known by their own digest."""
    plain = Desk().order(())
    found = desk.order(LARGE)
    revision = newest(found)

    assert (found.overrides, machine(found)) == (LARGE, "g2-standard-24")
    assert revision.content == newest(plain).digest != revision.digest
    env = specs.model(found, revision, Settings()).server.env
    assert dict(env)["WEIGHTDROP_DIGEST"] == revision.content


def test_the_same_order_again_starts_nothing(desk: Desk) -> None:
    """Nor does looking at the folder for any other reason."""
    first = desk.order(LARGE)
    told = len(desk.bus.published)

    assert desk.order(LARGE) == first
    assert desk.order(None) == first
    desk.admission.object_changed("models", "llama/config.json", size=1, crc32c="")
    assert len(desk.bus.published) == told
    assert [one.number for one in desk.order(None).revisions] == [1]


def test_other_choices_for_the_same_bytes_are_a_new_revision(desk: Desk) -> None:
    """It comes up beside the one that serves, as new bytes would."""
    desk.order(LARGE)
    desk.rest(Phase.READY, deployed=True)

    found = desk.order(TWO)

    assert [one.phase for one in found.revisions] == [Phase.READY, Phase.ACCEPTED]
    assert newest(found).options.min_replica_count == 2
    assert machine(found) != "g2-standard-24"


def test_new_bytes_are_planned_with_the_last_choices(desk: Desk) -> None:
    """Whoever drops new weights need not know who chose the machine."""
    desk.order(LARGE)
    desk.rest(Phase.READY, deployed=True)
    desk.files["llama/weightdrop.json"] = b'{"max_model_len": 64}'

    found = desk.order(None)

    assert (newest(found).number, newest(found).phase) == (2, Phase.ACCEPTED)
    assert machine(found) == "g2-standard-24"
    assert newest(found).options.max_model_len == 64


def test_an_order_without_choices_ends_them(desk: Desk) -> None:
    """What is deployed then is what the folder says."""
    desk.order(LARGE)
    desk.rest(Phase.READY, deployed=True)

    found = desk.order(())

    assert (found.overrides, newest(found).content) == ((), "")
    assert (newest(found).number, machine(found)) == (2, "g2-standard-4")


@pytest.mark.parametrize("phase", [Phase.SUPERSEDED, Phase.FAILED, Phase.RETIRED])
def test_an_order_brings_an_earlier_revision_back(desk: Desk, phase: Phase) -> None:
    """However it ended: somebody asks for it again."""
    desk.order(LARGE)
    desk.rest(phase, reason=Reason.QUOTA if phase is Phase.FAILED else Reason.NONE)
    desk.order(TWO)
    desk.rest(Phase.READY, deployed=True)

    found = desk.order(LARGE)

    assert (newest(found).number, newest(found).phase) == (1, Phase.ACCEPTED)
    assert (newest(found).attempt, found.overrides) == (2, LARGE)


def test_a_rollback_brings_the_choices_back(desk: Desk) -> None:
    """Else the next look at the same bytes would undo it."""
    desk.order(())
    desk.rest(Phase.READY)
    latest = desk.order(LARGE)
    first, second = latest.revisions
    stored = desk.records.get(latest.id)
    assert stored is not None
    gone = replace(first, phase=Phase.SUPERSEDED, model_name="m")
    serving = replace(second, phase=Phase.READY, deployed=True)
    changed = replace(latest, revisions=(gone, serving))
    desk.records.put(changed, version=stored.version)
    commands = Commands(
        records=desk.records, bus=desk.bus, clock=desk.clock, settings=Settings()
    )

    back = commands.rollback(latest.id)

    assert (newest(back).number, back.overrides) == (1, ())
    assert desk.order(None) == back


def test_what_contradicts_the_folder_is_a_finding(desk: Desk) -> None:
    """Each is good by itself: nothing is spent on both together."""
    desk.files["llama/weightdrop.json"] = b'{"min_replica_count": 3}'

    found = desk.order((("max_replica_count", 2),))

    assert (found.phase, newest(found).reason) == (Phase.REJECTED, Reason.INVALID)
    assert "options-conflict" in {one.code for one in newest(found).findings}


def test_a_higher_minimum_raises_the_maximum(desk: Desk) -> None:
    """As it does in the file."""
    found = desk.order((("min_replica_count", 3),))

    options = newest(found).options
    assert (options.min_replica_count, options.max_replica_count) == (3, 3)


def test_an_endpoint_does_not_move(desk: Desk) -> None:
    """The order is refused, and nothing of it is kept."""
    before = desk.order(())
    stored = desk.records.get(before.id)
    assert stored is not None
    made = replace(stored.deployment, endpoint_name="projects/1/endpoints/e")
    desk.records.put(made, version=stored.version)

    with pytest.raises(ConflictError, match="cannot move to europe-west4"):
        desk.order((("region", "europe-west4"),))

    assert desk.order(None).overrides == ()
