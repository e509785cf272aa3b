"""One stack for all clients: with the tiny container, and with real vLLM."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.vertex.clients.running import VLLM, Stack, stack


@pytest.fixture(scope="package", params=["container", VLLM])
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The stack, once with each kind of server."""
    home = tmp_path_factory.mktemp("clients")
    with stack(home, vllm=request.param == "vllm") as found:
        yield found
