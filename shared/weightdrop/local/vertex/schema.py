"""The official messages, as data: what a request may hold and how it is written.

`schema.json` is made from the protos of google-cloud-aiplatform by
tests/local/vertex/make_schema.py, so the stand-in knows every field, its type
and every enum without importing that library. Requests are read as Google's
front end reads them: lowerCamelCase and snake_case keys, enums by name or
number, numbers as strings, and nothing that the message does not have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from weightdrop.local.vertex.faults import invalid

JSON = dict[str, Any]
_DURATION = re.compile(r"^-?\d{1,12}(\.\d{1,9})?s$")
_TRAILING_COMMA = re.compile(rb',(\s*[}\]])|"(?:[^"\\]|\\.)*"', re.DOTALL)
_MAX_DEPTH = 50


@cache
def _schema(version: str) -> JSON:
    text = resources.files(__package__).joinpath("schema.json").read_text("utf-8")
    found: JSON = json.loads(text)[version]
    return found


@cache
def _bindings(version: str) -> re.Pattern[str]:
    patterns = _schema(version)["bindings"]
    return re.compile("|".join(re.escape(p).replace(r"\*", "[^/:]+") for p in patterns))


def bound(method: str, path: str, *, version: str) -> bool:
    """Whether Vertex AI has a call of this method and path (after the version)."""
    return _bindings(version).fullmatch(f"{method} {path}") is not None


def camel(name: str) -> str:
    """`snake_case` as `snakeCase`; camel case stays as it is."""
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def parse(body: bytes) -> JSON:
    """A request's JSON object; empty for an empty body.

    Commas before a closing bracket are accepted: Google's front end does, and
    published examples rely on it.

    Raises:
        ApiError: INVALID_ARGUMENT when it is no JSON object.
    """
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        value = _parse_lenient(body)
    except RecursionError as error:
        raise invalid("Invalid JSON payload received. Nested too deeply.") from error
    if not isinstance(value, dict):
        raise invalid("Invalid JSON payload received. Root element must be a message.")
    return value


def _parse_lenient(body: bytes) -> Any:
    def keep(match: re.Match[bytes]) -> bytes:
        return match[1] if match[1] is not None else match[0]

    try:
        return json.loads(_TRAILING_COMMA.sub(keep, body))
    except (ValueError, RecursionError) as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error


def decode(message: str, value: Any, *, version: str, path: str = "") -> JSON:
    """`value` as one `message`: camelCase keys, enum names, checked types.

    Args:
        message: Name of the message without its package.
        value: Parsed JSON.
        version: "v1" or "v1beta1".
        path: Where `value` stands in the request, for errors.

    Raises:
        ApiError: INVALID_ARGUMENT, naming the field.
    """
    if path.count(".") > _MAX_DEPTH:
        raise invalid("Invalid JSON payload received. Nested too deeply.")
    fields = _schema(version)["messages"][message]
    if not isinstance(value, dict):
        raise _wrong(path, message, value)
    decoded: JSON = {}
    for key, item in value.items():
        name = camel(key)
        kind = fields.get(name)
        if kind is None:
            at = f" at '{path}'" if path else ""
            raise invalid(
                "Invalid JSON payload received. "
                f'Unknown name "{key}"{at}: Cannot find field.'
            )
        if item is not None:
            inner = f"{path}.{name}" if path else name
            decoded[name] = _decode(kind, item, version=version, path=inner)
    return decoded


def _decode(kind: str, value: Any, *, version: str, path: str) -> Any:
    if kind.startswith("[]"):
        items = value if isinstance(value, list) else [value]
        return [
            _decode(kind[2:], item, version=version, path=f"{path}[{index}]")
            for index, item in enumerate(items)
        ]
    if kind.startswith("{}"):
        if not isinstance(value, dict):
            raise _wrong(path, "Map", value)
        return {
            str(key): _decode(kind[2:], item, version=version, path=f"{path}.{key}")
            for key, item in value.items()
        }
    if kind.startswith("!"):
        return _enum(kind[1:], value, version=version, path=path)
    if kind in _SCALARS:
        return _SCALARS[kind](value, path)
    return decode(kind, value, version=version, path=path)


def _wrong(path: str, kind: str, value: Any) -> Exception:
    shown = json.dumps(value, default=str)[:80]
    return invalid(f"Invalid value at '{path}' ({kind}), {shown}")


def _enum(name: str, value: Any, *, version: str, path: str) -> str:
    values: Mapping[str, int] = _schema(version)["enums"][name]
    if isinstance(value, str) and value in values:
        return value
    for label, number in values.items():
        if not isinstance(value, bool) and value == number:
            return label
    raise _wrong(path, f"type.googleapis.com/google.cloud.aiplatform.{name}", value)


def _string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _wrong(path, "TYPE_STRING", value)
    return value


def _int(value: Any, path: str) -> int:
    try:
        number = int(value) if isinstance(value, str) else value
        if isinstance(number, bool) or int(number) != number:
            raise _wrong(path, "TYPE_INT32", value)
        return int(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong(path, "TYPE_INT32", value) from error


def _long(value: Any, path: str) -> str:
    return str(_int(value, path))


def _float(value: Any, path: str) -> float:
    try:
        if isinstance(value, bool):
            raise _wrong(path, "TYPE_FLOAT", value)
        return float(value)
    except (TypeError, ValueError) as error:
        raise _wrong(path, "TYPE_FLOAT", value) from error


def _bool(value: Any, path: str) -> bool:
    if value in ("true", "false"):
        return bool(value == "true")
    if not isinstance(value, bool):
        raise _wrong(path, "TYPE_BOOL", value)
    return value


def _duration(value: Any, path: str) -> str:
    if not (isinstance(value, str) and _DURATION.match(value)):
        raise _wrong(path, "type.googleapis.com/google.protobuf.Duration", value)
    return value


def _any(value: Any, _path: str) -> Any:
    return value


_SCALARS = {
    "string": _string,
    "bytes": _string,
    "timestamp": _string,
    "mask": _string,
    "int": _int,
    "long": _long,
    "float": _float,
    "bool": _bool,
    "duration": _duration,
    "any": _any,
}


def shown(message: str, value: JSON, *, version: str, numbers: bool) -> JSON:
    """`value` as one API version shows it.

    Args:
        message: What it is.
        value: As it is kept: of any version.
        version: Fields that this version does not have are left out.
        numbers: Write enums by number, as `$alt=json;enum-encoding=int` asks.
    """
    fields = _schema(version)["messages"].get(message, {})
    return {
        key: item
        if key in _UNDOCUMENTED
        else _shown(fields[key], item, version=version, numbers=numbers)
        for key, item in value.items()
        if key in fields or key in _UNDOCUMENTED
    }


_UNDOCUMENTED = frozenset({"state", "nextPageToken"})
"""`state` of a deployed model is shown on request and in no proto."""


def _shown(kind: str, value: Any, *, version: str, numbers: bool) -> Any:
    if kind.startswith("[]"):
        return [
            _shown(kind[2:], item, version=version, numbers=numbers) for item in value
        ]
    if kind.startswith("!") and numbers:
        return _schema(version)["enums"][kind[1:]].get(value, value)
    if kind in _SCALARS or kind[0] in "{!":
        return value
    return shown(kind, value, version=version, numbers=numbers)


def seconds(duration: str) -> float:
    """A Duration's JSON form in seconds."""
    return float(duration.removesuffix("s"))


def mask_fields(mask: str) -> tuple[str, ...]:
    """A FieldMask's JSON form as camelCase paths."""
    return tuple(camel(path.strip()) for path in mask.split(",") if path.strip())
