"""Artifacts over google-cloud-storage: Google's service, or our bucket server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from weightdrop.core.artifacts.keeping import Keeping, deletion
from weightdrop.core.artifacts.objects import StoredObject
from weightdrop.errors import (
    NotFoundError,
    PermanentError,
    StaleError,
    TransientError,
    WeightdropError,
)
from weightdrop.ports import Listing

# Seconds to connect, and seconds between two pieces of an answer.
_TIMEOUT = (5.0, 30.0)
# Seconds for one call with all its tries; a handler has more calls to make.
_DEADLINE = 60.0
# requests keeps ten connections by default and throws away what is beyond.
_CONNECTIONS = 32
_FIELDS = "items(name,generation,size,crc32c,updated),nextPageToken"
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"


class GcsArtifacts:
    """The Artifacts port; safe for 32 threads at once.

    Args:
        project: Google Cloud project id.
        endpoint: Base URL of a stand-in, spoken to without credentials;
            empty for Google's service with the default credentials.
        deadline: Seconds for one call with all its tries.
    """

    def __init__(
        self, *, project: str, endpoint: str = "", deadline: float = _DEADLINE
    ) -> None:
        self._project = project
        self._deadline = deadline
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._made: Any = None

    def list(self, bucket: str, prefix: str, *, limit: int) -> Listing:
        """See `weightdrop.ports.Artifacts.list`."""
        with _translated(f"gs://{bucket}/{prefix}"):
            blobs = [
                *self._client().list_blobs(
                    bucket,
                    prefix=f"{prefix}/" if prefix else None,
                    max_results=limit + 1,
                    fields=_FIELDS,
                    timeout=_TIMEOUT,
                    retry=_retry(self._deadline),
                )
            ]
        found = tuple(_stored(blob) for blob in blobs[:limit])
        return Listing(objects=found, truncated=len(blobs) > limit)

    def stat(self, bucket: str, name: str) -> StoredObject:
        """See `weightdrop.ports.Artifacts.stat`."""
        with _translated(f"gs://{bucket}/{name}"):
            blob = self._client().bucket(bucket).blob(name)
            blob.reload(timeout=_TIMEOUT, retry=_retry(self._deadline))
        return _stored(blob)

    def read(
        self, bucket: str, name: str, *, generation: int, start: int, length: int
    ) -> bytes:
        """See `weightdrop.ports.Artifacts.read`."""
        if length <= 0:
            return b""
        what = f"gs://{bucket}/{name}"
        try:
            with _translated(what):
                return self._read(bucket, name, generation, (start, start + length - 1))
        except NotFoundError:
            if not generation:
                raise
            raise StaleError(
                f"Generation {generation} of {what} is no longer there."
            ) from None

    def keeping(self, bucket: str) -> Keeping:
        """See `weightdrop.ports.Artifacts.keeping`."""
        with _translated(f"gs://{bucket}/"):
            found = self._client().get_bucket(
                bucket, timeout=_TIMEOUT, retry=_retry(self._deadline)
            )
        return Keeping(
            versioning=bool(found.versioning_enabled),
            soft_delete_seconds=int(
                found.soft_delete_policy.retention_duration_seconds or 0
            ),
            deletions=tuple(
                deletion(rule.get("condition", {}))
                for rule in found.lifecycle_rules
                if rule.get("action", {}).get("type") == "Delete"
            ),
        )

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _read(
        self, bucket: str, name: str, generation: int, span: tuple[int, int]
    ) -> bytes:
        from google.api_core.exceptions import (  # noqa: PLC0415
            RequestRangeNotSatisfiable,
        )

        blob = self._client().bucket(bucket).blob(name, generation=generation or None)
        try:
            data: bytes = blob.download_as_bytes(
                start=span[0],
                end=span[1],
                # As it is stored: a header's offsets count those bytes.
                raw_download=True,
                # Cloud Storage gives checksums of whole objects only.
                checksum=None,
                timeout=_TIMEOUT,
                retry=_retry(self._deadline),
            )
        except RequestRangeNotSatisfiable:
            return b""
        return data

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = _connect(self._project, self._endpoint)
            return self._made


def _connect(project: str, endpoint: str) -> Any:
    # Imported late: 170 ms that only callers who read a bucket pay.
    import google.auth  # noqa: PLC0415
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
    from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415
    from google.cloud.storage import Client  # noqa: PLC0415
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    if endpoint:
        credentials = AnonymousCredentials()
    else:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    session = AuthorizedSession(credentials)
    pool = HTTPAdapter(pool_connections=4, pool_maxsize=_CONNECTIONS)
    session.mount("https://", pool)
    session.mount("http://", pool)
    return Client(
        project=project,
        credentials=credentials,
        client_options={"api_endpoint": endpoint} if endpoint else None,
        _http=session,
    )


def _retry(deadline: float) -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415

    return DEFAULT_RETRY.with_timeout(deadline)


def _stored(blob: Any) -> StoredObject:
    return StoredObject(
        name=blob.name,
        generation=blob.generation,
        size=blob.size,
        crc32c=blob.crc32c or "",
        updated=blob.updated,
    )


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except WeightdropError:
        raise
    except Exception as error:
        raise _translate(error, what) from error


def _translate(error: Exception, what: str) -> Exception:
    """The project's error for one of Google's; anything else as it is."""
    from google.api_core import exceptions as api  # noqa: PLC0415
    from google.auth import exceptions as auth  # noqa: PLC0415
    from requests import exceptions as http  # noqa: PLC0415

    text = f"{what}: {getattr(error, 'message', '') or error}"
    if isinstance(error, api.NotFound):
        return NotFoundError(text)
    if isinstance(error, api.PreconditionFailed):
        return StaleError(text)
    again = (
        api.TooManyRequests,
        api.ServerError,
        api.RetryError,
        auth.TransportError,
        http.ConnectionError,
        http.Timeout,
        http.ChunkedEncodingError,
        ConnectionError,
    )
    if isinstance(error, again) or getattr(error, "retryable", False):
        return TransientError(f"Cloud Storage did not answer for {text}")
    known = (
        api.GoogleAPICallError,
        auth.GoogleAuthError,
        http.RequestException,
        ValueError,
    )
    if isinstance(error, known):
        return PermanentError(f"Cloud Storage refused {text}")
    return error
