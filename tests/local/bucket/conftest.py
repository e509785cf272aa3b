"""One running bucket server for all tests of a process; a bucket for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from google.cloud import storage

from local.bucket.harness import Running, running

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running bucket server."""
    with running(tmp_path_factory.mktemp("bucket")) as started:
        yield started


@pytest.fixture(scope="session")
def client(server: Running) -> Iterator[storage.Client]:
    """Google's client."""
    made = server.client()
    yield made
    made.close()


@pytest.fixture
def bucket(client: storage.Client) -> storage.Bucket:
    """An empty bucket of the test's own."""
    return client.create_bucket(f"test-{next(_NUMBERS)}")
