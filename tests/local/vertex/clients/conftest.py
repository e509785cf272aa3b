"""One stack for all clients: with the tiny container, and with real vLLM."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from local.vertex.clients import table
from local.vertex.clients.running import Stack, stack

_SERVERS = ["container", pytest.param("vllm", marks=pytest.mark.vllm)]
_OUTCOMES = {"passed": "yes", "failed": "no", "skipped": "not tried"}
_rows: dict[tuple[str, str], table.Row] = {}


@pytest.fixture(scope="package", params=_SERVERS)
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The stack, once with each kind of server."""
    home = tmp_path_factory.mktemp("clients")
    with stack(home, vllm=request.param == "vllm") as found:
        yield found


@pytest.fixture
def calls(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Says which calls of which client a test makes, for the documentation."""

    def note(client: str, *made: str) -> None:
        for call in made:
            record_property("call", (client, call))

    return note


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what each call came to; a call that fails once does not work."""
    made: list[tuple[str, str]] = [
        (str(value[0]), str(value[1]))
        for name, value in report.user_properties
        if name == "call" and isinstance(value, tuple | list)
    ]
    if not made or report.when != "call":
        return
    why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    for client, call in made:
        works = _OUTCOMES[report.outcome]
        before = _rows.get((client, call))
        if before is None or works == "no" or before.works == "not tried":
            note = why.removeprefix("Skipped: ")
            _rows[client, call] = table.Row(client, call, works, note)


def pytest_sessionfinish() -> None:
    """Write the table, if that was asked for."""
    if os.environ.get("WEIGHTDROP_CLIENT_TABLE") and _rows:
        table.write(list(_rows.values()))
