"""What the documents say about the code is what the code says."""

from __future__ import annotations

from pathlib import Path

from weightdrop.core.deployment.phases import MOVES

ROOT = Path(__file__).resolve().parents[2]


def test_the_state_diagram_is_the_table_of_moves() -> None:
    """Whoever changes the table changes the picture."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    diagram = text.split("```mermaid\n")[1].split("```")[0]
    drawn = {line.strip() for line in diagram.splitlines() if "-->" in line}
    moves = {
        f"{start.value} --> {end.value}"
        for start, ends in MOVES.items()
        for end in ends
    }

    assert drawn == moves | {"[*] --> waiting"}
