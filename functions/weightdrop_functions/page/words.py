"""Values as people read them: ages, prices, sizes, names of phases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weightdrop.core.artifacts.overrides import Override

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
_THOUSANDS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
_BYTES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def age(then: datetime, now: datetime) -> str:
    """How long ago `then` was, in its two largest units.

    Args:
        then: Timezone-aware.
        now: Timezone-aware; an earlier one counts as the same moment.
    """
    left = max(int((now - then).total_seconds()), 0)
    parts: list[str] = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        if count or parts:
            parts.append(f"{count} {unit}")
    parts.append(f"{left} s")
    shown = [part for part in parts[:2] if not part.startswith("0 ")]
    return " ".join(shown) or "0 s"


def moment(then: datetime) -> str:
    """A date and time in UTC, to the second."""
    return f"{then.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def price(hourly_usd: float | None) -> str:
    """US dollars an hour; says so where none is known."""
    return "unknown" if hourly_usd is None else f"${hourly_usd:,.2f}/h"


def many(count: int) -> str:
    """A large number in three digits, such as 8.03B."""
    for size, unit in _THOUSANDS:
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def size(count: int) -> str:
    """Bytes, in the unit that suits."""
    for unit_bytes, unit in _BYTES:
        if count >= unit_bytes:
            return f"{count / unit_bytes:.3g} {unit}"
    return f"{count} bytes"


def plain(name: str) -> str:
    """A code's name as words: creating_endpoint is "creating endpoint"."""
    return name.replace("_", " ")


def choice(one: tuple[str, Override]) -> tuple[str, str]:
    """An option with its value, both as words."""
    name, value = one
    if isinstance(value, tuple):
        return plain(name), ", ".join(f"{key}={text}" for key, text in value)
    if isinstance(value, bool):
        return plain(name), "yes" if value else "no"
    return plain(name), str(value)


def accelerator(name: str) -> str:
    """Vertex AI's enum name without what every one of them begins with."""
    return plain(name.removeprefix("NVIDIA_").removeprefix("TESLA_"))
