"""The body of `POST /deployments:deploy`: that of Vertex AI's own `:deploy`.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/projects.locations/deploy
in either spelling of its names, `custom_model` or `customModel`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from weightdrop.errors import PermanentError

_GCS = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220})(?:/(.*))?", re.DOTALL)

_TEXT, _COUNT, _TRUTH = "text", "count", "truth"

_OPTIONS: dict[tuple[str, ...], tuple[str, str]] = {
    ("model_config", "model_user_id"): ("model_id", _TEXT),
    ("model_config", "model_display_name"): ("model_display_name", _TEXT),
    ("endpoint_config", "endpoint_display_name"): ("endpoint_display_name", _TEXT),
    ("deploy_config", "dedicated_resources", "machine_spec", "machine_type"): (
        "machine_type",
        _TEXT,
    ),
    ("deploy_config", "dedicated_resources", "machine_spec", "accelerator_type"): (
        "accelerator_type",
        _TEXT,
    ),
    ("deploy_config", "dedicated_resources", "machine_spec", "accelerator_count"): (
        "accelerator_count",
        _COUNT,
    ),
    ("deploy_config", "dedicated_resources", "min_replica_count"): (
        "min_replica_count",
        _COUNT,
    ),
    ("deploy_config", "dedicated_resources", "max_replica_count"): (
        "max_replica_count",
        _COUNT,
    ),
    ("deploy_config", "dedicated_resources", "spot"): ("spot", _TRUTH),
}
"""Where each choice is in the body, and what it is called in weightdrop.json."""

_ALWAYS: dict[tuple[str, ...], object] = {
    ("endpoint_config", "dedicated_endpoint_enabled"): True,
    ("endpoint_config", "dedicated_endpoint_disabled"): False,
}
"""What holds for every deployment anyway: no other value can be had."""

_GROUPS = {path[:depth] for path in (*_OPTIONS, *_ALWAYS) for depth in range(1, 4)}

_SOURCE = ("custom_model", "gcs_uri")
_IGNORED = {("destination",)}
"""Project and region are settings; Vertex AI's clients always send them."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be deployed.

    Attributes:
        bucket: Where the folder is.
        prefix: The folder, without slashes at its ends.
        options: Choices, by their names in weightdrop.json.
    """

    bucket: str
    prefix: str
    options: Mapping[str, str | int | bool]


def wish(text: bytes, *, buckets: tuple[str, ...]) -> Wish:
    """Read the body.

    Args:
        text: The body.
        buckets: From which folders may be deployed.

    Raises:
        PermanentError: Naming the first that is wrong or cannot be had.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PermanentError(f"The body is no JSON: {error}") from error
    found: dict[tuple[str, ...], object] = {}
    _flatten(body, (), found)
    uri = found.pop(_SOURCE, None)
    bucket, prefix = _place(uri, buckets)
    options: dict[str, str | int | bool] = {}
    for path, value in found.items():
        if path in _OPTIONS:
            name, kind = _OPTIONS[path]
            options[name] = _value(value, kind, path)
        elif path not in _ALWAYS:
            raise PermanentError(f"{_dotted(path)} cannot be chosen here.")
        elif value is not _ALWAYS[path]:
            raise PermanentError(f"{_dotted(path)} can only be {_ALWAYS[path]}.")
    return Wish(bucket, prefix, options)


def _flatten(
    value: object, path: tuple[str, ...], found: dict[tuple[str, ...], object]
) -> None:
    """Put what is at each place that is known into `found`."""
    group = not path or path in _GROUPS or path == _SOURCE[:1]
    if not group or path in _OPTIONS or path in _ALWAYS:
        found[path] = value
        return
    if not isinstance(value, dict):
        raise PermanentError(f"{_dotted(path) or 'The body'} must be an object.")
    for name, inner in value.items():
        place = (*path, _snake(name))
        if place in _IGNORED:
            continue
        if place in found:
            raise PermanentError(f"{_dotted(place)} is there twice.")
        _flatten(inner, place, found)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda it: "_" + it[1].lower(), name)


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(part[:100] for part in path)


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


def _value(value: object, kind: str, path: tuple[str, ...]) -> str | int | bool:
    if kind == _TEXT and isinstance(value, str) and value:
        return value
    if kind == _TRUTH and isinstance(value, bool):
        return value
    if kind == _COUNT and isinstance(value, int) and not isinstance(value, bool):
        if value >= 0:
            return value
    elif kind == _COUNT and isinstance(value, str) and value.isdecimal():
        # Google's JSON writes 64-bit numbers as text.
        return int(value[:9])
    raise PermanentError(f"{_dotted(path)} is not what it should be.")
