"""Our header reader against the format's own, on mutated files."""

from __future__ import annotations

import random

import header_fuzz
import pytest


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_library_refuses_we_refuse(seed: int) -> None:
    """25,000 mutated files for each of four seeds; none is accepted by us alone."""
    outcome = header_fuzz.run(25_000, seed)

    assert outcome.looser == 0, outcome.example
    assert outcome.tried == 25_000


def test_the_fuzzer_tries_both_kinds() -> None:
    """A run that only ever met broken files, or only good ones, would prove little."""
    outcome = header_fuzz.run(5_000, 11)

    assert outcome.both_accept > 500
    assert outcome.both_refuse > 500


def test_we_are_hardly_stricter() -> None:
    """What only we refuse is rare: duplicate keys, unknown members, odd beginnings."""
    outcome = header_fuzz.run(5_000, 12)

    assert outcome.stricter < outcome.tried * 0.03


def test_the_fuzzer_would_find_a_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that accepts everything is caught at once, with the file as proof."""
    monkeypatch.setattr(header_fuzz, "we_refuse", lambda _: False)
    outcome = header_fuzz.run(1_000, 13)

    assert outcome.looser == 1
    assert header_fuzz.they_refuse(outcome.example)


def test_mutations_are_repeatable() -> None:
    """A seed names a file."""
    first, again = random.Random(5), random.Random(5)

    assert header_fuzz.mutated(first) == header_fuzz.mutated(again)
