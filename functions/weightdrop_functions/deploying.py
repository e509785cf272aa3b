"""The body of `POST /deployments:deploy`: that of Vertex AI's own `:deploy`.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/projects.locations/deploy
in either spelling of its names, `custom_model` or `customModel`. What it chooses
is laid over the folder's weightdrop.json, and validated as that is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from weightdrop.core.artifacts.options_file import (
    WrongValueError,
    conflicts,
    read_value,
)
from weightdrop.core.artifacts.overrides import Overrides, overrides_of
from weightdrop.errors import PermanentError

_GCS = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220})(?:/(.*))?", re.DOTALL)
_DESTINATION = re.compile(r"projects/[^/]+/locations/([^/]+)")

_Path = tuple[str, ...]
_RESOURCES: _Path = ("deploy_config", "dedicated_resources")
_MACHINE: _Path = (*_RESOURCES, "machine_spec")
_PRIVATE: _Path = ("endpoint_config", "private_service_connect_config")
_ENABLED: _Path = (*_PRIVATE, "enable_private_service_connect")
_ALLOWED: _Path = (*_PRIVATE, "project_allowlist")

_OPTIONS: dict[_Path, str] = {
    ("destination",): "region",
    ("model_config", "model_user_id"): "model_id",
    ("model_config", "model_display_name"): "model_display_name",
    ("endpoint_config", "endpoint_display_name"): "endpoint_display_name",
    (*_MACHINE, "machine_type"): "machine_type",
    (*_MACHINE, "accelerator_type"): "accelerator_type",
    (*_MACHINE, "accelerator_count"): "accelerator_count",
    (*_RESOURCES, "min_replica_count"): "min_replica_count",
    (*_RESOURCES, "max_replica_count"): "max_replica_count",
    (*_RESOURCES, "spot"): "spot",
    ("deploy_config", "system_labels"): "labels",
}
"""Where each choice is in the body, and what it is called in weightdrop.json."""

_COUNTS = {"accelerator_count", "min_replica_count", "max_replica_count"}
"""Numbers, which Google's JSON may write as text."""

_ALWAYS: dict[_Path, tuple[object, ...]] = {
    ("endpoint_config", "dedicated_endpoint_enabled"): (True,),
    ("endpoint_config", "dedicated_endpoint_disabled"): (False,),
    ("deploy_config", "fast_tryout_enabled"): (False,),
    # There is no licence to be accepted for weights of one's own.
    ("model_config", "accept_eula"): (True, False),
}
"""What holds for every deployment anyway, and the values that say so."""

_SOURCE: _Path = ("custom_model", "gcs_uri")
_LEAVES = {*_OPTIONS, *_ALWAYS, _ENABLED, _ALLOWED}
_GROUPS = {
    path[:depth] for path in (*_LEAVES, _SOURCE) for depth in range(1, len(path))
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be deployed.

    Attributes:
        bucket: Where the folder is.
        prefix: The folder, without slashes at its ends.
        overrides: What is laid over its own options.
    """

    bucket: str
    prefix: str
    overrides: Overrides


def wish(
    text: bytes, *, buckets: tuple[str, ...], private_projects: tuple[str, ...] = ()
) -> Wish:
    """Read the body.

    Args:
        text: The body.
        buckets: From which folders may be deployed.
        private_projects: Who may connect to endpoints here; empty where they are
            public.

    Raises:
        PermanentError: Naming the first that is wrong or cannot be had.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PermanentError(f"The body is no JSON: {error}") from error
    found: dict[_Path, object] = {}
    _flatten(body, (), found)
    bucket, prefix = _place(found.pop(_SOURCE, None), buckets)
    given: dict[str, Any] = {}
    for path, value in found.items():
        if path in _OPTIONS:
            given[_OPTIONS[path]] = _value(path, value)
        else:
            _as_it_is(path, value, private_projects)
    if "min_replica_count" in given:
        # Vertex AI's own way of saying it.
        given["scale_to_zero"] = given["min_replica_count"] == 0
    if wrong := conflicts(given):
        raise PermanentError(f"{' '.join(wrong)}.")
    return Wish(bucket, prefix, overrides_of(given))


def _flatten(value: object, path: _Path, found: dict[_Path, object]) -> None:
    """Put what is at each place that is known into `found`."""
    if path and path not in _GROUPS:
        found[path] = value
        return
    if not isinstance(value, dict):
        raise PermanentError(f"{_dotted(path) or 'The body'} must be an object.")
    for name, inner in value.items():
        place = (*path, _snake(name))
        if place in found:
            raise PermanentError(f"{_dotted(place)} is there twice.")
        _flatten(inner, place, found)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda it: "_" + it[1].lower(), name)


def _dotted(path: _Path) -> str:
    return ".".join(part[:100] for part in path)


def _value(path: _Path, value: object) -> object:
    """The value of a choice, as weightdrop.json would hold it."""
    name = _OPTIONS[path]
    if name in _COUNTS and isinstance(value, str) and value.isdecimal():
        value = int(value[:9])
    if name == "region":
        match = _DESTINATION.fullmatch(value) if isinstance(value, str) else None
        value = match[1] if match else None
    try:
        return read_value(name, value)
    except WrongValueError as error:
        what = "projects/PROJECT/locations/REGION" if name == "region" else str(error)
        raise PermanentError(f"{_dotted(path)} must be {what}.") from None


def _as_it_is(path: _Path, value: object, private: tuple[str, ...]) -> None:
    """Refuse what asks for something else than what there is.

    Raises:
        PermanentError: If it does.
    """
    if path == _ENABLED:
        good = value is bool(private)
    elif path == _ALLOWED:
        good = isinstance(value, list) and all(one in private for one in value)
    elif path in _ALWAYS:
        good = any(value is one for one in _ALWAYS[path])
    else:
        raise PermanentError(f"{_dotted(path)} cannot be chosen here.")
    if good:
        return
    if path in _ALWAYS:
        raise PermanentError(f"{_dotted(path)} can only be {_ALWAYS[path][0]}.")
    who = f"private, for {', '.join(private)}" if private else "public"
    raise PermanentError(
        f"{_dotted(path)}: endpoints here are {who}; who may connect to them is a "
        "setting of this installation (WEIGHTDROP_PRIVATE_PROJECTS)."
    )


def _place(uri: object, buckets: tuple[str, ...]) -> tuple[str, str]:
    match = _GCS.fullmatch(uri) if isinstance(uri, str) else None
    if not match:
        raise PermanentError(
            'The body must hold {"custom_model": {"gcs_uri": "gs://BUCKET/FOLDER"}}.'
        )
    bucket, prefix = match[1], (match[2] or "").strip("/")
    if bucket not in buckets:
        raise PermanentError(f"gcs_uri: the bucket {bucket} is not watched.")
    parts = prefix.split("/")
    if not prefix.isprintable() or (prefix and not _plain(parts)):
        raise PermanentError("gcs_uri: no folder can have such a name.")
    return bucket, prefix


def _plain(parts: list[str]) -> bool:
    return not any(part in {"", ".", ".."} for part in parts)
