"""Ports for servers that have not begun to listen."""

from __future__ import annotations

import socket

from weightdrop.local.vertex.processes import Ports


def test_no_two_servers_that_start_get_the_same_port() -> None:
    """The kernel alone repeats itself: of a thousand draws some would be equal."""
    ports = Ports()

    assert len({ports.free() for _ in range(1000)}) == 1000


def test_a_port_that_is_in_use_is_not_given() -> None:
    """Whoever listens already keeps its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports = Ports()
        given = {ports.free() for _ in range(1000)}

        assert server.getsockname()[1] not in given
