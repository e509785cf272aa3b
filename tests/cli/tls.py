"""TLS for stand-ins that have none: a certificate, and what takes it off."""

from __future__ import annotations

import contextlib
import shutil
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


@contextmanager
def tls_before(port: int, secret: tuple[Path, Path]) -> Iterator[int]:
    """A port that takes TLS off and leads to another port of this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*secret)

    class Carry(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as inner,
                socket.create_connection(("127.0.0.1", port)) as outer,
                outer.makefile("wb", buffering=0) as to_server,
                outer.makefile("rb", buffering=0) as from_server,
                inner.makefile("rb", buffering=0) as from_client,
                inner.makefile("wb", buffering=0) as to_client,
            ):
                back = threading.Thread(
                    target=_pump, args=(from_server, to_client), daemon=True
                )
                back.start()
                _pump(from_client, to_server)
                outer.shutdown(socket.SHUT_WR)
                back.join()

    def _pump(source: object, target: object) -> None:
        with contextlib.suppress(OSError, ValueError):
            shutil.copyfileobj(source, target)  # type: ignore[misc]  # raw streams

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Carry) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()
