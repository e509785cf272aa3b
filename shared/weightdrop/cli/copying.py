"""Copying a model folder into a bucket: what is new, side by side, config.json last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from weightdrop.core.artifacts.objects import CONFIG_NAME
from weightdrop.errors import UsageError
from weightdrop.local.folder import FolderArtifacts
from weightdrop.services.listing import MAX_OBJECTS
from weightdrop.uploads import Kept, Uploads

PARALLEL = 8
"""Uploads at a time: enough to fill a link, few enough for a laptop."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of the folder that is dropped.

    Attributes:
        path: Where it is.
        name: Full name of the object it becomes.
        size: Bytes.
    """

    path: Path
    name: str
    size: int


def local_files(folder: Path, prefix: str) -> list[LocalFile]:
    """The files below `folder` that `check` looks at, too.

    Raises:
        UsageError: If the folder holds no or too many files.
    """
    listing = FolderArtifacts().list(str(folder), "", limit=MAX_OBJECTS)
    if listing.truncated:
        raise UsageError(f"{folder} holds more than {MAX_OBJECTS} files.")
    if not listing.objects:
        raise UsageError(f"{folder} holds no files.")
    return [
        LocalFile(
            path=folder / stored.name,
            name=PurePosixPath(prefix, stored.name).as_posix(),
            size=stored.size,
        )
        for stored in listing.objects
    ]


def left_out(folder: Path, files: Iterable[LocalFile]) -> list[Path]:
    """Links in `folder` that are not among `files`: they lead out of it."""
    taken = {file.path for file in files}
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() and path not in taken
    ]


def changed_files(
    uploads: Uploads, files: Iterable[LocalFile], existing: dict[str, Kept]
) -> list[LocalFile]:
    """Those of `files` that are not among `existing` with the same bytes."""
    return [
        file
        for file in files
        if (kept := existing.get(file.name)) is None
        or kept.size != file.size
        or kept.crc32c != uploads.checksum(file.path)
    ]


class _Stopped(Exception):  # noqa: N818  # nobody but the thread that ends sees it
    """Another upload failed, or a person does not want to go on."""


def upload_all(
    uploads: Uploads,
    bucket: str,
    files: list[LocalFile],
    *,
    progress: Callable[[int], None],
) -> None:
    """Upload `files` side by side, and config.json when all others are there.

    The first failure, or Ctrl-C, ends it: what has not begun is not begun, and what
    is under way is broken off.
    """
    stopped = threading.Event()

    def count(read: int) -> None:
        if stopped.is_set():
            raise _Stopped
        progress(read)

    def upload(file: LocalFile) -> None:
        uploads.upload(file.path, bucket, file.name, progress=count)

    last = [file for file in files if _is_config(file)]
    rest = [file for file in files if not _is_config(file)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        try:
            waits = [pool.submit(upload, file) for file in rest]
            for done in as_completed(waits):
                done.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for file in last:
        upload(file)


def _is_config(file: LocalFile) -> bool:
    return file.name.rpartition("/")[2] == CONFIG_NAME
