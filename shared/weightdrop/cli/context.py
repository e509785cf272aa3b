"""Which stack or cloud a command speaks to, and the options that choose it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weightdrop.cli.client import PAGE_SIZE, StatusClient
from weightdrop.core.deployment.naming import deployment_id
from weightdrop.errors import NotFoundError, UsageError, WeightdropError
from weightdrop.settings import Backend, Settings, home_folder, load

if TYPE_CHECKING:
    from weightdrop.credentials import Credentials

GS = "gs://"
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

STATUS_URL = "https://{region}-{project}.cloudfunctions.net/weightdrop-status"
"""Where Terraform puts the status function."""

MODELS_BUCKET = "{project}-weightdrop-models"
"""The watched bucket that Terraform makes, if it is not told another name."""


@dataclass(frozen=True, slots=True)
class Where:
    """The options by which a person chooses a stack or a cloud.

    Attributes:
        home: Folder of the local stack's state; None for the setting.
        url: Base URL of a status function.
        project: Google Cloud project id.
        region: Region of the status function; empty for the setting.
    """

    home: Path | None = None
    url: str = ""
    project: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What a command works on.

    Attributes:
        settings: As read, with the local stack's addresses where one runs.
        status_url: Base URL of the status function; empty if unknown.
        bucket: The watched bucket; empty if unknown.
        local: Whether it is a stack on this machine.
    """

    settings: Settings
    status_url: str
    bucket: str = ""
    local: bool = False


def find_target(where: Where | None = None) -> Target:
    """The stack or cloud to speak to.

    What is named by an option goes before the environment: an address, a project, a
    home. Then WEIGHTDROP_BASE_URL, then a local stack that runs, then the function of
    WEIGHTDROP_PROJECT.
    """
    chosen = where or Where()
    settings = _settings(chosen)
    if chosen.url:
        return _cloud(settings, chosen.url)
    if chosen.project:
        return _cloud(settings, _status_url(settings))
    if settings.base_url and chosen.home is None:
        return _cloud(settings, settings.base_url)
    if found := _stack(settings):
        return found
    if settings.project != Settings().project and chosen.home is None:
        return _cloud(settings, _status_url(settings))
    return Target(settings, "")


def _settings(where: Where) -> Settings:
    settings = load()
    return replace(
        settings,
        home=where.home or settings.home,
        project=where.project or settings.project,
        region=where.region or settings.region,
    )


def _status_url(settings: Settings) -> str:
    return STATUS_URL.format(region=settings.region, project=settings.project)


def _cloud(settings: Settings, url: str) -> Target:
    known = settings.project != Settings().project
    made = MODELS_BUCKET.format(project=settings.project) if known else ""
    bucket = settings.buckets[0] if settings.buckets else made
    return Target(settings, url.rstrip("/"), bucket)


def _stack(settings: Settings) -> Target | None:
    """The local stack that runs in the home folder."""
    from weightdrop.local.supervisor import stack as stacks  # noqa: PLC0415  # lazy
    from weightdrop.local.supervisor.layout import PROJECT  # noqa: PLC0415

    stack = stacks.find(home_folder(settings))
    if stack is None:
        return None
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
    return Target(settings, stack.urls["status"], stack.bucket, local=True)


def status_client(target: Target) -> StatusClient:
    """The status function, asked as whoever runs the command.

    Raises:
        UsageError: If nobody knows where it is.
    """
    if not target.status_url:
        raise UsageError(
            f"No stack is running in {home_folder(target.settings)}: start one with "
            "`weightdrop up`, or name the cloud with --project or --url."
        )
    url = target.status_url
    return StatusClient(url, token=lambda: _credentials(target).identity_token(url))


def endpoint_token(target: Target) -> Callable[[], str]:
    """What gives tokens for Vertex AI's endpoints."""
    return lambda: _credentials(target).access_token()


@functools.cache
def _credentials(target: Target) -> Credentials:
    """Who gives tokens, and keeps them: one is asked for at each request."""
    from weightdrop.bootstrap import App  # noqa: PLC0415  # only the cloud asks

    return App(target.settings).credentials


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
    """The deployment id that `name` means: itself, or that of a gs:// address.

    Raises:
        UsageError: If it can be neither.
    """
    if name.startswith(GS):
        return deployment_id(*parse_gs(name))
    if not _ID.fullmatch(name):
        raise UsageError(
            f"{name!r} is no deployment's id and no gs://bucket/prefix: "
            "`weightdrop status` lists what there is."
        )
    return name


@contextmanager
def naming(client: StatusClient, name: str) -> Iterator[None]:
    """Have the error about a deployment that is not there say what there is."""
    try:
        yield
    except NotFoundError as error:
        raise NotFoundError(f"{error} {_instead(client, name)}") from error


def _instead(client: StatusClient, name: str) -> str:
    """What somebody may have meant who asked for `name`."""
    try:
        known = [str(view["id"]) for view in islice(client.deployments(), PAGE_SIZE)]
    except WeightdropError:
        known = []
    begun = [one for one in known if one.startswith(name)]
    if close := begun or get_close_matches(name, known):
        return f"Did you mean {' or '.join(close[:3])}?"
    return "`weightdrop status` lists what there is."


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose a stack or a cloud; they arrive as `where`."""

    @click.option("--url", default="", metavar="URL", help="Status function to ask.")
    @click.option(
        "--project", default="", metavar="ID", help="Google Cloud project to speak to."
    )
    @click.option(
        "--region",
        default="",
        metavar="NAME",
        help="Region there.  [default: us-central1]",
    )
    @click.option(
        "--home",
        type=click.Path(path_type=Path),
        help="Folder of the local stack's state.  [default: ~/.weightdrop]",
    )
    @functools.wraps(command)
    def called(
        *, home: Path | None, url: str, project: str, region: str, **rest: Any
    ) -> Any:
        where = Where(home=home, url=url, project=project, region=region)
        return command(where=where, **rest)

    return called


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document."
)
