"""Which stack or cloud a command speaks to, and the options that choose it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from weightdrop.core.deployment.naming import deployment_id
from weightdrop.errors import UsageError
from weightdrop.settings import Backend, Settings, home_folder, load

GS = "gs://"

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Target:
    """What a command works on.

    Attributes:
        settings: As read, with the local stack's addresses where one runs.
        status_url: Base URL of the status function; empty if unknown.
        bucket: The local stack's watched bucket; empty without one.
    """

    settings: Settings
    status_url: str
    bucket: str = ""


def find_target(*, home: Path | None = None, url: str = "") -> Target:
    """The stack or cloud to speak to.

    An address given with `--url` or WEIGHTDROP_BASE_URL wins; else the local
    stack that runs in the home folder.

    Args:
        home: Folder of the local stack's state; the setting by default.
        url: Base URL of the status function.
    """
    from weightdrop.local.supervisor import stack as stacks  # noqa: PLC0415  # lazy
    from weightdrop.local.supervisor.layout import PROJECT  # noqa: PLC0415

    settings = load()
    if home is not None:
        settings = replace(settings, home=home)
    if url or settings.base_url:
        return Target(settings, (url or settings.base_url).rstrip("/"))
    stack = stacks.find(home_folder(settings))
    if stack is None:
        return Target(settings, "")
    if "firestore" in stack.urls:
        settings = replace(
            settings,
            backend=Backend.EMULATORS,
            project=PROJECT,
            database=Settings().database,
            firestore_endpoint=stack.urls["firestore"].removeprefix("http://"),
            pubsub_endpoint=stack.urls["pubsub"].removeprefix("http://"),
        )
    else:
        settings = replace(settings, backend=Backend.LOCAL)
    settings = replace(
        settings,
        home=Path(stack.home),
        storage_endpoint=stack.urls["bucket"],
        vertex_endpoint=stack.urls["vertex"],
        base_url=stack.urls["status"],
        buckets=(stack.bucket,),
    )
    return Target(settings, stack.urls["status"], stack.bucket)


def require_status_url(target: Target) -> str:
    """The status function's address.

    Raises:
        UsageError: If there is none.
    """
    if not target.status_url:
        raise UsageError(
            f"No stack is running in {home_folder(target.settings)}: start one with "
            "`weightdrop up`, or name the status function with --url."
        )
    return target.status_url


def parse_gs(source: str) -> tuple[str, str]:
    """The bucket and prefix of a gs:// address.

    Raises:
        UsageError: If it names no bucket.
    """
    bucket, _, prefix = source.removeprefix(GS).partition("/")
    if not source.startswith(GS) or not bucket:
        raise UsageError(f"{source!r} is no address of the form gs://bucket/prefix.")
    return bucket, prefix.strip("/")


def resolve_id(name: str) -> str:
    """The deployment id that `name` means: itself, or that of a gs:// address."""
    return deployment_id(*parse_gs(name)) if name.startswith(GS) else name


def target_options(command: _Command) -> _Command:
    """Add the options that choose a stack."""
    url = click.option(
        "--url", default="", metavar="URL", help="Status function to speak to."
    )
    home = click.option(
        "--home",
        type=click.Path(path_type=Path),
        help="Folder of the local stack's state.  [default: ~/.weightdrop]",
    )
    return url(home(command))


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document."
)
