"""Structured logs: one JSON object a line, as Cloud Logging reads it.

Whatever a log call passes as `extra={"facts": {...}}` stands beside the message
under its own name; Terraform makes metrics and alerts of some of these names.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import IO

EVENT = "event"
"""Fact: the type of an event that was published."""

DEPLOYMENT = "deployment"
"""Fact: the deployment's id."""

PHASE = "phase"
"""Fact: the phase a deployment is in."""

PHASE_SECONDS = "phase_seconds"
"""Fact: how long it has been in that phase, in seconds."""


class JsonFormatter(logging.Formatter):
    """One line of JSON with the fields that Cloud Logging knows."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        facts = getattr(record, "facts", {})
        line = {
            **facts,
            "severity": record.levelname,
            "message": message,
            "logger": record.name,
        }
        return json.dumps(line, default=str)


def configure(stream: IO[str] | None = None) -> None:
    """Send this process's logs to `stream`, standard output by default."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("weightdrop", "weightdrop_functions"):
        logging.getLogger(package).setLevel(logging.INFO)
