"""Cloud Storage's JSON API, as much as reading weights needs, and folders.

The official client is left out on purpose: it adds a second to the start, and its
downloads check no range of their own and use a few connections only.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode, urlsplit

from weightdrop_serving.failures import Exit, ServingError

_GOOGLE: Final = "https://storage.googleapis.com"
_METADATA_HOST: Final = "metadata.google.internal"
_METADATA_TOKEN: Final = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105  # a path
_TIMEOUT_SECONDS: Final = 30.0
_BLOCK: Final = 1 << 20
_LARGEST_LISTING: Final = 32 << 20  # bytes; a page has at most 1000 names
_LARGEST_COUNT: Final = 20_000  # objects below one prefix


class TransferError(Exception):
    """Reading failed in a way that may pass; the caller decides how often."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the model as its store lists it.

    Attributes:
        path: Relative to the model's folder.
        size: Bytes.
        generation: The version to read; a change is noticed.
        crc32c: Base64 as Cloud Storage gives it; empty if unknown.
    """

    path: str
    size: int
    generation: int
    crc32c: str


class MetadataToken:
    """The access token of the machine's service account, renewed in time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token = ""
        self._expires = 0.0

    def __call__(self) -> str:
        """The token.

        Raises:
            TransferError: If the metadata server does not answer with one.
        """
        with self._lock:
            if time.monotonic() >= self._expires:
                self._renew()
            return self._token

    def _renew(self) -> None:
        connection = http.client.HTTPConnection(_METADATA_HOST, timeout=10)
        try:
            headers = {"Metadata-Flavor": "Google"}
            connection.request("GET", _METADATA_TOKEN, headers=headers)
            document = json.loads(connection.getresponse().read(_BLOCK))
            self._token = str(document["access_token"])
            lifetime = float(document["expires_in"])
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise TransferError(f"no access token from {_METADATA_HOST}") from error
        finally:
            connection.close()
        self._expires = time.monotonic() + max(lifetime - 120, 30)


class Bucket:
    """One prefix of one bucket. Safe to use from many threads.

    Args:
        uri: `gs://bucket/prefix`.
        endpoint: Base URL of a stand-in, asked without credentials; empty for
            Google's service.
    """

    def __init__(self, uri: str, endpoint: str = "") -> None:
        parts = urlsplit(uri)
        self.name = parts.netloc
        self.prefix = unquote(parts.path).strip("/")
        base = urlsplit(endpoint or _GOOGLE)
        if not self.name or base.scheme not in ("http", "https") or not base.hostname:
            raise ServingError(
                Exit.USAGE,
                f"cannot read {uri!r} from {endpoint or _GOOGLE!r}: expected "
                "gs://bucket/prefix and the http(s) URL of its service",
            )
        self._secure = base.scheme == "https"
        self._address = (base.hostname, base.port)
        self._base = base.path.rstrip("/")
        self._token: Callable[[], str] | None = None if endpoint else MetadataToken()
        self._local = threading.local()

    @property
    def uri(self) -> str:
        """Where this is, for messages."""
        return f"gs://{self.name}/{self.prefix}"

    def files(self) -> list[Source]:
        """Every object below the prefix, sorted by path.

        Raises:
            TransferError: If the service cannot be asked now.
            ServingError: If it refuses, or the listing has no end.
        """
        found: list[Source] = []
        token = ""
        while True:
            page = self._page(token)
            found += [
                file for item in page.get("items", []) for file in self._file(item)
            ]
            token = page.get("nextPageToken", "")
            if not token:
                return sorted(found, key=lambda file: file.path)
            if len(found) > _LARGEST_COUNT:
                raise ServingError(
                    Exit.WEIGHTS_UNUSABLE,
                    f"{self.uri} holds more than {_LARGEST_COUNT} objects; a model "
                    "folder holds a few hundred: check the prefix",
                )

    def _page(self, token: str) -> dict[str, Any]:
        query = {
            "prefix": f"{self.prefix}/" if self.prefix else "",
            "fields": "items(name,size,generation,crc32c),nextPageToken",
            "pageToken": token,
        }
        path = f"/storage/v1/b/{quote(self.name)}/o?" + urlencode(
            {key: value for key, value in query.items() if value}
        )
        response = self._get(path, {})
        try:
            body = response.read(_LARGEST_LISTING)
            document = json.loads(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.release()
            raise TransferError(f"the listing of {self.uri} broke off") from error
        return document if isinstance(document, dict) else {}

    def _file(self, item: dict[str, Any]) -> Iterator[Source]:
        name = str(item["name"])
        if name.endswith("/"):
            return
        yield Source(
            path=name[len(self.prefix) + 1 if self.prefix else 0 :],
            size=int(item["size"]),
            generation=int(item["generation"]),
            crc32c=str(item.get("crc32c", "")),
        )

    def read(self, file: Source, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, in blocks of at most 1 MiB.

        Raises:
            TransferError: If the connection fails or ends early.
            ServingError: If this generation is gone or reading is refused.
        """
        name = quote(f"{self.prefix}/{file.path}".lstrip("/"), safe="")
        query = f"alt=media&generation={file.generation}"
        path = f"/storage/v1/b/{quote(self.name)}/o/{name}?{query}"
        response = self._get(path, {"Range": f"bytes={start}-{stop - 1}"})
        left = stop - start
        try:
            while left:
                block = response.read(min(_BLOCK, left))
                if not block:
                    raise TransferError(f"{file.path} ended {left} bytes early")
                left -= len(block)
                yield block
        except (OSError, http.client.HTTPException) as error:
            raise TransferError(f"{file.path}: {error!r}") from error
        finally:
            if left or not response.isclosed():
                self.release()

    def _get(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        if self._token is not None:
            headers = {**headers, "Authorization": f"Bearer {self._token()}"}
        try:
            connection = self._connection()
            connection.request("GET", self._base + path, headers=headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.release()
            raise TransferError(f"{self.uri}: {error!r}") from error
        if response.status in (200, 206):
            return response
        detail = response.read(500).decode("utf-8", "replace")
        self.release()
        self._refuse(response.status, path, detail)
        raise TransferError(f"{self.uri}: HTTP {response.status}: {detail}")

    def _refuse(self, status: int, path: str, detail: str) -> None:
        what = unquote(path.partition("?")[0].rpartition("/")[2])
        if status in (401, 403):
            raise ServingError(
                Exit.STORAGE_DENIED,
                f"may not read {what} of {self.uri} (HTTP {status}): give the "
                f"container's service account roles/storage.objectViewer. {detail}",
            )
        if status in (404, 412):
            raise ServingError(
                Exit.WEIGHTS_MISSING,
                f"{what} of {self.uri} is not there in the version that was listed "
                f"(HTTP {status}): it was deleted or replaced. Restore it, or drop "
                "the folder again.",
            )

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(
            self._local, "connection", None
        )
        if connection is None:
            kind = (
                http.client.HTTPSConnection
                if self._secure
                else http.client.HTTPConnection
            )
            host, port = self._address
            connection = kind(host, port, timeout=_TIMEOUT_SECONDS)
            self._local.connection = connection
        return connection

    def release(self) -> None:
        """Close the connection of the calling thread."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            connection.close()
