"""What an inspection accepts and warns of, by the settings."""

from __future__ import annotations

from weightdrop.core.artifacts.policy import Policy
from weightdrop.settings import Settings, Weights


def policy_of(settings: Settings) -> Policy:
    """The policy of every inspection with these settings."""
    return Policy(strict=settings.strict, direct=settings.weights is Weights.DIRECT)
