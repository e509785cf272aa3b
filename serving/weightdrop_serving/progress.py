"""Tells health of every step that the engine takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vllm.v1.metrics.loggers import StatLoggerBase

_listeners: list[Callable[[], None]] = []


def listen(listener: Callable[[], None]) -> None:
    """Have `listener` called at every step of the engine."""
    _listeners[:] = [listener]


class ProgressLogger(StatLoggerBase):  # type: ignore[misc]  # vLLM is untyped here
    """vLLM's plugin for statistics: called once per step, tokens or not.

    A long prompt takes many steps before its first token; without this it would
    look like an engine that hangs.
    """

    def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
        """Take what vLLM gives; none of it is needed."""

    def record(self, *_: Any, **__: Any) -> None:
        """A step was taken."""
        for listener in _listeners:
            listener()

    def log_engine_initialized(self) -> None:
        """Nothing to say."""
