"""The Platform port over Vertex AI, Google's own or our stand-in."""

from __future__ import annotations

from weightdrop.adapters.vertex.messages import Safeguards
from weightdrop.adapters.vertex.platform import VertexPlatform

__all__ = ["Safeguards", "VertexPlatform"]
