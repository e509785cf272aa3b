"""Listing objects: prefix, delimiter, glob, offsets and pages."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from weightdrop.local.bucket.conditions import integer
from weightdrop.local.bucket.database import Database
from weightdrop.local.bucket.model import COLUMNS, ObjectRow
from weightdrop.local.bucket.problems import ApiError

_PAGE = 1000
_LAST = "\U0010ffff"
_SELECT = (
    f"SELECT {COLUMNS} FROM objects "  # noqa: S608  (constants)
    "WHERE bucket = ? AND name >= ? ORDER BY name LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Query:
    """What a listing asks for; the names are Cloud Storage's."""

    prefix: str
    delimiter: str
    start: str
    end: str
    glob: re.Pattern[str] | None
    trailing: bool
    size: int

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> Query:
        """From a list call's query parameters."""
        size = integer(values, "maxResults")
        if size is not None and size < 0:
            raise ApiError(400, f"Invalid value for maxResults: {size}.")
        glob = values.get("matchGlob", "")
        start = max(values.get("startOffset", ""), values.get("prefix", ""))
        if token := values.get("pageToken", ""):
            start = max(start, decode_token(token))
        return cls(
            prefix=values.get("prefix", ""),
            delimiter=values.get("delimiter", ""),
            start=start,
            end=values.get("endOffset", ""),
            glob=glob_pattern(glob) if glob else None,
            trailing=values.get("includeTrailingDelimiter", "") == "true",
            size=min(size or _PAGE, _PAGE),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """One page."""

    rows: tuple[ObjectRow, ...]
    prefixes: tuple[str, ...]
    token: str


def encode_token(name: str) -> str:
    """A page token that begins at `name`."""
    return base64.urlsafe_b64encode(name.encode()).decode()


def decode_token(token: str) -> str:
    """The name at which a page begins; 400 for what is no token."""
    try:
        return base64.b64decode(token, b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise ApiError(400, f"Invalid page token: {token!r}.") from None


def list_objects(database: Database, bucket: str, query: Query) -> Found:
    """One page of the live objects, in the order of their UTF-8 names."""
    rows: list[ObjectRow] = []
    prefixes: list[str] = []
    for row, group in _walk(database, bucket, query):
        if len(rows) + len(prefixes) >= query.size:
            return Found(tuple(rows), tuple(prefixes), encode_token(group or row.name))
        if group:
            prefixes.append(group)
        if not group or (query.trailing and row.name == group):
            rows.append(row)
    return Found(tuple(rows), tuple(prefixes), "")


def _walk(
    database: Database, bucket: str, query: Query
) -> Iterator[tuple[ObjectRow, str]]:
    """Each row to show with "", and one row of each group with the group."""
    start = query.start
    while True:
        batch = database.query(_SELECT, (bucket, start, _PAGE))
        for values in batch:
            row = ObjectRow(*values)
            if not row.name.startswith(query.prefix) or (
                query.end and row.name >= query.end
            ):
                return
            start = row.name + "\0"
            if query.glob and not query.glob.match(row.name):
                continue
            group = _group(row.name, query)
            yield row, group
            if group:
                # Go on behind the whole group, however many objects it has.
                start = group + _LAST
                break
        else:
            if len(batch) < _PAGE:
                return


def _group(name: str, query: Query) -> str:
    if not query.delimiter:
        return ""
    at = name.find(query.delimiter, len(query.prefix))
    return name[: at + len(query.delimiter)] if at >= 0 else ""


def glob_pattern(glob: str) -> re.Pattern[str]:
    """Cloud Storage's glob: * and ? stop at "/", ** does not, {a,b}, [a-z]."""
    parts: list[str] = []
    depth = 0
    pieces = re.findall(r"\*\*|\[[!^]?\]?[^\]]*\]|\\.|.", glob, re.DOTALL)
    for piece in pieces:
        if piece == "**":
            parts.append(".*")
        elif piece == "*":
            parts.append("[^/]*")
        elif piece == "?":
            parts.append("[^/]")
        elif piece.startswith("[") and len(piece) > 1:
            body = piece[1:-1].replace("\\", r"\\").replace("[", r"\[")
            parts.append("[" + re.sub(r"^!", "^", body) + "]")
        elif piece == "{":
            depth += 1
            parts.append("(?:")
        elif piece == "}" and depth:
            depth -= 1
            parts.append(")")
        elif piece == "," and depth:
            parts.append("|")
        else:
            parts.append(re.escape(piece.removeprefix("\\") or piece))
    try:
        return re.compile("".join(parts) + r"\Z", re.DOTALL)
    except re.error:
        raise ApiError(400, f"Invalid matchGlob: {glob!r}.") from None
