"""Measure the warm control plane, and write docs/benchmarks/control.md.

- From config.json's event to the published request: the real on_artifact under
  functions-framework, Firestore's and Pub/Sub's emulators, the bucket server, a
  folder with the headers of Llama-3.1-8B at their real shapes (sparse files).
- A status read with many deployments in the store, over SQLite and over
  Firestore's emulator.
- A tick's cost with ten active deployments among more and more records.

Exit status: 0 when every limit is kept, 1 when one is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from controlbench.loaded import load_firestore, load_sqlite
from controlbench.measured import event_to_request, many
from controlbench.rows import page
from controllab.lab import lab

from weightdrop.adapters.firestore import FirestoreRecords
from weightdrop.local.records import SqliteRecords

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks" / "control.md"


def main() -> int:
    """Measure, write the page, and say whether the limits are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--page", type=Path, default=PAGE)
    chosen = parser.parse_args()
    rows = [event_to_request(chosen.runs)]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        local = SqliteRecords(home / "records.db")
        rows += many(
            "SQLite",
            local,
            lambda count, start: load_sqlite(home / "records.db", count, start),
            home=home,
            counts=chosen.counts,
        )
        local.close()
        with lab(home) as made:
            cloud = FirestoreRecords("local", endpoint=made.firestore)
            rows += many(
                "Firestore's emulator",
                cloud,
                lambda count, start: load_firestore(cloud, count, start),
                home=home,
                counts=chosen.counts,
            )
            cloud.close()
    text = page(rows)
    chosen.page.parent.mkdir(parents=True, exist_ok=True)
    chosen.page.write_text(text, encoding="utf-8")
    print(text)
    missed = [row.what for row in rows if not row.kept]
    for what in missed:
        print(f"over its limit: {what}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
