"""Resource names and the rules for ids that clients choose."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from weightdrop.local.vertex.faults import invalid

_MODEL_ID = re.compile(r"^[a-z_][a-z0-9_-]{0,62}$")
_ENDPOINT_ID = re.compile(r"^([a-z]([a-z0-9-]{0,61}[a-z0-9])?|0|[1-9][0-9]{0,8})$")
_DEPLOYED_ID = re.compile(r"^[0-9]{1,10}$")
_LABEL = re.compile(r"^[\w-]{0,63}$")
_MAX_LABELS = 64
_MAX_DISPLAY_NAME = 128


@dataclass(frozen=True, slots=True)
class Place:
    """A location of the project: what every resource name begins with."""

    project: str
    location: str

    @property
    def path(self) -> str:
        """The parent of models and endpoints."""
        return f"projects/{self.project}/locations/{self.location}"

    def model(self, model_id: str) -> str:
        """The name of a model, without version."""
        return f"{self.path}/models/{model_id}"

    def endpoint(self, endpoint_id: str) -> str:
        """The name of an endpoint."""
        return f"{self.path}/endpoints/{endpoint_id}"


def new_id() -> str:
    """An id as Vertex AI draws them: up to 19 digits."""
    return str(10**18 + secrets.randbelow(8 * 10**18))


def model_id(chosen: str) -> str:
    """The id of a new model.

    Raises:
        ApiError: INVALID_ARGUMENT when the client chose a bad one.
    """
    if chosen and not _MODEL_ID.match(chosen):
        raise invalid(
            f'The model id "{chosen}" is invalid: up to 63 characters [a-z0-9_-], '
            "the first of them no number and no hyphen."
        )
    return chosen or new_id()


def endpoint_id(chosen: str) -> str:
    """The id of a new endpoint; raises ApiError when the client's is bad."""
    if chosen and not _ENDPOINT_ID.match(chosen):
        raise invalid(
            f'The endpoint id "{chosen}" is invalid: up to 63 characters [a-z0-9-] '
            "that begin with a letter and do not end with a hyphen, or up to 9 "
            "digits without leading zeros."
        )
    return chosen or new_id()


def deployed_model_id(chosen: str) -> str:
    """The id of a new deployed model; raises ApiError when the client's is bad."""
    if chosen and not _DEPLOYED_ID.match(chosen):
        raise invalid(
            f'The deployed model id "{chosen}" is invalid: 1 to 10 characters [0-9].'
        )
    return chosen or new_id()


def check_labels(labels: dict[str, str]) -> None:
    """Raise INVALID_ARGUMENT for labels that Vertex AI does not take."""
    if len(labels) > _MAX_LABELS:
        raise invalid(f"At most {_MAX_LABELS} labels are allowed, got {len(labels)}.")
    for key, value in labels.items():
        lower = key == key.lower() and value == value.lower()
        if not (lower and key and _LABEL.match(key) and _LABEL.match(value)):
            raise invalid(
                f'Label "{key}": "{value}" is invalid: at most 63 lower-case '
                "letters, digits, underscores and hyphens."
            )


def check_display_name(name: str, field: str) -> None:
    """Raise INVALID_ARGUMENT for a display name that is too long."""
    if len(name) > _MAX_DISPLAY_NAME:
        raise invalid(f"{field} has {len(name)} characters, at most 128 are allowed.")


def last(name: str) -> str:
    """The last segment of a resource name."""
    return name.rpartition("/")[2]
