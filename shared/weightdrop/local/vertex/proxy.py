"""An HTTPS proxy that leads Google's own host names to the stand-in.

Some clients take no other host than Google's. With `https_proxy` set to this one,
they speak with the stand-in and do not know: nothing of them is changed. It leads
to two ports of this machine and nowhere else, so nothing it carries leaves it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click

from weightdrop.local.vertex.guard import is_google

_HOST = "127.0.0.1"
_HTTPS = "443"
_RECORD_HEAD = 5
_LENGTH = slice(3, 5)
_BLOCK = 65536
# ALPN names as a ClientHello holds them: each behind its length.
_H2, _HTTP_1 = b"\x02h2", b"\x08http/1.1"


class Proxy:
    """Answers CONNECT for the hosts that the stand-in plays.

    Args:
        tls_port: Where the stand-in speaks HTTPS.
        grpc_port: Where its gRPC face speaks TLS; 0 if there is none.
    """

    def __init__(self, *, tls_port: int, grpc_port: int) -> None:
        self._tls_port = tls_port
        self._grpc_port = grpc_port

    async def __call__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry one connection."""
        with (
            contextlib.suppress(OSError, asyncio.IncompleteReadError),
            _closing(writer),
        ):
            await self._carry(reader, writer)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return
        host, port = _target(head)
        if not is_google(host) or port != _HTTPS:
            words = (
                f"This proxy leads to the stand-in only, not to {host or 'there'}.\n"
            )
            writer.write(_refusal(words))
            await writer.drain()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        hello = await _hello(reader)
        port_there = self._grpc_port if _is_grpc(hello) else self._tls_port
        if not port_there:
            return
        back, forth = await asyncio.open_connection(_HOST, port_there)
        with _closing(forth):
            forth.write(hello)
            ways = [
                asyncio.ensure_future(_pump(reader, forth)),
                asyncio.ensure_future(_pump(back, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)


def _target(head: bytes) -> tuple[str, str]:
    """Host and port that a request asks for; empty if it is no CONNECT."""
    words = head.partition(b"\r\n")[0].decode("latin-1").split()
    if len(words) != 3 or words[0] != "CONNECT":  # noqa: PLR2004
        return "", ""
    host, _, port = words[1].rpartition(":")
    return host.lower(), port


def _refusal(words: str) -> bytes:
    head = f"HTTP/1.1 403 Forbidden\r\ncontent-length: {len(words)}\r\n\r\n"
    return (head + words).encode("latin-1", "replace")


async def _hello(reader: asyncio.StreamReader) -> bytes:
    """The client's first TLS record."""
    head = await reader.readexactly(_RECORD_HEAD)
    return head + await reader.readexactly(int.from_bytes(head[_LENGTH]))


def _is_grpc(hello: bytes) -> bool:
    """Whether a ClientHello is gRPC's: it offers HTTP/2 and nothing older."""
    return _H2 in hello and _HTTP_1 not in hello


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()


@contextmanager
def _closing(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.close()


async def _serve(proxy: Proxy, port: int) -> None:
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    server = await asyncio.start_server(proxy, _HOST, port)
    bound = server.sockets[0].getsockname()[1]
    click.echo(f"HTTPS proxy for the stand-in on {_HOST}:{bound}", err=True)
    await over.wait()
    server.close()


@click.command()
@click.option("--port", default=0, help="0 takes a free one.")
@click.option("--tls-port", required=True, type=int, help="The stand-in's.")
@click.option("--grpc-port", default=0, help="The gRPC face's, with TLS.")
def main(*, port: int, tls_port: int, grpc_port: int) -> None:
    """Lead Google's host names to the stand-in, for clients that take no other."""
    asyncio.run(_serve(Proxy(tls_port=tls_port, grpc_port=grpc_port), port))


if __name__ == "__main__":
    main()
