"""`weightdrop dead-letters`: look at what could not be handled, and re-drive it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.builders import NOON, make_message
from weightdrop import codec, letters
from weightdrop.core.deployment.events import REQUESTS_TOPIC
from weightdrop.local.queue import FILE_NAME, SqliteBus


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A stack's home with one dead letter."""
    request = make_message("request-1", topic=REQUESTS_TOPIC, type="")
    message = {
        "data": base64.b64encode(request.data.encode()).decode(),
        "attributes": codec.attributes(request),
        "orderingKey": request.ordering_key,
    }
    source = f"//pubsub.googleapis.com/projects/local/topics/{REQUESTS_TOPIC}"
    bus = SqliteBus(tmp_path / FILE_NAME)
    bus.publish(
        letters.bury(
            {"id": "1", "source": source},
            {"message": message},
            reason="no \x1b[31msuch thing",
            now=NOON,
        )
    )
    bus.close()
    return tmp_path


def test_letters_are_shown_with_their_reason(
    cli: Callable[..., Any], home: Path
) -> None:
    """A person reads why, and nothing in a letter steers the terminal."""
    shown = cli("dead-letters", "--home", str(home))

    assert shown.status == 0
    assert "such thing" in shown.out
    assert "\x1b[31m" not in shown.out


def test_a_letter_is_redriven_once(cli: Callable[..., Any], home: Path) -> None:
    """It is on its topic again, and no dead letter any more."""
    listed = cli("dead-letters", "--home", str(home), "--json")
    (letter,) = listed.document["deadLetters"]

    done = cli("dead-letters", "--home", str(home), "--redrive", letter["id"])
    again = cli("dead-letters", "--home", str(home), "--redrive", letter["id"])

    bus = SqliteBus(home / FILE_NAME)
    (entry,) = bus.read(REQUESTS_TOPIC, after=0, limit=10)
    bus.close()
    assert (done.status, again.status) == (0, 2)
    assert entry.message.id == "request-1"
    assert cli("dead-letters", "--home", str(home), "--json").document == {
        "deadLetters": []
    }


def test_without_a_stack_or_project_the_call_is_wrong(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    """It says what to set."""
    outcome = cli("dead-letters", "--home", str(tmp_path / "none"))

    assert (outcome.status, "--project" in outcome.err) == (2, True)
