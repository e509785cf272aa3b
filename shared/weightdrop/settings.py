"""Settings: `WEIGHTDROP_*` environment variables, read once, all faults together."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from weightdrop.errors import UsageError

PREFIX = "WEIGHTDROP_"


class Backend(StrEnum):
    """Which implementations stand behind the ports."""

    CLOUD = "cloud"
    LOCAL = "local"
    EMULATORS = "emulators"

    @property
    def one_machine(self) -> bool:
        """Whether this is a local stack: nothing is paid for, nobody is let in."""
        return self is not Backend.CLOUD


class Weights(StrEnum):
    """Where replicas read the weights."""

    COPY = "copy"
    DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set from outside.

    Attributes:
        backend: `cloud` for Google's services, `local` for one machine, `emulators`
            for one machine with Google's emulators of Firestore and Pub/Sub.
        project: Google Cloud project id.
        region: Default region of deployments.
        fallback_regions: Regions to try, in this order, when a first revision finds
            no machine in its own.
        pace_seconds: Seconds between two uploads or deployments of the project.
        buckets: Buckets whose drops are deployed; events of others are refused.
        home: Folder of the local stack's state.
        storage_endpoint: Base URL of a Cloud Storage stand-in; empty for Google's.
        vertex_endpoint: Base URL of a Vertex AI stand-in; empty for Google's.
        firestore_endpoint: "host:port" of a Firestore emulator; empty for Google's.
        pubsub_endpoint: "host:port" of a Pub/Sub emulator; empty for Google's.
        serving_image: Container image that serves the models.
        weights: `copy` has replicas read the copy that Vertex AI makes of a folder,
            `direct` the bucket itself, at the generations that were validated.
        settle_seconds: Quiet time before a changed folder counts as complete.
        waiting_seconds: How long an incomplete folder may stay incomplete.
        deploy_seconds: How long a deployment may take on the platform.
        verify_seconds: How long a new deployed model may take to answer.
        operation_seconds: How long any other operation may take.
        lease_seconds: How long a crashed function keeps others from its record.
        retire_on_delete: Undeploy when the drop's config.json is deleted.
        poll_seconds: How long a tick leaves an operation alone.
        strict: Refuse architectures that are not in the catalogue.
        base_url: Where the status function is reached; empty if unknown.
        database: Id of the Firestore database that holds the records.
        serving_account: Service account that serving containers run as; empty for
            the one that Vertex AI provides.
        kms_key: Full name of the Cloud KMS key that protects models and endpoints;
            empty for Google's keys.
        private_projects: Projects that may connect to endpoints over Private
            Service Connect; empty for endpoints with a public name.
        private_network: Full name of the network in which each private endpoint
            gets an address; empty for none.
        local_gpus: Accelerators that each region of the Vertex AI stand-in pretends to
            have.
        telemetry: Where traces and metrics go: `google`, the base URL of an OTLP/HTTP
            collector, or `file:` and a path; empty for nowhere.
    """

    backend: Backend = Backend.CLOUD
    project: str = "local"
    region: str = "us-central1"
    fallback_regions: tuple[str, ...] = ()
    pace_seconds: float = 2.0
    buckets: tuple[str, ...] = ()
    home: Path = Path("~/.weightdrop")
    storage_endpoint: str = ""
    vertex_endpoint: str = ""
    firestore_endpoint: str = ""
    pubsub_endpoint: str = ""
    serving_image: str = ""
    weights: Weights = Weights.COPY
    settle_seconds: float = 10.0
    waiting_seconds: float = 86400.0
    deploy_seconds: float = 7200.0
    verify_seconds: float = 600.0
    operation_seconds: float = 3600.0
    lease_seconds: float = 120.0
    retire_on_delete: bool = False
    poll_seconds: float = 20.0
    strict: bool = False
    base_url: str = ""
    database: str = "(default)"
    serving_account: str = ""
    kms_key: str = ""
    private_projects: tuple[str, ...] = ()
    private_network: str = ""
    local_gpus: int = 64
    telemetry: str = ""

    @property
    def regions(self) -> tuple[str, ...]:
        """Every region in which something may be deployed without being named."""
        return tuple(dict.fromkeys((self.region, *self.fallback_regions)))


def _truth(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False}
    if text.lower() not in words | {"no": False}:
        raise ValueError("expected true or false")
    return words.get(text.lower(), False)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("expected a number of seconds that is not negative")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("expected a whole number that is not negative")
    return int(text)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _telemetry(text: str) -> str:
    if text != "google" and not text.startswith(("http://", "https://", "file:/")):
        raise ValueError("expected google, http(s)://… or file:/…")
    return text.rstrip("/")


_COERCERS: dict[str, Callable[[str], object]] = {
    "backend": Backend,
    "weights": Weights,
    "buckets": _words,
    "home": Path,
    "settle_seconds": _seconds,
    "waiting_seconds": _seconds,
    "fallback_regions": _words,
    "pace_seconds": _seconds,
    "deploy_seconds": _seconds,
    "verify_seconds": _seconds,
    "operation_seconds": _seconds,
    "lease_seconds": _seconds,
    "retire_on_delete": _truth,
    "poll_seconds": _seconds,
    "strict": _truth,
    "local_gpus": _count,
    "private_projects": _words,
    "telemetry": _telemetry,
}


def variable(field: str) -> str:
    """The environment variable that sets `field`."""
    return PREFIX + field.upper()


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environment: Where to read from; the process's own by default.

    Raises:
        UsageError: With every variable that does not hold what it should.
    """
    source = os.environ if environment is None else environment
    values: dict[str, object] = {}
    faults: list[str] = []
    for field in Settings.__dataclass_fields__:
        text = source.get(variable(field), "")
        if not text:
            continue
        try:
            values[field] = _COERCERS.get(field, str)(text)
        except ValueError as error:
            faults.append(f"{variable(field)}={text!r}: {error}")
    if faults:
        raise UsageError("Settings that cannot be used:\n  " + "\n  ".join(faults))
    return Settings(**values)  # type: ignore[arg-type]  # coerced by field name


def home_folder(settings: Settings) -> Path:
    """The absolute folder of the local stack's state, `~` expanded.

    An empty or missing `HOME` is no obstacle: the password database knows.
    """
    path = settings.home
    if path.parts[:1] == ("~",):
        path = Path(_account(), *path.parts[1:])
    return Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow links


def _account() -> str:
    return os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir


def child_environment(
    values: Mapping[str, str],
    *,
    defaults: Mapping[str, str] | None = None,
    without: Collection[str] = (),
) -> dict[str, str]:
    """The environment of a process that we start.

    Args:
        values: Set whatever this process's own environment says.
        defaults: Set only where this environment says nothing.
        without: Names that must not reach the child.
    """
    base = {name: text for name, text in os.environ.items() if name not in without}
    return {**(defaults or {}), **base, "HOME": _account(), **values}
