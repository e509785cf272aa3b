"""The tables of docs/clients.md, written by the tests that make the calls.

`make clients` writes them anew. In any other run a test that makes a call is held
against them: a call that works and is not in its table, or stands there as one that
does not, fails its test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "clients.md"
WRITE = "WEIGHTDROP_CLIENT_TABLE"
CLIENTS, BINDINGS = "clients", "calls of the API"

KNOWN = (
    (
        "gcloud",
        "`ai model-garden models deploy --model=META/MODEL` (no `gs://`)",
        "no",
        "gcloud drops its endpoint override here, and the stand-in deploys folders",
    ),
    (
        "gcloud before 532",
        "`ai model-garden models deploy --model=gs://…`",
        "no",
        "it refuses the flag's value before it sends anything",
    ),
    (
        "generated clients over REST",
        "`raw_predict`, `stream_raw_predict`, `chat_completions`",
        "no",
        "their REST transport reads the model's own JSON as a message of the API",
    ),
    (
        "google-cloud-storage 3.17",
        "`bucket.notification(…).create()`",
        "no",
        "there is no Pub/Sub on one machine: refused; watched buckets post CloudEvents",
    ),
)
"""What no test can show working, and why: found by trying."""


@dataclass(frozen=True)
class Row:
    """One call of one client."""

    client: str
    call: str
    works: str
    note: str

    def line(self) -> str:
        """The row in Markdown."""
        return f"| {self.client} | {self.call} | {self.works} | {self.note} |"


def marks(table: str) -> tuple[str, str]:
    """The lines that a table stands between."""
    return f"<!-- {table}: written by the tests -->", f"<!-- end of {table} -->"


def lines(table: str) -> list[str]:
    """The lines of a table in the document, without its head."""
    begin, end = marks(table)
    text = DOCUMENT.read_text("utf-8")
    inner = text.partition(begin)[2].partition(end)[0].strip()
    return inner.splitlines()[2:]


def rows() -> list[Row]:
    """The calls of clients that the document tells of."""
    found = []
    for line in lines(CLIENTS):
        client, call, works, *note = (part.strip() for part in line.split(" | "))
        found.append(Row(client.strip("| "), call, works, "".join(note).strip("| ")))
    return found


def write(table: str, head: str, body: Sequence[str]) -> None:
    """Put a table between its marks."""
    begin, end = marks(table)
    text = DOCUMENT.read_text("utf-8")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    rule = "| " + " | ".join("---" for _ in head.strip("|").split("|")) + " |"
    whole = "\n".join([head, rule, *body])
    DOCUMENT.write_text(f"{before}{begin}\n\n{whole}\n\n{end}{after}", "utf-8")
