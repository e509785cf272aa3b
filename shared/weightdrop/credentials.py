"""The Credentials port: who the command line is in the cloud; see weightdrop.ports."""

from __future__ import annotations

from typing import Protocol


class Credentials(Protocol):
    """Tokens of whoever runs a command; kept while they are good."""

    def identity_token(self, audience: str) -> str:
        """Says who one is to the service at `audience`, a base URL.

        Raises UsageError, with the command to run, if nobody is logged in.
        """
        ...

    def access_token(self) -> str:
        """Lets one call Google's APIs; raises as `identity_token` does."""
        ...
