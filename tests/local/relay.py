"""What stands before a stand-in: TLS that is taken off, an ear that listens."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def certificate(home: Path, *names: str) -> tuple[Path, Path]:
    """A certificate for localhost and further names, and its key, by openssl."""
    certificate, key = home / "certificate.pem", home / "key.pem"
    every = ",".join(["DNS:localhost", "IP:127.0.0.1", *(f"DNS:{n}" for n in names)])
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-subj", "/CN=local stand-in", "-addext", f"subjectAltName={every}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


class Ear:
    """What clients said through a relay, one text of bytes per connection."""

    def __init__(self) -> None:
        self.heard: list[bytearray] = []

    def connection(self) -> bytearray:
        """Where a new connection's bytes are kept."""
        self.heard.append(bytearray())
        return self.heard[-1]


@contextmanager
def relay(
    port: int, *, secret: tuple[Path, Path] | None = None, ear: Ear | None = None
) -> Iterator[int]:
    """A port that leads to another one of this machine.

    Args:
        port: The other one.
        secret: Certificate and key; with them it takes TLS off.
        ear: Hears what clients say.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if secret is not None:
        context.load_cert_chain(*secret)

    class Carry(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            client: socket.socket = self.request
            kept = ear.connection() if ear else bytearray()
            with contextlib.suppress(OSError):
                if secret is not None:
                    client = context.wrap_socket(client, server_side=True)
                with client, socket.create_connection(("127.0.0.1", port)) as server:
                    back = threading.Thread(target=_pump, args=(server, client))
                    back.start()
                    _pump(client, server, kept)
                    server.shutdown(socket.SHUT_WR)
                    back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Carry) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


def _pump(
    source: socket.socket, target: socket.socket, kept: bytearray | None = None
) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(1 << 16):
            if kept is not None:
                kept += block
            target.sendall(block)
