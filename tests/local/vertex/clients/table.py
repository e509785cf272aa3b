"""The table of client calls in the documentation, written by the tests that make them.

Run the client tests with `WEIGHTDROP_CLIENT_TABLE=1` (and without xdist) to write
it anew between the markers in docs/vertex-stand-in.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[4] / "docs" / "vertex-stand-in.md"
BEGIN = "<!-- client table: written by the tests -->"
END = "<!-- end of client table -->"

KNOWN = (
    (
        "gcloud 532 and newer",
        "`ai model-garden models deploy --model=META/MODEL` (no `gs://`)",
        "no",
        "gcloud drops its endpoint override here and calls Google's host over TLS",
    ),
    (
        "google-cloud-aiplatform",
        "`raw_predict`, `stream_raw_predict` on an endpoint that is not dedicated",
        "no",
        "the SDK writes Google's host into the URL, whatever `api_endpoint` says",
    ),
    (
        "google-cloud-aiplatform",
        "`predict_async` on a dedicated endpoint",
        "no",
        "it trusts certifi's certificates alone, and refuses anonymous credentials",
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


def lines(rows: list[Row]) -> list[str]:
    """The table in Markdown."""
    head = ["| client | call | works | note |", "| --- | --- | --- | --- |"]
    return head + [
        f"| {row.client} | {row.call} | {row.works} | {row.note} |" for row in rows
    ]


def write(rows: list[Row]) -> None:
    """Put the table between its markers."""
    whole = [*rows, *(Row(*known) for known in KNOWN)]
    text = DOCUMENT.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    table = "\n".join(lines(whole))
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", "utf-8")
