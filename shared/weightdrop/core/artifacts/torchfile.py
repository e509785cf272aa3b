"""PyTorch archives, read by range and never unpickled."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from math import prod

from weightdrop.core.artifacts import codes
from weightdrop.core.artifacts.exchange import Answers, Batch, ReadRange
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import shown
from weightdrop.core.artifacts.model import Tensor
from weightdrop.core.artifacts.pickles import PickleError, View, walk
from weightdrop.core.artifacts.policy import Policy
from weightdrop.core.artifacts.safetensors import BITS, MAX_RANK
from weightdrop.core.artifacts.ziplist import (
    Directory,
    Record,
    ZipError,
    content,
    find_directory,
    read_directory,
)

_PLAIN = ("version", "byteorder", ".format_version", ".storage_alignment",
          ".data/serialization_id")  # fmt: skip
"""Records torch.save writes beside the pickle and the tensors."""
_MARGIN = 66_000
"""A local header with the largest extra field, and a data descriptor."""


@dataclass(frozen=True, slots=True)
class Archives:
    """What the archives hold; as for safetensors."""

    tensors: tuple[Tensor, ...] = ()
    read: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Contents:
    """Where in one archive things are.

    Attributes:
        pickle: The record that describes the tensors.
        data: Bytes of each storage by its key.
    """

    pickle: Record
    data: dict[str, int]


def _contents(records: list[Record], policy: Policy) -> _Contents:
    roots = {record.name.partition("/")[0] for record in records}
    if len(roots) != 1:
        raise ZipError("its records do not lie in one folder")
    pickle: Record | None = None
    data: dict[str, int] = {}
    for record in records:
        name = record.name.partition("/")[2]
        if name == "data.pkl":
            pickle = record
        elif name.startswith("data/") and "/" not in name[5:] and name[5:]:
            data[name[5:]] = record.size
        elif name not in _PLAIN:
            raise ZipError(f"it holds {shown(record.name, 60)}, which is no tensor")
    if pickle is None:
        raise ZipError("it holds no data.pkl")
    if pickle.end - pickle.start > policy.max_pickle_bytes + _MARGIN:
        raise ZipError(f"its data.pkl has {pickle.size} bytes")
    return _Contents(pickle, data)


def _view_fault(view: View, data: Mapping[str, int]) -> str:
    storage = view.storage
    size = data.get(storage.key)
    if size is None:
        return "has no bytes in the archive"
    if size * 8 != storage.count * BITS[storage.dtype]:
        return (
            f"needs {storage.count} values of {storage.dtype}, but {size} bytes are "
            "stored"
        )
    if len(view.shape) > MAX_RANK:
        return "has too many dimensions"
    if 0 in view.shape:
        return ""
    last = view.start + sum(
        (dim - 1) * stride for dim, stride in zip(view.shape, view.strides, strict=True)
    )
    # A stride of 0 would make a few bytes look like any number of values.
    if last >= storage.count or prod(view.shape) > storage.count:
        return "reaches beyond its bytes"
    return ""


def _tensors(
    views: dict[str, View], contents: _Contents, file: str
) -> tuple[list[Tensor], list[Finding]]:
    tensors: list[Tensor] = []
    findings: list[Finding] = []
    for name, view in views.items():
        fault = _view_fault(view, contents.data)
        if fault or not name.isprintable() or not 0 < len(name) < MAX_NAME:
            findings.append(
                codes.BIN_TENSOR.found(
                    f"The tensor {shown(name)!r} of {file} "
                    f"{fault or 'has a name that cannot be shown'}.",
                    file=file,
                )
            )
            continue
        dtype = view.storage.dtype
        size = prod(view.shape) * BITS[dtype] // 8
        tensors.append(Tensor(name, dtype, view.shape, size, file))
    unused = set(contents.data) - {view.storage.key for view in views.values()}
    if unused:
        findings.append(
            codes.BIN_FORMAT.found(
                f"{file} holds {len(unused)} records that belong to no tensor.",
                file=file,
            )
        )
    return tensors, findings[:MAX_FAULTS]


MAX_NAME = 1024
MAX_FAULTS = 10


def _bad_zip(file: str, error: ZipError) -> Finding:
    return codes.BIN_FORMAT.found(
        f"{file} is no PyTorch archive: {error}.", file=file, offset=error.offset
    )


def read_archives(
    sizes: Mapping[str, int], tails: Mapping[str, bytes], policy: Policy
) -> Generator[Batch, Answers, Archives]:
    """Read the tensor tables of archives.

    Args:
        sizes: Bytes of each file, by path.
        tails: Last bytes of each file, by path.
        policy: Limits.
    """
    directories, findings = _directories(sizes, tails, policy)
    contents, wrong = yield from _read_directories(
        directories, sizes=sizes, tails=tails, policy=policy
    )
    findings += wrong
    tensors: list[Tensor] = []
    good: set[str] = set()
    budget = policy.max_opcodes
    for group in _groups(contents, policy.batch_bytes):
        answers = yield tuple(
            ReadRange(path, record.start, record.end - record.start)
            for path, record in group
        )
        for (path, record), data in zip(group, answers, strict=True):
            found, wrong, taken = _open(
                data if isinstance(data, bytes) else b"",
                path,
                record=record,
                contents=contents[path],
                budget=budget,
            )
            budget -= taken
            tensors += found
            findings += wrong
            if not wrong:
                good.add(path)
    return Archives(tuple(tensors), frozenset(good), tuple(findings))


def _directories(
    sizes: Mapping[str, int], tails: Mapping[str, bytes], policy: Policy
) -> tuple[dict[str, Directory], list[Finding]]:
    directories: dict[str, Directory] = {}
    findings: list[Finding] = []
    for path, size in sizes.items():
        try:
            directories[path] = find_directory(
                tails.get(path, b""), size, most=policy.max_pickle_bytes
            )
        except ZipError as error:
            findings.append(_bad_zip(path, error))
    return directories, findings


def _read_directories(
    directories: Mapping[str, Directory],
    *,
    sizes: Mapping[str, int],
    tails: Mapping[str, bytes],
    policy: Policy,
) -> Generator[Batch, Answers, tuple[dict[str, _Contents], list[Finding]]]:
    """The tables of contents; what the tails do not hold is read."""
    reads = []
    for path, directory in directories.items():
        tail_start = sizes[path] - len(tails[path])
        if directory.start < tail_start:
            length = min(directory.size, tail_start - directory.start)
            reads.append(ReadRange(path, directory.start, length))
    answers = (yield tuple(reads)) if reads else ()
    fronts = {
        read.path: data
        for read, data in zip(reads, answers, strict=True)
        if isinstance(data, bytes)
    }
    contents: dict[str, _Contents] = {}
    findings: list[Finding] = []
    for path, directory in directories.items():
        tail = tails[path]
        tail_start = sizes[path] - len(tail)
        whole = fronts.get(path, b"") + tail[max(0, directory.start - tail_start) :]
        try:
            records = read_directory(whole[: directory.size], directory)
            contents[path] = _contents(records, policy)
        except ZipError as error:
            findings.append(_bad_zip(path, error))
    return contents, findings


def _groups(
    contents: Mapping[str, _Contents], limit: int
) -> list[list[tuple[str, Record]]]:
    groups: list[list[tuple[str, Record]]] = []
    total = limit + 1
    for path, content_ in contents.items():
        length = content_.pickle.end - content_.pickle.start
        if total + length > limit:
            groups.append([])
            total = 0
        groups[-1].append((path, content_.pickle))
        total += length
    return groups


def _open(
    data: bytes, path: str, *, record: Record, contents: _Contents, budget: int
) -> tuple[list[Tensor], list[Finding], int]:
    """(tensors, findings, opcodes taken) of one archive."""
    offset = record.start
    try:
        pickle, offset = content(data, record)
        views, taken = walk(pickle, budget=budget)
    except ZipError as error:
        return [], [_bad_zip(path, error)], 0
    except PickleError as error:
        found = codes.BIN_PICKLE.found(
            f"The pickle in {path} does not just describe tensors: {error}.",
            file=path,
            offset=offset + error.offset,
        )
        return [], [found], min(budget, error.offset)
    tensors, findings = _tensors(views, contents, path)
    return tensors, findings, taken
