"""One emulator of each kind for all tests of a process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from contracts import emulators

_MISSING = "EMULATORS MISSING"


@contextlib.contextmanager
def _or_skip(emulator: AbstractContextManager[str]) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        try:
            endpoint = stack.enter_context(emulator)
        except emulators.EmulatorsMissingError as error:
            if emulators.required():
                pytest.fail(f"{_MISSING}: {error}")
            pytest.skip(f"{_MISSING}: {error}")
        yield endpoint


@pytest.fixture(scope="session")
def firestore_endpoint() -> Iterator[str]:
    """Where a Firestore emulator listens."""
    with _or_skip(emulators.firestore()) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def pubsub_endpoint() -> Iterator[str]:
    """Where a Pub/Sub emulator listens."""
    with _or_skip(emulators.pubsub()) as endpoint:
        yield endpoint


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not proved: skipped tests are easily overlooked."""
    skipped = terminalreporter.stats.get("skipped", [])
    missing = [report for report in skipped if _MISSING in str(report.longrepr)]
    if missing:
        terminalreporter.write_line(
            f"{_MISSING}: {len(missing)} contract tests did not run against Google's "
            f"emulators. {emulators.REQUIRE}=1 makes this a failure.",
            red=True,
        )
