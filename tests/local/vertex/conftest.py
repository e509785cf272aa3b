"""Fixtures: a running stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.vertex.running import Running


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts stand-ins with options of their own."""
    made: list[Running] = []

    def start(*options: str, home: str = "vertex", **env: str) -> Running:
        made.append(Running(tmp_path / home, *options, env=env))
        return made[-1]

    yield start
    for running in made:
        running.close()


@pytest.fixture
def vertex(make: Callable[..., Running]) -> Running:
    """A stand-in of its own for this test."""
    return make()
