"""Filters, order and pages of lists, as the API documents them."""

from __future__ import annotations

import base64
import re
from typing import Any

from weightdrop.local.vertex.faults import invalid
from weightdrop.local.vertex.schema import camel

JSON = dict[str, Any]
_LARGEST_PAGE = 100
_TERM = re.compile(
    r"""\s*(?P<not>NOT\s+|-)?(?P<path>[A-Za-z_][\w.-]*)
        \s*(?P<op>!=|=|:)\s*(?P<value>"[^"]*"|'[^']*'|[^\s()]+)\s*""",
    re.VERBOSE,
)
_AND = re.compile(r"AND\b\s*", re.IGNORECASE)
_HAS = re.compile(r"\s*(?P<not>NOT\s+|-)?labels\.(?P<key>[\w-]+)\s*(?=AND\b|$)")


def _matches(item: JSON, path: str, operator: str, wanted: str) -> bool:
    head, _, rest = path.partition(".")
    found: Any
    if head == "labels" and rest:
        found = item.get("labels", {}).get(rest)
    elif head in ("endpoint", "endpoint_id", "model", "model_id"):
        found = item["name"].rpartition("/")[2]
        wanted = wanted.rpartition("/")[2]
    elif head == "labels":
        return wanted in item.get("labels", {})
    else:
        found = item.get(camel(path), "")
    if operator == ":" and wanted == "*":
        return found is not None
    return (str(found) == wanted) == (operator != "!=")


def matching(items: list[JSON], text: str) -> list[JSON]:
    """The items that a filter keeps: `field=value` terms joined by AND.

    Raises:
        ApiError: INVALID_ARGUMENT for a filter that cannot be read.
    """
    position = 0
    while position < len(text):
        has = _HAS.match(text, position)
        if has:
            negated, path, operator, value = (
                has["not"],
                f"labels.{has['key']}",
                ":",
                "*",
            )
            position = has.end()
        else:
            term = _TERM.match(text, position)
            if term is None:
                raise invalid(f'Invalid filter expression "{text}" at {position}.')
            negated, path, operator = term["not"], term["path"], term["op"]
            value = term["value"].strip("\"'")
            position = term.end()
        items = [
            item
            for item in items
            if _matches(item, path, operator, value) != bool(negated)
        ]
        joint = _AND.match(text, position)
        if joint is None and position < len(text):
            raise invalid(f'Invalid filter expression "{text}" at {position}.')
        position = joint.end() if joint else position
    return items


def page(items: list[JSON], *, field: str, size: str, token: str) -> JSON:
    """One page of `items`.

    Args:
        items: All of them, in order.
        field: Name of the list in the answer.
        size: `pageSize` as the client sent it, may be empty.
        token: `pageToken` as the client sent it, may be empty.

    Raises:
        ApiError: INVALID_ARGUMENT for a size or token that cannot be read.
    """
    try:
        count = min(int(size or 0) or _LARGEST_PAGE, _LARGEST_PAGE)
        start = int(base64.urlsafe_b64decode(token)) if token else 0
    except ValueError as error:
        raise invalid("Invalid pageSize or pageToken.") from error
    if count < 0 or start < 0:
        raise invalid("Invalid pageSize or pageToken.")
    answer: JSON = {field: items[start : start + count]}
    if start + count < len(items):
        following = str(start + count).encode()
        answer["nextPageToken"] = base64.urlsafe_b64encode(following).decode()
    return answer
