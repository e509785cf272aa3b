"""Write access to Cloud Storage, for `weightdrop drop`: vendor types end here."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import urlsplit

import google_crc32c
import requests
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage

from weightdrop.adapters.faults import translated
from weightdrop.errors import TransientError, UsageError
from weightdrop.settings import Settings
from weightdrop.uploads import Kept

_READ_BYTES = 1 << 20
# Sent at a time, and held in memory by each of the uploads side by side. Google's own
# 100 MiB would be 800 MiB for eight, and steps of ten seconds at 80 Mbit/s.
_CHUNK_BYTES = 16 << 20
_TIMEOUT_SECONDS = 120.0
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class GcsUploads:
    """The Uploads port; safe to call from several threads.

    Args:
        settings: Where Cloud Storage is.
    """

    def __init__(self, settings: Settings) -> None:
        with translated("reach Cloud Storage"):
            self._client = _client(settings)

    def existing(self, bucket: str, prefix: str) -> dict[str, Kept]:
        """See `weightdrop.uploads.Uploads.existing`."""
        with _reaching(f"list gs://{bucket}/{prefix}"):
            blobs = self._client.list_blobs(
                bucket, prefix=f"{prefix}/" if prefix else None
            )
            return {blob.name: Kept(blob.size, blob.crc32c) for blob in blobs}

    def checksum(self, path: Path) -> str:
        """See `weightdrop.uploads.Uploads.checksum`."""
        state = google_crc32c.Checksum()
        with _opened(path) as source:
            while block := source.read(_READ_BYTES):
                state.update(block)
        return base64.b64encode(state.digest()).decode()

    def upload(
        self, path: Path, bucket: str, name: str, *, progress: Callable[[int], None]
    ) -> None:
        """See `weightdrop.uploads.Uploads.upload`."""
        blob = self._client.bucket(bucket).blob(name, chunk_size=_CHUNK_BYTES)
        with _opened(path) as source, _reaching(f"write gs://{bucket}/{name}"):
            blob.upload_from_file(
                _Counted(source, progress),
                size=path.stat().st_size,
                checksum="crc32c",
                timeout=_TIMEOUT_SECONDS,
            )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


class _Counted:
    """A file that tells how far it was read, the furthest only once."""

    def __init__(self, source: IO[bytes], progress: Callable[[int], None]) -> None:
        self._source = source
        self._progress = progress
        self._furthest = 0

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        here = self._source.tell()
        if here > self._furthest:
            self._progress(here - self._furthest)
            self._furthest = here
        return block

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()


def _client(settings: Settings) -> Any:
    endpoint = settings.storage_endpoint
    if not endpoint:
        return storage.Client(project=settings.project)
    credentials = AnonymousCredentials()
    session = AuthorizedSession(credentials)
    # A proxy of the user's must not stand between processes of one machine.
    session.trust_env = urlsplit(endpoint).hostname not in _LOOPBACK
    return storage.Client(
        project=settings.project,
        credentials=credentials,
        client_options={"api_endpoint": endpoint},
        _http=session,
    )


@contextmanager
def _reaching(action: str) -> Iterator[None]:
    """Translate Google's errors, and those of the connection below them."""
    try:
        with translated(action):
            yield
    except requests.RequestException as error:
        raise TransientError(f"Could not {action}: {error}") from error
