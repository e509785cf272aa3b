"""The table of contents of a zip archive, as PyTorch writes it and no other way.

Zip readers disagree about odd archives, and that is how payloads hide. So what
PyTorch never writes is refused: compression, encryption, comments, bytes before
or between the records, names twice. Source: PKWARE's APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
TAIL_BYTES = _END.size + _END64.size + _LOCATOR.size
"""The end of an archive, up to its table of contents."""
_FULL32 = 0xFFFFFFFF
_FULL16 = 0xFFFF
_ENCRYPTED = 0x2041
"""Bits of encryption: traditional, strong, and masked headers."""
_ZIP64 = 1
"""Extra field that holds sizes beyond 32 bit."""


class ZipError(ValueError):
    """The archive is not as PyTorch writes it.

    Args:
        message: Why.
        offset: Byte offset in the file, where known.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the table of contents lies.

    Attributes:
        start: Its offset in the file.
        size: Its length in bytes.
        count: Records it lists.
    """

    start: int
    size: int
    count: int


@dataclass(frozen=True, slots=True)
class Record:
    """One stored file.

    Attributes:
        name: Its name.
        start: Offset of its local header.
        size: Length of its bytes.
        end: Where the next record begins, or the table of contents.
    """

    name: str
    start: int
    size: int
    end: int


def find_directory(tail: bytes, size: int, *, most: int) -> Directory:
    """Where the table of contents is, from the last bytes of the file.

    Args:
        tail: The last TAIL_BYTES bytes, or more.
        size: Length of the whole file.
        most: Bytes the table may have.

    Raises:
        ZipError: If there is none, or it is oddly placed.
    """
    at = len(tail) - _END.size
    if at < 0 or tail[at : at + 4] != b"PK\x05\x06":
        raise ZipError("it does not end as a zip archive does", size)
    _, disk, first, here, count, length, start, _ = _END.unpack_from(tail, at)
    end = size - _END.size
    locator = at - _LOCATOR.size
    if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
        short = (count, length, start)
        count, length, start, end = _find64(tail, locator, size)
        full = (_FULL16, _FULL32, _FULL32)
        if any(
            value not in (whole, most)
            for value, whole, most in zip(
                short, (count, length, start), full, strict=True
            )
        ):
            raise ZipError("its two ends contradict each other", end)
    elif disk or first or here != count or _FULL16 in (disk, first):
        raise ZipError("it is spread over several files", end)
    if start + length != end:
        raise ZipError("there are bytes between its parts", start)
    if length > most:
        raise ZipError(f"its table of contents has {length} bytes", start)
    return Directory(start, length, count)


def _find64(tail: bytes, locator: int, size: int) -> tuple[int, int, int, int]:
    _, disk, where, disks = _LOCATOR.unpack_from(tail, locator)
    at = where - (size - len(tail))
    if disk or disks > 1 or at < 0 or at + _END64.size != locator:
        raise ZipError("its 64 bit end is not where it must be", where)
    magic, length, _, _, disk, first, here, count, bytes_, start = _END64.unpack_from(
        tail, at
    )
    if magic != b"PK\x06\x06" or length != _END64.size - 12 or disk or first:
        raise ZipError("its 64 bit end is not as it must be", where)
    if here != count:
        raise ZipError("it is spread over several files", where)
    return count, bytes_, start, where


def _sizes64(extra: bytes, wanted: list[int]) -> list[int]:
    """Values beyond 32 bit, taken from the extra field in the order they overflow."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64:
            field = extra[at + 4 : at + 4 + length]
            found = []
            place = 0
            for value in wanted:
                if value == _FULL32:
                    if place + 8 > len(field):
                        raise ZipError("a 64 bit size is missing")
                    value = struct.unpack_from("<Q", field, place)[0]  # noqa: PLW2901
                    place += 8
                found.append(value)
            return found
        at += 4 + length
    return wanted


def read_directory(data: bytes, directory: Directory) -> list[Record]:
    """The records, in the order they lie in the file.

    Args:
        data: The table of contents.
        directory: Where it lies.

    Raises:
        ZipError: If a record is anything but plainly stored.
    """
    found: list[tuple[int, int, str]] = []
    at = 0
    while at < len(data):
        if at + _ENTRY.size > len(data) or data[at : at + 4] != b"PK\x01\x02":
            raise ZipError("its table of contents is damaged", directory.start + at)
        entry = _ENTRY.unpack_from(data, at)
        _, _, _, flags, method, _, _, _, packed, size, *lengths, disk, _, _, start = (
            entry
        )
        name_length, extra_length, comment_length = lengths
        name_at = at + _ENTRY.size
        extra_at = name_at + name_length
        where = directory.start + at
        at = extra_at + extra_length + comment_length
        if at > len(data) or comment_length or disk:
            raise ZipError("its table of contents is damaged", where)
        if method or flags & _ENCRYPTED:
            raise ZipError("it has compressed or encrypted records", where)
        extra = data[extra_at : extra_at + extra_length]
        size, packed, start = _sizes64(extra, [size, packed, start])
        if size != packed:
            raise ZipError("it has compressed records", where)
        found.append((start, size, _name(data[name_at:extra_at], where)))
    if len(found) != directory.count:
        raise ZipError("its table of contents is incomplete", directory.start)
    return _in_order(found, directory)


def _name(raw: bytes, where: int) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise ZipError("a record's name is not plain text", where) from None


def _in_order(found: list[tuple[int, int, str]], directory: Directory) -> list[Record]:
    if not found:
        raise ZipError("it holds nothing", directory.start)
    found.sort()
    names = [name for _, _, name in found]
    if len(set(names)) != len(names):
        raise ZipError("two records have the same name", directory.start)
    ends = [start for start, _, _ in found[1:]] + [directory.start]
    records = [
        Record(name, start, size, end)
        for (start, size, name), end in zip(found, ends, strict=True)
    ]
    expected = 0
    for record in records:
        least = record.start + _LOCAL.size + len(record.name) + record.size
        if record.start != expected or record.end < least:
            raise ZipError("its records overlap or leave gaps", record.start)
        expected = record.end
    return records


def content(data: bytes, record: Record) -> tuple[bytes, int]:
    """The bytes of a record, and where in the file they begin.

    Args:
        data: The file from `record.start` to `record.end`.
        record: The record.

    Raises:
        ZipError: If its local header contradicts the table of contents.
    """
    if len(data) < _LOCAL.size or data[:4] != b"PK\x03\x04":
        raise ZipError("a record does not begin as it must", record.start)
    header = _LOCAL.unpack_from(data)
    flags, method, name_length, extra_length = header[2], header[3], *header[-2:]
    start = _LOCAL.size + name_length + extra_length
    name = data[_LOCAL.size : _LOCAL.size + name_length]
    if method or flags & _ENCRYPTED or name != record.name.encode("ascii"):
        raise ZipError("a record is not what its table says", record.start)
    if start + record.size > len(data):
        raise ZipError("a record is longer than its place", record.start)
    return data[start : start + record.size], record.start + start
