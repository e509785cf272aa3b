"""The line between the supervisor and the engine's process.

JSON lines over a socket pair. Its end tells the engine that the supervisor is gone,
however it went.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

_LONGEST_LINE: Final = 64 << 10


class Control:
    """The engine's end of the line.

    Args:
        descriptor: The inherited socket.
        on_end: Called, in a thread of its own, when the supervisor is gone.
    """

    def __init__(self, descriptor: int, on_end: Callable[[], None]) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.settimeout(None)
        self._on_end = on_end
        self._lock = threading.Lock()
        self._listener: Callable[[str], None] | None = None
        self._waiting: list[str] = []

    def watch(self) -> None:
        """Start to listen, in a thread that does not keep the process alive."""
        threading.Thread(target=self._listen, name="control", daemon=True).start()

    def deliver_to(self, listener: Callable[[str], None]) -> None:
        """Pass each order to `listener`, those that came before it too."""
        with self._lock:
            self._listener = listener
            waiting, self._waiting = self._waiting, []
        for order in waiting:
            listener(order)

    def tell(self, event: str, **facts: Any) -> None:
        """Tell the supervisor."""
        line = json.dumps({"event": event, **facts}) + "\n"
        self._socket.sendall(line.encode())

    def _listen(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                while line := lines.readline(_LONGEST_LINE):
                    self._deliver(str(json.loads(line)["order"]))
        except (OSError, ValueError, KeyError, RuntimeError):
            pass  # a line that cannot be read, or obeyed, is as good as none
        self._on_end()

    def _deliver(self, order: str) -> None:
        with self._lock:
            listener = self._listener
            if listener is None:
                self._waiting.append(order)
                return
        listener(order)


_current: list[Control] = []


def install(control: Control) -> None:
    """Make `control` the one that `current` returns."""
    _current[:] = [control]


def current() -> Control | None:
    """The process's line to its supervisor; None if it has none."""
    return _current[0] if _current else None
