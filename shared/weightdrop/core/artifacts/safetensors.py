"""The header of a safetensors file, held to every rule of the format.

Stricter than the format's own reader where that is ambiguous: a file that the
reader refuses is refused here, but also duplicate keys, unknown members, and
dimensions no tensor has. Sources: the format's README, and the reader's source
(tensor.rs of safetensors 0.8).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

from weightdrop.core.artifacts import codes, model_codes
from weightdrop.core.artifacts.documents import (
    DocumentError,
    parse_object,
    well_formed,
)
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import shown
from weightdrop.core.artifacts.model import Tensor
from weightdrop.core.artifacts.policy import Policy

PREFIX_BYTES = 8
"""The length of the header, little-endian, unsigned."""
BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Bits of one value, by the format's names."""
MAX_ELEMENTS = 2**56
"""Keeps elements times bits below 2**64, where the format's reader overflows."""
MAX_RANK = 16
_MEMBERS = frozenset({"dtype", "shape", "data_offsets"})
_MAX_FAULTS = 10
_MAGIC = {
    b"GGUF": "a GGUF file, which is quantised",
    b"PK\x03\x04": "a zip archive (PyTorch's format?)",
    b"\x80\x02": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
    b"version ": "a Git LFS pointer",
    b"<!DOCTYP": "a web page",
    b"<html": "a web page",
}


@dataclass(frozen=True, slots=True)
class Header:
    """The tensors of one file, and what is wrong with it."""

    tensors: tuple[Tensor, ...] = ()
    findings: tuple[Finding, ...] = ()


def header_length(
    prefix: bytes, *, file: str, size: int, policy: Policy
) -> int | Finding:
    """The length of the header, or why it cannot be one.

    Args:
        prefix: The first PREFIX_BYTES bytes.
        file: Path, for the finding.
        size: Bytes of the whole file.
        policy: Limits.
    """
    if size < PREFIX_BYTES + 2 or len(prefix) < PREFIX_BYTES:
        return codes.SHARD_TRUNCATED.found(
            f"{file} has {size} bytes, fewer than any safetensors file.",
            file=file,
            offset=size,
        )
    length = int(struct.unpack("<Q", prefix[:PREFIX_BYTES])[0])
    for magic, kind in _MAGIC.items():
        if prefix.startswith(magic) and length > size - PREFIX_BYTES:
            return codes.HEADER_LENGTH.found(
                f"{file} is no safetensors file but {kind}.", file=file, offset=0
            )
    if length > policy.max_header_bytes:
        return codes.HEADER_LENGTH.found(
            f"{file} claims a header of {length} bytes; at most "
            f"{policy.max_header_bytes} are read.",
            file=file,
            offset=0,
        )
    if length > size - PREFIX_BYTES:
        return codes.SHARD_TRUNCATED.found(
            f"{file} claims a header of {length} bytes, but has {size} bytes in all.",
            file=file,
            offset=size,
        )
    if length < 2:  # noqa: PLR2004  # "{}" is the shortest object
        return codes.HEADER_LENGTH.found(
            f"{file} claims a header of {length} bytes, too short for any.",
            file=file,
            offset=0,
        )
    return length


def _entry_fault(entry: Any) -> str:  # noqa: PLR0911  # one reason each
    """Why an entry that the fast path refused is wrong."""
    if not isinstance(entry, dict) or set(entry) != _MEMBERS:
        return "does not have exactly dtype, shape and data_offsets"
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        return f"has the unknown dtype {shown(str(dtype), 40)}"
    if not isinstance(shape, list) or len(shape) > MAX_RANK:
        return f"has no shape of at most {MAX_RANK} dimensions"
    for number in (*shape, *(offsets if isinstance(offsets, list) else ())):
        if type(number) is not int or number < 0:
            return "has a dimension or offset that is no whole, positive number"
    if not isinstance(offsets, list) or len(offsets) != 2:  # noqa: PLR2004
        return "does not have two data_offsets"
    count = 1
    for dim in shape:
        count *= dim
        if dim > MAX_ELEMENTS or count > MAX_ELEMENTS:
            return "has more elements than can be"
    if count * BITS[dtype] % 8:
        return "does not end at a full byte"
    return (
        f"has shape {shape} of {dtype}, which is {count * BITS[dtype] // 8} bytes, "
        f"but data_offsets {offsets}"
    )


def _span(entry: Any) -> tuple[int, int, str, tuple[int, ...]] | None:
    """(begin, end, dtype, shape) of an entry; None if anything is wrong."""
    try:
        dtype = entry["dtype"]
        begin, end = entry["data_offsets"]
        shape = entry["shape"]
        bits = BITS[dtype]
    except (TypeError, KeyError, ValueError):
        return None
    count = _elements(shape)
    if (
        count < 0
        or len(entry) != len(_MEMBERS)
        or type(begin) is not int
        or type(end) is not int
        or begin < 0
        or (end - begin) * 8 != count * bits
    ):
        return None
    return begin, end, dtype, tuple(shape)


def _elements(shape: Any) -> int:
    """How many elements a shape has; -1 if it is no shape."""
    if type(shape) is not list or len(shape) > MAX_RANK:
        return -1
    count = 1
    for dim in shape:
        if type(dim) is not int or not 0 <= dim <= MAX_ELEMENTS:
            return -1
        count *= dim
        if count > MAX_ELEMENTS:
            return -1
    return count


def _where(data: bytes, name: str) -> int | None:
    """Byte offset of an entry in the file."""
    at = data.find(json.dumps(name, ensure_ascii=False).encode("utf-8", "replace"))
    return None if at < 0 else PREFIX_BYTES + at


def _name_fault(name: str, policy: Policy) -> str:
    if not well_formed(name) or not name.isprintable():
        return "cannot be shown"
    if not name or len(name.encode()) > policy.max_tensor_name:
        return f"is empty or longer than {policy.max_tensor_name} bytes"
    return ""


def _metadata_fault(metadata: Any) -> bool:
    return not isinstance(metadata, dict) or not all(
        isinstance(value, str) and well_formed(value) and well_formed(key)
        for key, value in metadata.items()
    )


def _layout_findings(
    spans: list[tuple[int, int, str]], *, file: str, start: int, size: int
) -> list[Finding]:
    """Whether the tensors fill the data exactly: no overlap, no hole."""
    findings: list[Finding] = []
    expected = 0
    for begin, end, name in sorted(spans):
        if begin != expected:
            what = (
                "overlaps the tensor before it"
                if begin < expected
                else ("leaves a hole before it")
            )
            findings.append(
                codes.HEADER_LAYOUT.found(
                    f"The tensor {shown(name)} begins at data offset {begin}, not at "
                    f"{expected}: it {what}.",
                    file=file,
                    offset=start + begin if start + begin <= size else None,
                )
            )
            return findings
        expected = end
    whole = start + expected
    if whole > size:
        findings.append(
            codes.SHARD_TRUNCATED.found(
                f"{file} has {size} bytes; its header describes {whole}.",
                file=file,
                offset=size,
            )
        )
    elif whole < size:
        findings.append(
            codes.SHARD_TRAILING.found(
                f"{file} has {size} bytes; its tensors end at {whole}.",
                file=file,
                offset=whole,
            )
        )
    return findings


def parse_header(data: bytes, *, file: str, size: int, policy: Policy) -> Header:
    """Read a header.

    Args:
        data: The header, exactly as long as the prefix says.
        file: Path, for tensors and findings.
        size: Bytes of the whole file.
        policy: Limits.
    """
    if not data.startswith(b"{"):
        found = codes.HEADER_INVALID.found(
            f"The header of {file} does not begin with a brace.",
            file=file,
            offset=PREFIX_BYTES,
        )
        return Header(findings=(found,))
    try:
        entries = parse_object(data)
    except DocumentError as error:
        offset = PREFIX_BYTES + error.offset if error.offset is not None else None
        found = codes.HEADER_INVALID.found(
            f"The header of {file} cannot be read: {error}.", file=file, offset=offset
        )
        return Header(findings=(found,))
    findings: list[Finding] = []
    if "__metadata__" in entries and _metadata_fault(entries.pop("__metadata__")):
        findings.append(
            codes.HEADER_INVALID.found(
                f"__metadata__ of {file} is not a table of strings.", file=file
            )
        )
    if len(entries) > policy.max_tensors:
        findings.append(
            codes.TOO_MANY_TENSORS.found(
                f"{file} holds {len(entries)} tensors.", file=file
            )
        )
        return Header(findings=tuple(findings))
    tensors: list[Tensor] = []
    spans: list[tuple[int, int, str]] = []
    for name, entry in entries.items():
        span = _span(entry)
        plain = name.isascii() and name.isprintable() and 0 < len(name) < 256  # noqa: PLR2004
        fault = "" if plain else _name_fault(name, policy)
        if span is None or fault:
            if len(findings) < _MAX_FAULTS:
                findings.append(_bad_entry(data, name, entry, file=file, fault=fault))
            continue
        begin, end, dtype, shape = span
        spans.append((begin, end, name))
        tensors.append(Tensor(name, dtype, shape, end - begin, file))
    if not findings:
        start = PREFIX_BYTES + len(data)
        findings += _layout_findings(spans, file=file, start=start, size=size)
    return Header(tensors=tuple(tensors), findings=tuple(findings))


def _bad_entry(data: bytes, name: str, entry: Any, *, file: str, fault: str) -> Finding:
    code = model_codes.TENSOR_NAME if fault else codes.HEADER_TENSOR
    return code.found(
        f"The tensor {shown(name)!r} of {file} {fault or _entry_fault(entry)}.",
        file=file,
        offset=_where(data, name),
    )
