"""A folder as a Cloud Storage bucket, as slow and as faulty as wanted.

For measurements and for tests of failure; the local stack has a server of its own.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

_BLOCK: Final = 256 << 10

Fault = Callable[[str, int], int | str | None]
"""Given an object's name and a range's start: a status to answer with, `cut` to
close the connection in the middle, `corrupt` to change a byte, or None."""


@dataclass
class Conditions:
    """How the emulated service behaves.

    Attributes:
        first_byte: Seconds before each answer with content.
        rate: Bytes per second of one stream; 0 is as fast as possible.
        fault: Asked before each answer with content.
    """

    first_byte: float = 0.0
    rate: float = 0.0
    fault: Fault = field(default=lambda _name, _start: None)


class Emulator:
    """A running emulator of one bucket.

    Args:
        root: The folder whose files are the objects.
        conditions: How it behaves; may be changed while it runs.
    """

    def __init__(self, root: Path, conditions: Conditions) -> None:
        self.root = root
        self.conditions = conditions
        self.served = 0
        self._sums: dict[tuple[str, int], str] = {}
        self._lock = threading.Lock()
        emulator = self

        class Handler(_Handler):
            bench = emulator

        class Server(ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Base URL of the service."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()

    def count(self, size: int) -> None:
        """Note that `size` bytes of content were sent."""
        with self._lock:
            self.served += size

    def facts(self, name: str) -> dict[str, Any] | None:
        """An object's resource, or None."""
        path = self.root / name
        if not path.is_file():
            return None
        status = path.stat()
        generation = status.st_mtime_ns // 1000
        with self._lock:
            checksum = self._sums.get((name, generation), "")
        if not checksum:
            total = 0
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    total = google_crc32c.extend(total, block)
            checksum = base64.b64encode(total.to_bytes(4, "big")).decode()
            with self._lock:
                self._sums[name, generation] = checksum
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": "bench",
            "size": str(status.st_size),
            "generation": str(generation),
            "metageneration": "1",
            "crc32c": checksum,
            "contentType": "application/octet-stream",
            "storageClass": "STANDARD",
            "timeCreated": "2026-01-01T00:00:00.000Z",
            "updated": "2026-01-01T00:00:00.000Z",
        }

    def names(self, prefix: str) -> list[str]:
        """Names of the objects below `prefix`."""
        found = (p for p in self.root.rglob("*") if p.is_file())
        names = (str(path.relative_to(self.root)) for path in found)
        return sorted(name for name in names if name.startswith(prefix))


class _Handler(BaseHTTPRequestHandler):
    bench: Emulator
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:  # the base class names it
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        path = parts.path.removeprefix("/download").removeprefix("/storage/v1/b/")
        _, _, rest = path.partition("/")
        if rest == "o":
            self._list(query.get("prefix", [""])[0])
        elif rest.startswith("o/"):
            self._object(unquote(rest[2:]), query)
        else:
            bucket = {"kind": "storage#bucket", "name": path, "location": "LOCAL"}
            self._json(200, bucket)

    def _list(self, prefix: str) -> None:
        items = [self.bench.facts(name) for name in self.bench.names(prefix)]
        self._json(200, {"kind": "storage#objects", "items": items})

    def _object(self, name: str, query: dict[str, list[str]]) -> None:
        facts = self.bench.facts(name)
        wanted = query.get("generation", [""])[0]
        if facts is None or (wanted and wanted != facts["generation"]):
            self._json(404, {"error": {"code": 404, "message": f"no {name}"}})
        elif query.get("alt") == ["media"]:
            self._media(name, int(facts["size"]))
        else:
            self._json(200, facts)

    def _media(self, name: str, size: int) -> None:
        start, stop = 0, size
        header = self.headers.get("Range", "")
        if header.startswith("bytes="):
            first, _, last = header[6:].partition("-")
            start, stop = int(first), min(int(last) + 1 if last else size, size)
        conditions = self.bench.conditions
        fault = conditions.fault(name, start)
        time.sleep(conditions.first_byte)
        if isinstance(fault, int):
            self._json(fault, {"error": {"code": fault, "message": "a fault"}})
            return
        self.send_response(206 if header else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self._send(self.bench.root / name, start, stop, fault)

    def _send(self, path: Path, start: int, stop: int, fault: str | None) -> None:
        rate = self.bench.conditions.rate
        began = time.monotonic()
        sent = 0
        with path.open("rb") as file:
            file.seek(start)
            while sent < stop - start:
                block = file.read(min(_BLOCK, stop - start - sent))
                if fault == "corrupt" and not sent:
                    block = bytes([block[0] ^ 1]) + block[1:]
                if fault == "cut" and sent + len(block) >= (stop - start) // 2:
                    self.close_connection = True
                    return
                self.wfile.write(block)
                sent += len(block)
                self.bench.count(len(block))
                ahead = sent / rate - (time.monotonic() - began) if rate else 0
                if ahead > 0:
                    time.sleep(ahead)

    def _json(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def emulator(root: Path, conditions: Conditions | None = None) -> Iterator[Emulator]:
    """An emulator of a bucket that holds `root`'s files."""
    running = Emulator(root, conditions or Conditions())
    running.start()
    try:
        yield running
    finally:
        running.stop()


def main() -> None:
    """Serve a folder until the end; the address goes to standard output."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--first-byte", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.0)
    words = parser.parse_args()
    conditions = Conditions(first_byte=words.first_byte, rate=words.rate)
    with emulator(words.root, conditions) as running:
        for name in running.names(""):
            running.facts(name)  # checksums are Cloud Storage's business, not ours
        sys.stdout.write(running.url + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
