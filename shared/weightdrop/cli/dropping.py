"""`drop`: copy a model folder into a watched bucket, config.json last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import click

from weightdrop.bootstrap import App
from weightdrop.cli.client import View
from weightdrop.cli.completing import folders
from weightdrop.cli.context import (
    GS,
    Target,
    Where,
    find_target,
    json_option,
    parse_gs,
    status_client,
    target_options,
)
from weightdrop.cli.inspecting import Inspected, inspect_source
from weightdrop.cli.render import finding_lines, magnitude
from weightdrop.cli.terminal import emit, err, note, out
from weightdrop.cli.watching import BAD, changes, follow, resting, show
from weightdrop.core.artifacts.findings import Verdict
from weightdrop.core.artifacts.objects import CONFIG_NAME
from weightdrop.core.deployment.naming import deployment_id
from weightdrop.core.deployment.triggers import may_belong
from weightdrop.errors import NotFoundError, UsageError
from weightdrop.local.folder import FolderArtifacts
from weightdrop.services.listing import MAX_OBJECTS
from weightdrop.settings import home_folder
from weightdrop.uploads import Kept, Uploads

PARALLEL = 8
"""Uploads at a time: enough to fill a link, few enough for a laptop."""

APPEAR_SECONDS = 30.0
"""By then an object that was uploaded has been noticed."""


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
        raise UsageError(f"{folder} holds no file.")
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


def upload_all(
    uploads: Uploads,
    bucket: str,
    files: list[LocalFile],
    *,
    progress: Callable[[int], None],
) -> None:
    """Upload `files` side by side, and config.json when all others are there.

    The first failure ends it: what has not begun is not begun.
    """

    def upload(file: LocalFile) -> None:
        uploads.upload(file.path, bucket, file.name, progress=progress)

    last = [file for file in files if _is_config(file)]
    rest = [file for file in files if not _is_config(file)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        waits = [pool.submit(upload, file) for file in rest]
        try:
            for wait in waits:
                wait.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for file in last:
        upload(file)


def _is_config(file: LocalFile) -> bool:
    return file.name.rpartition("/")[2] == CONFIG_NAME


@click.command(short_help="Copy a model folder into a watched bucket.")
@click.argument("folder", type=click.Path(path_type=Path), shell_complete=folders)
@click.argument("to", metavar="[TARGET]", default="")
@click.option("--force", is_flag=True, help="Even if `check` rejects it.")
@click.option("--watch", is_flag=True, help="Then keep looking until it rests.")
@json_option
@target_options
def drop(
    *,
    folder: Path,
    to: str,
    force: bool,
    watch: bool,
    as_json: bool,
    where: Where,
) -> int:
    """Check FOLDER and copy it to TARGET, which is gs://bucket/prefix.

    If TARGET is left out it is gs://models/NAME on the local stack, and
    gs://PROJECT-weightdrop-models/NAME in the cloud. Files that are there already
    are not copied again.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder.")
    target = find_target(where)
    bucket, prefix = _destination(target, folder, to)
    files = local_files(folder, prefix)
    for link in left_out(folder, files):
        note(f"{link} leads out of the folder and is left out; `cp -rL` makes it real.")
    if not force and not _admissible(inspect_source(str(folder), target)):
        return 1
    name = deployment_id(bucket, prefix)
    before = _revision(target, name) if watch else None
    begin = time.monotonic()
    uploads = App(target.settings).uploads
    existing = uploads.existing(bucket, prefix)
    with err().status("comparing with what is there") if existing else nullcontext():
        fresh = changed_files(uploads, files, existing)
    _upload(uploads, bucket, fresh)
    facts: dict[str, object] = {
        "source": str(folder.absolute()),
        "target": f"{GS}{bucket}/{prefix}",
        "deployment": name,
        "uploaded": [file.name for file in fresh],
        "skipped": [file.name for file in files if file not in set(fresh)],
        "bytes": sum(file.size for file in fresh),
        "seconds": round(time.monotonic() - begin, 3),
    }
    if watch:
        news = any(may_belong(file.name) for file in fresh)
        return _watched(facts, target, before=before if news else None, as_json=as_json)
    if as_json:
        emit(facts)
    else:
        size = magnitude(sum(file.size for file in fresh), "B")
        kept = len(files) - len(fresh)
        out().print(
            f"{len(fresh)} files, {size}, were copied to {facts['target']}"
            + (f"; {kept} were there already" if kept else "")
            + f".\nFollow it with: weightdrop status {facts['deployment']} --watch"
        )
    return 0


def _destination(target: Target, folder: Path, to: str) -> tuple[str, str]:
    if to:
        bucket, prefix = parse_gs(to)
        local = target.local or target.settings.storage_endpoint
        if not local and not target.status_url:
            note(
                f"No local stack runs in {home_folder(target.settings)}: "
                f"{to} is taken for Google's Cloud Storage."
            )
        return bucket, prefix
    if not target.bucket:
        raise UsageError(
            f"No stack is running in {home_folder(target.settings)}: start one with "
            "`weightdrop up`, name the cloud with --project, or a TARGET like "
            "gs://bucket/prefix."
        )
    return target.bucket, _name(folder)


def _name(folder: Path) -> str:
    """What a person calls the folder: a link to it goes by its own name."""
    whole = folder.absolute()
    return whole.resolve().name if whole.name == ".." else whole.name


def _admissible(inspected: Inspected) -> bool:
    report = inspected.report
    console = err()
    if report.verdict is Verdict.REJECTED:
        for line in finding_lines(inspected.document()["findings"]):
            console.print(line)
        note("Nothing was copied, because it would be rejected; --force copies it.")
        return False
    for path in report.missing:
        note(f"{path} is missing here: the drop will wait for it.")
    return True


def _upload(uploads: Uploads, bucket: str, files: list[LocalFile]) -> None:
    from rich.progress import (  # noqa: PLC0415  # lazy
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("uploading"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task("", total=sum(file.size for file in files))
        upload_all(
            uploads, bucket, files, progress=lambda count: bar.advance(task, count)
        )


def _revision(target: Target, name: str) -> tuple[object, object] | None:
    """Digest and attempt of what is there now; None if nothing is."""
    try:
        view = status_client(target).deployment(name)
    except NotFoundError:
        return None
    return view.get("digest"), view.get("attempt")


def _watched(
    facts: dict[str, object],
    target: Target,
    *,
    before: tuple[object, object] | None,
    as_json: bool,
) -> int:
    """Follow what was dropped: not what rested there before it was noticed."""
    client = status_client(target)
    begin = time.monotonic()

    def over(view: View) -> bool:
        noticed = (view.get("digest"), view.get("attempt")) != before
        late = time.monotonic() - begin > APPEAR_SECONDS
        return resting(view) and (before is None or noticed or late)

    name = str(facts["deployment"])
    view = follow(changes(client, name, appear_seconds=APPEAR_SECONDS, until=over))
    if as_json:
        emit({**facts, "status": view})
    else:
        show(view, as_json=False)
    return int(view.get("phase") in BAD)
