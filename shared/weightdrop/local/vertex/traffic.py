"""Which deployed model answers a request: the traffic split, request by request."""

from __future__ import annotations

from collections.abc import Mapping


class Wheel:
    """Hands out names so that every run of requests follows the percentages.

    Smooth weighted round robin: of any hundred requests in a row each name gets
    exactly its percent, spread evenly.
    """

    def __init__(self) -> None:
        self._credit: dict[str, int] = {}

    def turn(self, split: Mapping[str, int]) -> str:
        """The name whose turn it is; "" when no name has a part."""
        parts = {name: part for name, part in split.items() if part > 0}
        if not parts:
            return ""
        self._credit = {
            name: self._credit.get(name, 0) + part for name, part in parts.items()
        }
        chosen = max(self._credit, key=lambda name: (self._credit[name], name))
        self._credit[chosen] -= sum(parts.values())
        return chosen
