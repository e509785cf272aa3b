"""The stored and the sent form of records, revisions and messages.

Stored form: `{"schema": N, "body": {…}}` as JSON. Reading follows three rules:

- A body of a *newer* schema is refused with TransientError: while a new version
  is rolled out, an old instance must neither guess nor drop the message; the
  substrate redelivers and a new instance reads it.
- Unknown fields of the *same* schema are ignored, missing ones take their
  defaults. An old writer drops such a field, so a field whose loss would matter
  raises `record.SCHEMA`.
- Anything else that does not fit is PermanentError and names the place.

Sent form: the data as it is, and attributes as CloudEvents' binary form for
Pub/Sub has them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from weightdrop.core.deployment.phases import Phase
from weightdrop.core.deployment.record import SCHEMA, Deployment, Message, Revision
from weightdrop.core.deployment.tracing import ATTRIBUTE
from weightdrop.errors import PermanentError, TransientError

MAX_BYTES = 900_000
"""Largest stored form. Firestore's documents end at 1 MiB (2**20 bytes), the
rest is room for indexed fields and names:
https://cloud.google.com/firestore/quotas#collections_documents_and_fields"""

SOURCE = "/weightdrop/deployments/"
"""CloudEvents source of our events, before the deployment id."""

_T = TypeVar("_T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Stored(msgspec.Struct, frozen=True):
    schema: int
    body: msgspec.Raw


class _Token(msgspec.Struct, frozen=True, array_like=True):
    updated: int
    id: str
    phase: str


_stored = msgspec.json.Decoder(_Stored)
_deployment = msgspec.json.Decoder(Deployment)
_revision = msgspec.json.Decoder(Revision)
_message = msgspec.json.Decoder(Message)
_token = msgspec.json.Decoder(_Token)


def encode(value: Deployment | Revision | Message) -> str:
    """The stored form of `value`.

    Text that is no valid Unicode (lone surrogates, as hostile object names may
    hold) is stored with U+FFFD in its place.

    Raises:
        PermanentError: When it is larger than MAX_BYTES.
    """
    try:
        body = msgspec.json.encode(value)
    except UnicodeEncodeError:
        body = msgspec.json.encode(_clean(msgspec.to_builtins(value)))
    text = msgspec.json.encode(_Stored(schema=SCHEMA, body=msgspec.Raw(body)))
    if len(text) > MAX_BYTES:
        kind = type(value).__name__.lower()
        raise PermanentError(
            f"The stored form of the {kind} has {len(text)} bytes; at most "
            f"{MAX_BYTES} fit into one document. Cut its files, findings or log."
        )
    return text.decode()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value


def _read(text: str | bytes, decoder: msgspec.json.Decoder[_T], kind: str) -> _T:
    try:
        stored = _stored.decode(text)
        if stored.schema > SCHEMA:
            raise TransientError(
                f"A stored {kind} has schema {stored.schema}; this version of "
                f"Weightdrop reads up to {SCHEMA}. Finish the roll-out of the newer "
                "version, or roll forward again."
            )
        if stored.schema != SCHEMA:
            raise PermanentError(
                f"A stored {kind} has schema {stored.schema}, which never existed "
                f"(this version reads {SCHEMA}). Something else wrote it."
            )
        return decoder.decode(stored.body)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise PermanentError(
            f"A stored {kind} cannot be read: {error}. Something else wrote it."
        ) from error


def decode_deployment(text: str | bytes) -> Deployment:
    """Read what `encode` wrote of a deployment.

    Raises:
        TransientError: It was written by a newer version.
        PermanentError: It is not what `encode` writes.
    """
    return _read(text, _deployment, "deployment")


def decode_revision(text: str | bytes) -> Revision:
    """Read what `encode` wrote of a revision; raises as decode_deployment does."""
    return _read(text, _revision, "revision")


def decode_message(text: str | bytes) -> Message:
    """Read what `encode` wrote of a message; raises as decode_deployment does."""
    return _read(text, _message, "message")


# ------------------------------------------------------------------ sent form


def attributes(message: Message) -> dict[str, str]:
    """The attributes a message is sent with.

    An event has those of CloudEvents' Pub/Sub binding; a deploy request, which
    is no CloudEvent of its own, only its id and time.
    """
    time = message.time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if not message.type:
        return {"id": message.id, "time": time} | _traced("", message)
    return {
        "ce-specversion": "1.0",
        "ce-id": message.id,
        "ce-type": message.type,
        "ce-source": SOURCE + message.ordering_key,
        "ce-subject": message.ordering_key,
        "ce-time": time,
        "content-type": "application/json",
    } | _traced("ce-", message)


def _traced(prefix: str, message: Message) -> dict[str, str]:
    """CloudEvents' distributed tracing extension, where there is a trace."""
    return {f"{prefix}{ATTRIBUTE}": message.trace} if message.trace else {}


def received(
    *,
    topic: str,
    data: bytes,
    attributes: Mapping[str, str],
    ordering_key: str,
) -> Message:
    """The message that was sent with these attributes.

    Raises:
        PermanentError: When `attributes` did not make them.
    """
    try:
        event = "ce-id" in attributes
        return Message(
            id=attributes["ce-id" if event else "id"],
            topic=topic,
            ordering_key=ordering_key or attributes.get("ce-subject", ""),
            type=attributes["ce-type"] if event else "",
            time=datetime.fromisoformat(attributes["ce-time" if event else "time"]),
            data=data.decode(),
            trace=attributes.get(f"ce-{ATTRIBUTE}" if event else ATTRIBUTE, ""),
        )
    except (KeyError, ValueError) as error:
        raise PermanentError(
            f"A message on {topic} is none of Weightdrop's: {error!r}. Find out who "
            "else publishes there."
        ) from error


# ------------------------------------------------------- times and page tokens


def microseconds(time: datetime) -> int:
    """Microseconds since 1970 of a timezone-aware time, exactly.

    Raises:
        PermanentError: When `time` has no timezone.
    """
    if time.tzinfo is None:
        raise PermanentError(f"The time {time} has no timezone; give UTC.")
    return (time - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """The time in UTC that `microseconds` turned into `value`."""
    return _EPOCH + value * _MICROSECOND


def page_token(last: Deployment, *, phase: Phase | None) -> str:
    """An opaque token for the page that follows `last`."""
    token = _Token(microseconds(last.updated), last.id, phase or "")
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def read_page_token(token: str, *, phase: Phase | None) -> tuple[datetime, str]:
    """Time of the update and id after which the page starts.

    Raises:
        PermanentError: When `page_token` did not make it for this phase.
    """
    try:
        padded = token + "=" * (-len(token) % 4)
        fields = _token.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
        time = from_microseconds(fields.updated)
    except (msgspec.MsgspecError, binascii.Error, ValueError, OverflowError) as error:
        raise PermanentError(
            "The page token was not given out by this listing: start again without."
        ) from error
    if fields.phase != (phase or ""):
        raise PermanentError(
            "The page token belongs to a listing with another phase: start again "
            "without."
        )
    return time, fields.id
