"""Ids and phases that there are not, and what may have been meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fakes.builders import make_deployment

ID = "tiny-12345678"


@pytest.mark.parametrize(
    "words", [("status",), ("events",), ("ask", "hello"), ("retry",), ("undeploy",)]
)
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("tiny", f"Did you mean {ID}?"),
        ("ti", f"Did you mean {ID}?"),
        ("tyny-12345678", f"Did you mean {ID}?"),
        ("gs://models/support", "`weightdrop status` lists what there is."),
    ],
)
def test_an_unknown_id_is_answered_with_what_there_is(
    serving: Any, words: tuple[str, ...], asked: str, said: str
) -> None:
    """A folder's name is half of its id; letters are mixed up."""
    serving.app.records.create(make_deployment(ID))
    outcome = serving.weightdrop(words[0], asked, *words[1:])

    assert outcome.status == 2
    assert outcome.err.startswith("weightdrop: There is no deployment '")
    assert outcome.err.endswith(f"'. {said}\n")


@pytest.mark.parametrize("asked", ["./my-model", "a b/c", "", "../../secrets"])
def test_what_can_be_no_id_is_said_to_be_none(serving: Any, asked: str) -> None:
    """Nobody is asked for it."""
    outcome = serving.weightdrop("retry", asked)

    assert outcome.status == 2
    assert outcome.err == (
        f"weightdrop: {asked!r} is no deployment's id and no gs://bucket/prefix: "
        "`weightdrop status` lists what there is.\n"
    )


def test_a_phase_that_there_is_not_is_answered_with_those_there_are(
    cli: Callable[..., Any],
) -> None:
    """Nobody needs to run for that."""
    outcome = cli("status", "--phase", "runing")

    assert outcome.status == 2
    assert "'--phase': 'runing' is not one of 'waiting', 'rejected', " in outcome.err
