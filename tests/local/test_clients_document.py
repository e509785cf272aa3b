"""docs/clients.md tells what the tests do, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import table
from local.conftest import merged, unknown

HERE = Path(__file__).parent


def test_every_working_call_has_a_test_that_makes_it() -> None:
    """What the document shows as working is written in a test that makes the call."""
    sources = "\n".join(path.read_text() for path in HERE.rglob("test_*.py"))
    plain = sources.replace("\\", "")
    known = {(client, call) for client, call, *_ in table.KNOWN}
    orphans = [
        row
        for row in table.rows()
        if row.call.partition(" deploy --model")[0] not in plain
        and (row.client, row.call) not in known
    ]

    assert len(table.rows()) > len(known)
    assert orphans == []


def test_a_call_that_the_document_does_not_tell_is_found() -> None:
    """A test that makes a call which is not in the document is told so."""
    (row, *_) = [row for row in table.rows() if row.works == "yes"]
    fails = next(known for known in table.KNOWN if known[2] == "no")

    assert unknown(row.client, [row.call]) == []
    assert unknown(row.client, ["teleport"]) == ["teleport"]
    assert unknown(fails[0], [fails[1]]) == [fails[1]]


def test_what_does_not_work_says_why() -> None:
    """Each call that does not work has its reason beside it."""
    lame = [row for row in table.rows() if row.works != "yes" and not row.note]

    assert lame == []


def test_a_table_is_written_between_its_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text around a table stays; the table reads back as it was written."""
    document = tmp_path / "clients.md"
    begin, end = table.marks(table.CLIENTS)
    document.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    monkeypatch.setattr(table, "DOCUMENT", document)
    row = table.Row("curl", "`:predict`", "no", "why")

    table.write(table.CLIENTS, "| client | call | works | note |", [row.line()])

    assert table.rows() == [row]
    assert document.read_text().startswith("before\n")
    assert document.read_text().endswith("\nafter\n")


def test_what_was_not_tried_stays_as_it_stood() -> None:
    """A run without a newer gcloud does not take back what a run with one has shown."""
    call = ("gcloud 532 and newer", "`deploy`")
    tried = table.Row(*call, "yes", "")
    skipped = table.Row(*call, "not tried", "not installed")
    failed = table.Row(*call, "no", "")

    assert tried in merged([skipped], [tried])
    assert skipped in merged([skipped], [])
    assert failed in merged([failed], [tried])
