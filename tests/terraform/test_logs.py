"""The functions' logs are what Cloud Logging and the metrics read."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from weightdrop import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where logs go; the test run's own handlers come back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    ours = {
        name: logging.getLogger(name).level
        for name in ("weightdrop", "weightdrop_functions")
    }
    # basicConfig(force) closes what it removes, so pytest's handlers step aside.
    root.handlers = []
    found = io.StringIO()
    logs.configure(found)
    yield found
    root.handlers = handlers
    root.setLevel(level)
    for name, before in ours.items():
        logging.getLogger(name).setLevel(before)


def test_a_line_is_json_with_severity_and_facts(stream: io.StringIO) -> None:
    """Facts stand beside the message under their own names."""
    log = logging.getLogger("weightdrop.test")
    log.info(
        "published %s", "x", extra={"facts": {logs.EVENT: "x", logs.DEPLOYMENT: "d"}}
    )

    assert json.loads(stream.getvalue()) == {
        "severity": "INFO",
        "message": "published x",
        "logger": "weightdrop.test",
        "event": "x",
        "deployment": "d",
    }


def test_a_fact_cannot_hide_the_severity(stream: io.StringIO) -> None:
    """What comes from outside does not decide how a line is filed."""
    log = logging.getLogger("weightdrop.test")
    log.error("bad", extra={"facts": {"severity": "DEBUG", "message": "fine"}})
    line = json.loads(stream.getvalue())

    assert (line["severity"], line["message"]) == ("ERROR", "bad")


def test_an_exception_is_one_line(stream: io.StringIO) -> None:
    """A traceback stays with its message, however many lines it has."""
    log = logging.getLogger("weightdrop.test")
    try:
        int("gone\nand away")
    except ValueError:
        log.exception("failed")

    assert len(stream.getvalue().splitlines()) == 1
    assert "ValueError: invalid literal" in json.loads(stream.getvalue())["message"]


def test_other_libraries_are_quiet_until_they_warn(stream: io.StringIO) -> None:
    """HTTP clients log much at level INFO that nobody reads."""
    logging.getLogger("urllib3.connectionpool").info("chatter")
    logging.getLogger("urllib3.connectionpool").warning("trouble")

    assert [json.loads(it)["message"] for it in stream.getvalue().splitlines()] == [
        "trouble"
    ]
