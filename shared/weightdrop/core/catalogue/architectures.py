"""The architectures that the pinned engine serves text with."""

from __future__ import annotations

from weightdrop.core.catalogue.architectures_table import (
    ENGINE,
    MULTIMODAL,
    NOT_TEXT,
    TEXT,
    TRANSFORMERS,
)

__all__ = ["ENGINE", "MULTIMODAL", "NOT_TEXT", "TEXT", "TRANSFORMERS", "serves"]


def serves(architecture: str) -> bool:
    """Whether the engine generates text with this class."""
    return architecture in TEXT | MULTIMODAL | TRANSFORMERS
