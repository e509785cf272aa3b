"""The model's folder, filled from where AIP_STORAGE_URI points."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from weightdrop_serving import logs, selection
from weightdrop_serving.environment import Environment
from weightdrop_serving.failures import Exit, ServingError
from weightdrop_serving.prefetch import Prefetch, Progress
from weightdrop_serving.storage import Bucket, Source

EXPECTED: Final = ".weights"
_REPORT_SECONDS: Final = 2.0


class Model(Protocol):
    """A folder that fills: small files first, then weights."""

    def fetch_small(self) -> None:
        """Return when config, tokenizer and index are there."""
        ...

    def fetch_weights(self) -> None:
        """Return when every file of tensors is there."""
        ...

    def cancel(self) -> None:
        """Make a call of `fetch_weights` end soon."""
        ...


def open_model(settings: Environment, folder: Path) -> Model:
    """The model that AIP_STORAGE_URI or WEIGHTDROP_SOURCE names, put into `folder`.

    Raises:
        ServingError: If it names nothing that can be read.
    """
    uri = settings.storage_uri or settings.source
    if uri.startswith("gs://"):
        bucket = Bucket(uri, settings.storage_endpoint)
        return BucketModel(
            bucket,
            folder,
            streams=settings.streams,
            digest=settings.digest,
            files=() if settings.storage_uri else settings.files,
        )
    parts = urlsplit(uri)
    origin = Path(unquote(parts.path)) if parts.scheme == "file" else Path(uri)
    if not uri or not origin.is_dir():
        name = "AIP_STORAGE_URI" if uri == settings.storage_uri else "WEIGHTDROP_SOURCE"
        raise ServingError(
            Exit.USAGE, f"{name}={uri!r} is neither gs://bucket/prefix nor a folder"
        )
    return FolderModel(origin.absolute(), folder)


class FolderModel:
    """A folder of this machine; nothing is copied, and nothing compared."""

    def __init__(self, origin: Path, folder: Path) -> None:
        self._origin = origin
        self._folder = folder

    def fetch_small(self) -> None:
        """Link all files: there is nothing to wait for."""
        found = [
            Source(path=path.name, size=path.stat().st_size, generation=0, crc32c="")
            for path in self._origin.iterdir()
            if path.is_file()
        ]
        small = selection.small_files(found)
        self._link(small)
        weights = selection.weight_files(found, _indexes(self._folder))
        expect(self._folder, weights)
        self._link(weights)
        logs.write("downloading", f"reading {len(weights)} files in {self._origin}")

    def fetch_weights(self) -> None:
        """They are there."""

    def cancel(self) -> None:
        """There is nothing to end."""

    def _link(self, files: Sequence[Source]) -> None:
        for file in files:
            (self._folder / file.path).symlink_to(self._origin / file.path)


class BucketModel:
    """A prefix of a bucket, copied in parallel.

    Args:
        bucket: Where the model is.
        folder: Where it goes.
        streams: Ranges read at a time.
        digest: What was validated; another set of files is refused. Empty accepts
            any.
        files: What to read, each at its generation; empty for what lies there.
    """

    def __init__(
        self,
        bucket: Bucket,
        folder: Path,
        *,
        streams: int,
        digest: str = "",
        files: Sequence[Source] = (),
    ) -> None:
        self._bucket = bucket
        self._files = files
        self._digest = digest
        self._folder = folder
        self._copy = Prefetch(bucket, folder, streams=streams)
        self._weights: list[Source] = []

    def fetch_small(self) -> None:
        """Copy what is wanted before weights."""
        found = self._files or self._copy.listing()
        if not found:
            raise ServingError(
                Exit.WEIGHTS_MISSING, f"there is nothing at {self._bucket.uri}"
            )
        if self._digest and selection.digest(found) != self._digest:
            raise ServingError(
                Exit.WEIGHTS_UNUSABLE,
                f"{self._bucket.uri} is not what was validated: its files have the "
                f"digest {selection.digest(found)}, not {self._digest}. Drop the "
                "folder again.",
            )
        self._copy.copy(selection.small_files(found))
        self._weights = selection.weight_files(found, _indexes(self._folder))
        expect(self._folder, self._weights)

    def fetch_weights(self) -> None:
        """Copy the files of tensors, and say how far it is meanwhile."""
        done = threading.Event()
        reporter = threading.Thread(target=self._report, args=(done,), daemon=True)
        reporter.start()
        try:
            self._copy.copy(self._weights)
        finally:
            done.set()
            reporter.join()
        _say(self._copy.progress)

    def cancel(self) -> None:
        """Make a running copy end soon."""
        self._copy.cancel()

    def _report(self, done: threading.Event) -> None:
        while not done.wait(_REPORT_SECONDS):
            _say(self._copy.progress)


def _say(progress: Progress) -> None:
    logs.write(
        "downloading",
        f"downloading {progress.files_done}/{progress.files} files, "
        f"{logs.gigabytes(progress.size_done)} of {logs.gigabytes(progress.size)}, "
        f"{logs.gigabytes(progress.rate)}/s",
        files=progress.files,
        files_done=progress.files_done,
        bytes=progress.size,
        bytes_done=progress.size_done,
    )


def expect(folder: Path, weights: Sequence[Source]) -> None:
    """Write down which files of tensors will come, for the loader to wait for."""
    names = "".join(f"{file.path}\n" for file in weights)
    (folder / EXPECTED).write_text(names, encoding="utf-8")


def _indexes(folder: Path) -> dict[str, str]:
    return {
        name: (folder / name).read_text(encoding="utf-8", errors="replace")
        for name in (selection.SAFETENSORS_INDEX, selection.BIN_INDEX)
        if (folder / name).exists()
    }
