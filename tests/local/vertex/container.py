"""A tiny serving container: health, predictions and streams, on the standard library.

Arguments steer it: `--exit N` ends at once, `--never-healthy` answers 503 to
health checks, `--slow SECONDS` takes its time for each prediction, `--waiting N` says
in its metrics that N requests wait.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--exit", type=int, default=-1)
parser.add_argument("--never-healthy", action="store_true")
parser.add_argument("--slow", type=float, default=0.0)
parser.add_argument("--waiting", type=int, default=0)
parser.add_argument("--say", default="hello")
OPTIONS, REST = parser.parse_known_args()
AIP = {key: value for key, value in os.environ.items() if key.startswith("AIP_")}


class Handler(BaseHTTPRequestHandler):
    """Answers as a model server would."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Write no access log."""

    def _send(self, status: int, body: object, text: str = "") -> None:
        data = (text or json.dumps(body)).encode()
        head = (
            f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
            f"content-length: {len(data)}\r\n\r\n"
        )
        self.wfile.write(head.encode() + data)

    def do_GET(self) -> None:
        """Health, and what else is asked."""
        if self.path == AIP["AIP_HEALTH_ROUTE"]:
            self._send(503 if OPTIONS.never_healthy else 200, {})
        elif self.path == "/metrics":
            waiting = f'vllm:num_requests_waiting{{engine="0"}} {OPTIONS.waiting}.0\n'
            self._send(200, None, waiting)
        else:
            self._send(200, {"path": self.path, "method": "GET"})

    def do_POST(self) -> None:
        """Predict, stream, or tell what came in."""
        raw = self.rfile.read(int(self.headers["content-length"]))
        body = json.loads(raw)
        time.sleep(OPTIONS.slow)
        if body.get("die"):
            os._exit(3)
        if body.get("fail"):
            self._send(body["fail"], {"error": "as asked"})
        elif body.get("stream"):
            self._stream(body)
        elif "instances" in body:
            said = [{"said": OPTIONS.say, "got": item} for item in body["instances"]]
            self._send(200, {"predictions": said})
        else:
            env = {**AIP, "EXTRA": os.environ.get("EXTRA", "")}
            answer = {
                "choices": [{"text": OPTIONS.say, "index": 0}],
                "path": self.path,
                "body": body,
                "headers": dict(self.headers),
                "env": env,
                "args": REST,
                "pid": os.getpid(),
            }
            self._send(200, answer)

    def _stream(self, body: dict[str, object]) -> None:
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        wanted = body["stream"]
        for number in range(2 if wanted is True else int(str(wanted))):
            chunk = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            time.sleep(0.2)
        self.wfile.write(b"0\r\n\r\n")


if OPTIONS.exit >= 0:
    sys.stdout.write("the weights are broken\n")
    sys.stdout.flush()
    sys.stderr.write("cannot go on\n")
    sys.exit(OPTIONS.exit)
sys.stdout.write("listening\n")
sys.stdout.flush()
ThreadingHTTPServer(("127.0.0.1", int(AIP["AIP_HTTP_PORT"])), Handler).serve_forever()
