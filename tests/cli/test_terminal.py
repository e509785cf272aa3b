"""What comes from a bucket cannot steer a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from weightdrop.cli.terminal import clean


@given(st.text(st.characters()))
def test_nothing_unsafe_gets_through(text: str) -> None:
    """Whatever the text, what is shown holds visible characters only."""
    shown = clean(text)

    assert all(
        unicodedata.category(character) not in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
        for character in shown
    )


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_visible_text_stays_as_it_is(text: str) -> None:
    """Text in any script is not touched."""
    assert clean(text) == text


def test_escape_sequences_and_reordering_are_shown() -> None:
    """A reader sees what somebody tried."""
    assert clean("\x1b[2Jgone\u202etxt.exe\n") == r"\x1b[2Jgone\u202etxt.exe\n"


def test_line_breaks_may_stay() -> None:
    """A model's answer keeps its lines, and nothing else."""
    assert clean("a\n\tb\x07", lines=True) == "a\n\tb\\x07"
