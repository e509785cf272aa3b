"""Says which calls of which client a test makes, and keeps what came of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

import pytest

from local import table

_OUTCOMES = {"passed": "yes", "failed": "no", "skipped": "not tried"}
_rows: dict[tuple[str, str], table.Row] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark."""
    mark = "client(name, *calls): calls of a real client that the test makes"
    config.addinivalue_line("markers", mark)


def unknown(client: str, calls: Sequence[str]) -> list[str]:
    """The calls of a client that the document does not show as working."""
    shown = {(row.client, row.call) for row in table.rows() if row.works == "yes"}
    return [call for call in calls if (client, call) not in shown]


@pytest.fixture(autouse=True)
def _calls(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    """Note the calls of `@pytest.mark.client(name, *calls)`; docs must know them."""
    for mark in request.node.iter_markers("client"):
        client, *calls = mark.args
        for call in calls:
            record_property("call", (client, call))
        if table.WRITE not in os.environ:
            missing = unknown(client, calls)
            assert missing == [], "docs/clients.md does not tell it: `make clients`"


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


def merged(made: Iterable[table.Row], before: Iterable[table.Row]) -> list[table.Row]:
    """The rows of the document: what was not tried in this run stays as it stood."""
    stood = {(row.client, row.call): row for row in before}
    rows = [
        stood.get((row.client, row.call), row) if row.works == "not tried" else row
        for row in made
    ]
    rows += [table.Row(*known) for known in table.KNOWN]
    return sorted(rows, key=lambda row: row.client.lower())


def pytest_sessionfinish() -> None:
    """Write the table, if that was asked for."""
    if os.environ.get(table.WRITE) and _rows:
        rows = merged(_rows.values(), table.rows())
        head = "| client | call | works | note |"
        table.write(table.CLIENTS, head, [row.line() for row in rows])
