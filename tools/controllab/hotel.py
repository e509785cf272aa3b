"""Answers on the ports of all containers of a storm: one process for hundreds.

python -m controllab.hotel SOCKET
"""

from __future__ import annotations

import asyncio
import json
import sys

_BODY = json.dumps(
    {
        "id": "storm",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "text": "hello",
                "message": {"role": "assistant", "content": "hello"},
                "finish_reason": "stop",
            }
        ],
        "predictions": ["hello"],
    }
).encode()
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
    + str(len(_BODY)).encode()
    + b"\r\n\r\n"
    + _BODY
)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say the same to whatever is asked."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.lower().split(b"\r\n")
            length = next(
                (it[15:] for it in lines if it.startswith(b"content-length:")), b"0"
            )
            await reader.readexactly(int(length))
            writer.write(_ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def check_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the port of one container, and let it go on."""
    port = int(await reader.readline())
    await asyncio.start_server(answer, "127.0.0.1", port)
    writer.write(b"1")
    await writer.drain()
    writer.close()


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.start_unix_server(check_in, sys.argv[1], backlog=512)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
