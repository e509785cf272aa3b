"""`drop`: copy a model folder into a watched bucket, config.json last."""

from __future__ import annotations

import time
from contextlib import nullcontext
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
from weightdrop.cli.copying import (
    LocalFile,
    changed_files,
    left_out,
    local_files,
    upload_all,
)
from weightdrop.cli.inspecting import Inspected, inspect_source
from weightdrop.cli.render import counted, finding_lines, magnitude
from weightdrop.cli.terminal import emit, err, note, out
from weightdrop.cli.watching import BAD, changes, follow, resting, show
from weightdrop.core.artifacts.findings import Verdict
from weightdrop.core.artifacts.objects import CONFIG_NAME
from weightdrop.core.deployment.naming import deployment_id
from weightdrop.core.deployment.triggers import may_belong
from weightdrop.errors import NotFoundError, UsageError
from weightdrop.settings import home_folder
from weightdrop.uploads import Uploads

SOON_SECONDS = 3.0
"""By then it usually has: before, there is nothing to say."""

APPEAR_SECONDS = 30.0
"""By then an object that was uploaded has been noticed."""


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
    config = PurePosixPath(prefix, CONFIG_NAME).as_posix()
    starts = config in existing or any(file.name == config for file in files)
    facts: dict[str, object] = {
        "source": str(folder.absolute()),
        "target": f"{GS}{bucket}/{prefix}",
        "deployment": name,
        "uploaded": [file.name for file in fresh],
        "skipped": [file.name for file in files if file not in set(fresh)],
        "bytes": sum(file.size for file in fresh),
        "seconds": round(time.monotonic() - begin, 3),
    }
    if watch and starts:
        news = any(may_belong(file.name) for file in fresh)
        return _watched(facts, target, before=before if news else None, as_json=as_json)
    if as_json:
        emit(facts)
    else:
        out().print(_copied(fresh, len(files) - len(fresh), facts["target"]))
        if starts:
            out().print(f"Follow it with: weightdrop status {name} --watch")
    if not starts:
        note(f"Nothing begins before {CONFIG_NAME} is there, too.")
    return int(watch)


def _copied(fresh: list[LocalFile], kept: int, target: object) -> str:
    if not fresh:
        return f"Nothing was copied: {counted(kept, 'file')} in {target} already."
    size = magnitude(sum(file.size for file in fresh), "B")
    there = f"; {counted(kept, 'file')} there already" if kept else ""
    return f"Copied {counted(len(fresh), 'file')}, {size}, to {target}{there}."


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
        what = (
            "nothing begins without it" if path == CONFIG_NAME else "it is waited for"
        )
        note(f"{path} is missing here: {what}.")
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
    console = err()
    bar = Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    )
    task = bar.add_task("", total=sum(file.size for file in files))
    try:
        with bar:
            upload_all(
                uploads, bucket, files, progress=lambda count: bar.advance(task, count)
            )
    except KeyboardInterrupt:
        note("Stopped; the same command copies what is not there yet.")
        raise


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
    looks = changes(
        client,
        name,
        appear_seconds=APPEAR_SECONDS,
        quiet_seconds=SOON_SECONDS,
        until=over,
    )
    view = follow(looks)
    if as_json:
        emit({**facts, "status": view})
    else:
        show(view, as_json=False)
    return int(view.get("phase") in BAD)
