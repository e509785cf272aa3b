"""Latency and failures on demand, so that a test can see what comes of them."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from weightdrop.local.vertex.faults import CODES, ApiError, invalid

JSON = dict[str, Any]
PATH = "/weightdrop/faults"
WHERE = ("request", "answer", "operation")


@dataclass(slots=True)
class Rule:
    """What happens to the next calls that match.

    Attributes:
        match: Regular expression, searched in "METHOD /path" of a request, or
            in "KIND RESOURCE" of an operation, as in "deploy_model
            projects/P/locations/L/endpoints/E" or "upload_model projects/…".
        where: `request` before anything is done, `answer` after it was done
            (the client does not learn of it), `operation` instead of its work.
        status: Canonical error name; empty for latency alone.
        message: Of the error.
        times: How many calls it still happens to.
        latency_seconds: Waited first.
    """

    match: str
    where: str = "request"
    status: str = ""
    message: str = "injected"
    times: int = 1
    latency_seconds: float = 0.0


class Injection:
    """The rules in force; they do not survive a restart."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def put(self, body: bytes) -> JSON:
        """Replace the rules by those of a JSON document {"rules": […]}.

        Raises:
            ApiError: INVALID_ARGUMENT when it holds no rules.
        """
        try:
            document = msgspec.json.decode(body, type=dict[str, list[Rule]])
            rules = document.get("rules", [])
            for rule in rules:
                re.compile(rule.match)
        except (msgspec.DecodeError, re.error) as error:
            raise invalid(f"These are no rules: {error}") from error
        for rule in rules:
            if rule.where not in WHERE or (rule.status and rule.status not in CODES):
                raise invalid(f"This rule cannot be used: {rule}")
        self._rules = rules
        return self.shown()

    def shown(self) -> JSON:
        """The rules that are left."""
        left: list[JSON] = msgspec.to_builtins([r for r in self._rules if r.times > 0])
        return {"rules": left}

    async def meet(self, where: str, subject: str) -> None:
        """Let the first matching rule happen; raises its ApiError."""
        for rule in self._rules:
            if (
                rule.times > 0
                and rule.where == where
                and re.search(rule.match, subject)
            ):
                rule.times -= 1
                await asyncio.sleep(rule.latency_seconds)
                if rule.status:
                    raise ApiError(rule.status, rule.message)
                return
