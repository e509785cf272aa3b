"""The Credentials port over Google's default credentials and the Google Cloud CLI.

A service account, on a machine of Google's or from a key, gives tokens itself. A
person's default credentials give access tokens, but no identity token that Cloud Run
takes: the Google Cloud CLI makes those, and is asked for both where there are no
default credentials at all.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

import google.auth
from google.auth import exceptions, impersonated_credentials
from google.auth.transport.requests import Request
from google.oauth2 import credentials as user
from google.oauth2 import id_token

from weightdrop.errors import TransientError, UsageError

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GCLOUD_SECONDS = 60.0
"""How long the Google Cloud CLI may take; it starts slowly."""

GCLOUD_KEPT_SECONDS = 1800.0
"""Its tokens are good for an hour, and it makes a new one only near the end."""

_LOGIN = {
    "print-identity-token": "gcloud auth login",
    "print-access-token": "gcloud auth application-default login",
}


class GoogleCredentials:
    """Tokens, made when they are first asked for and kept while they are good."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self._printed: dict[str, tuple[float, str]] = {}

    def identity_token(self, audience: str) -> str:
        """See weightdrop.credentials.Credentials."""
        made = self._once(audience, lambda: _identity(audience))
        return self._token(made, "print-identity-token")

    def access_token(self) -> str:
        """See weightdrop.credentials.Credentials."""
        return self._token(self._once("", _default), "print-access-token")

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _token(self, made: Any, command: str) -> str:
        if made is None:
            return self._print(command)
        try:
            if not made.valid:
                made.refresh(Request())
        except exceptions.TransportError as error:
            raise TransientError(
                f"Google does not answer ({error}): look at the network, and at the "
                "variable HTTPS_PROXY behind a proxy."
            ) from error
        except exceptions.GoogleAuthError as error:
            raise UsageError(
                f"Your credentials are not taken any more ({error}). Log in with "
                f"`{_LOGIN['print-access-token']}`."
            ) from error
        return str(made.token)

    def _print(self, command: str) -> str:
        """What `gcloud auth COMMAND` prints."""
        made, token = self._printed.get(command, (float("-inf"), ""))
        if time.monotonic() - made < GCLOUD_KEPT_SECONDS:
            return token
        gcloud = shutil.which("gcloud")
        if gcloud is None:
            raise UsageError(
                "Nobody is logged in to Google Cloud here. Install the Google Cloud "
                f"CLI (https://cloud.google.com/sdk) and run `{_LOGIN[command]}`, or "
                "set GOOGLE_APPLICATION_CREDENTIALS to a service account's file."
            )
        try:
            done = subprocess.run(
                [gcloud, "auth", command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=GCLOUD_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"`gcloud auth {command}` gave no answer.") from error
        token = done.stdout.strip()
        if done.returncode or not token:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[0]
            raise UsageError(
                f"`gcloud auth {command}` gives no token ({said}). Log in with "
                f"`{_LOGIN[command]}`."
            )
        self._printed[command] = (time.monotonic(), token)
        return token


def _default() -> Any:
    try:
        return google.auth.default(scopes=[SCOPE])[0]
    except exceptions.DefaultCredentialsError:
        return None


def _identity(audience: str) -> Any:
    """Credentials whose token is an identity token; None where only gcloud has one."""
    found = _default()
    if found is None or isinstance(found, user.Credentials):
        return None
    if isinstance(found, impersonated_credentials.Credentials):
        return impersonated_credentials.IDTokenCredentials(
            found, target_audience=audience, include_email=True
        )
    try:
        return id_token.fetch_id_token_credentials(audience, Request())
    except exceptions.DefaultCredentialsError:
        return None
