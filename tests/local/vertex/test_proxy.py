"""The proxy leads Google's names to two ports of this machine, and nowhere else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from weightdrop.local.vertex.proxy import Proxy

GOOGLE = "us-central1-aiplatform.googleapis.com"
Way = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def hello(*protocols: str) -> bytes:
    """A real ClientHello that offers these protocols."""
    context, sent = ssl.create_default_context(), ssl.MemoryBIO()
    context.set_alpn_protocols(list(protocols))
    tls = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=GOOGLE)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return sent.read()


@asynccontextmanager
async def listening(way: Way) -> AsyncIterator[int]:
    """A server on a port of this machine."""
    server = await asyncio.start_server(way, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def target(name: bytes) -> Way:
    """A server that says its name and what it was sent."""

    async def way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name + b":" + await reader.read(100_000))
        await writer.drain()
        writer.close()

    return way


async def ask(request: bytes, *more: bytes, grpc: bool = True) -> bytes:
    """All that the proxy answers."""
    async with listening(target(b"tls")) as tls, listening(target(b"grpc")) as face:
        proxy = Proxy(tls_port=tls, grpc_port=face if grpc else 0)
        async with listening(proxy) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            if more:
                assert b"200" in await reader.readuntil(b"\r\n\r\n")
            for part in more:
                writer.write(part)
                await writer.drain()
            async with asyncio.timeout(10):
                answer = await reader.read(-1)
            writer.close()
            return answer


def connect(host: str) -> bytes:
    """The request that asks for a tunnel."""
    return f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("protocols", "name"),
    [(("h2",), b"grpc"), (("http/1.1",), b"tls"), (("h2", "http/1.1"), b"tls")],
)
def test_the_hello_decides(protocols: tuple[str, ...], name: bytes) -> None:
    """Who offers HTTP/2 alone speaks gRPC; the rest, curl's offer too, is HTTPS."""
    first = hello(*protocols)

    answer = asyncio.run(ask(connect(f"{GOOGLE}:443"), first[:3], first[3:]))

    assert answer == name + b":" + first


@pytest.mark.parametrize(
    "request_",
    [
        connect("example.com:443"),
        connect(f"{GOOGLE}:22"),
        connect(f"{GOOGLE}.example.com:443"),
        connect("127.0.0.1:443"),
        b"GET http://us-central1-aiplatform.googleapis.com/ HTTP/1.1\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_nothing_else_is_reached(request_: bytes) -> None:
    """Other hosts, other ports and other methods are refused."""
    assert asyncio.run(ask(request_)).startswith(b"HTTP/1.1 403 ")


def test_no_face_no_grpc() -> None:
    """Without a gRPC port such a connection ends, and does not reach the REST one."""
    assert asyncio.run(ask(connect(f"{GOOGLE}:443"), hello("h2"), grpc=False)) == b""


def test_a_client_that_says_no_word_of_tls_is_let_go() -> None:
    """Half a record and then the end costs nothing but the connection."""

    async def half() -> bytes:
        async with listening(Proxy(tls_port=1, grpc_port=1)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(connect(f"{GOOGLE}:443") + b"\x16\x03")
            writer.write_eof()
            answer = await reader.read(-1)
            writer.close()
            await writer.wait_closed()
            return answer

    assert b"200" in asyncio.run(half())
