"""Structured logs: one JSON object a line, as Cloud Logging reads it.

Whatever a log call passes as `extra={"facts": {...}}` stands beside the message
under its own name; Terraform makes metrics and alerts of some of these names.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import IO

EVENT = "event"
"""Fact: the type of an event that was published."""

DEPLOYMENT = "deployment"
"""Fact: the deployment's id."""

PHASE = "phase"
"""Fact: the phase a deployment is in."""

PHASE_SECONDS = "phase_seconds"
"""Fact: how long it has been in that phase, in seconds."""

LEFT = "left"
"""Fact: the phase that a deployment has just left."""

LEFT_SECONDS = "left_seconds"
"""Fact: how long it was in the phase that it left, in seconds."""

NEXT = "next"
"""Fact: the phase that it left for."""

TRACE = "logging.googleapis.com/trace"
SPAN = "logging.googleapis.com/spanId"
"""Facts that Cloud Logging moves into fields of the entry itself, by which lines of
one trace are found together:
https://cloud.google.com/logging/docs/structured-logging"""


class JsonFormatter(logging.Formatter):
    """One line of JSON with the fields that Cloud Logging knows.

    Args:
        context: Facts about the work that is being done, for every line of it.
    """

    def __init__(self, context: Callable[[], Mapping[str, object]] = dict) -> None:
        super().__init__()
        self._context = context

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        facts = getattr(record, "facts", {})
        line = {
            **self._context(),
            **facts,
            "severity": record.levelname,
            "message": message,
            "logger": record.name,
        }
        return json.dumps(line, default=str)


def configure(
    stream: IO[str] | None = None,
    *,
    context: Callable[[], Mapping[str, object]] = dict,
) -> None:
    """Send this process's logs to `stream`, standard output by default.

    Args:
        stream: Where to.
        context: Facts about the work that is being done, for every line of it.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter(context))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("weightdrop", "weightdrop_functions"):
        logging.getLogger(package).setLevel(logging.INFO)
