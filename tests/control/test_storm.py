"""A small storm: functions are killed at random, and every drop comes to rest."""

from __future__ import annotations

import pytest
import storm
from controllab.drops import drop

from contracts import emulators
from weightdrop.core.deployment.phases import Phase


@pytest.mark.emulators
@pytest.mark.timeout(600)
def test_a_storm_of_drops_comes_to_rest(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each rests where it must, told with one event id; no dead letter is left."""
    # A socket's path must be short, and xdist makes long ones.
    home = tmp_path_factory.mktemp("s")
    wanted = storm.Storm(drops=20, over=4, kill_every=2, patience=400, seed=1)
    try:
        outcome = storm.run(wanted, home)
    except emulators.EmulatorsMissingError as error:
        if emulators.required():
            pytest.fail(f"EMULATORS MISSING: {error}")
        pytest.skip(f"EMULATORS MISSING: {error}")

    assert outcome.faults == ()
    assert sum(outcome.facts["kills"].values()) > 0


def test_the_kinds_are_dealt_in_turn() -> None:
    """Ten drops hold every end that a drop can have."""
    ends = {drop(number).rests for number in range(10)}

    assert ends == {Phase.READY, Phase.RETIRED, Phase.REJECTED, Phase.FAILED}


def test_a_drop_announces_itself_last() -> None:
    """config.json comes when everything else is there."""
    assert [name for name, _ in drop(3).files][-1] == "config.json"
