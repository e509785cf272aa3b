"""A model server that repeats the question: in place of vLLM, and as quick.

Takes the forms that the documentation shows: chats, streamed or not, and
Vertex AI's instances.
"""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers as the serving image does."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Write no access log."""

    def _send(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        """Healthy at once."""
        self._send("application/json", b"{}")

    def do_POST(self) -> None:
        """Repeat what was asked."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "instances" in body:
            said = [f"You asked: {one['prompt']}" for one in body["instances"]]
            document = json.dumps({"predictions": said})
            self._send("application/json", document.encode())
        elif body.get("stream"):
            events = [_chunk(body, "You asked: "), _chunk(body, _question(body))]
            text = "".join(f"data: {json.dumps(it)}\n\n" for it in events)
            self._send("text/event-stream", f"{text}data: [DONE]\n\n".encode())
        elif "prompt" in body:
            text = f"You asked: {body['prompt']}"
            document = json.dumps(_completion(body, "", "text", text))
            self._send("application/json", document.encode())
        else:
            message = {"role": "assistant", "content": f"You asked: {_question(body)}"}
            document = json.dumps(_completion(body, "", "message", message))
            self._send("application/json", document.encode())


def _question(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def _completion(
    body: dict[str, Any], kind: str, name: str, value: object
) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": f"chat.completion{kind}" if name != "text" else "text_completion",
        "created": 1,
        "model": body.get("model", ""),
        "choices": [{"index": 0, name: value, "finish_reason": None}],
    }


def _chunk(body: dict[str, Any], text: str) -> dict[str, object]:
    return _completion(body, ".chunk", "delta", {"content": text})


if __name__ == "__main__":
    port = int(os.environ["AIP_HTTP_PORT"])
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
