"""The first round of reads: every small file, and the start of every weight file."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from weightdrop.core.artifacts import codes, model_codes, tokenizer
from weightdrop.core.artifacts.documents import DocumentError, parse_object
from weightdrop.core.artifacts.exchange import Answers, Batch, ReadRange
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import (
    BIN_INDEX,
    DOCUMENTS,
    SAFETENSORS_INDEX,
    Layout,
)
from weightdrop.core.artifacts.objects import OPTIONS_NAME
from weightdrop.core.artifacts.policy import MIB, Policy
from weightdrop.core.artifacts.safetensors import PREFIX_BYTES
from weightdrop.core.artifacts.templates import JINJA_FILE
from weightdrop.core.artifacts.ziplist import TAIL_BYTES

POINTER_BYTES = 1024
"""A Git LFS pointer is 130 bytes; files up to this size are read whole."""
_POINTER = b"version https://git-lfs.github.com/spec/"
"""Of a weight file only the first word is read, which no header length can be."""
TOKENIZER_CONFIG_BYTES = 8 * MIB
"""Gemma's tokenizer_config.json has 1.2 MB."""
TOKENIZER_WHOLE_BYTES = 4 * MIB
_ALSO_POINTERS = ("tokenizer.model", "tekken.json", "vocab.json", "merges.txt")


@dataclass(frozen=True, slots=True)
class FirstLook:
    """What the first round of reads brought.

    Attributes:
        documents: Parsed JSON files by path; an object each.
        indexes: Bytes of index files by path.
        templates: Bytes of template files by path.
        options: Bytes of weightdrop.json, if it is there.
        starts: First bytes of safetensors files by path.
        tails: Last bytes of PyTorch archives by path.
        unusable: Files that are pointers or empty.
        findings: What was wrong.
    """

    documents: dict[str, Any] = field(default_factory=dict)
    indexes: dict[str, bytes] = field(default_factory=dict)
    templates: dict[str, bytes] = field(default_factory=dict)
    options: bytes | None = None
    starts: dict[str, bytes] = field(default_factory=dict)
    tails: dict[str, bytes] = field(default_factory=dict)
    unusable: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()


def _limit(path: str, policy: Policy) -> int:
    if path in (SAFETENSORS_INDEX, BIN_INDEX):
        return policy.max_index_bytes
    if path == "tokenizer_config.json":
        return TOKENIZER_CONFIG_BYTES
    return policy.max_document_bytes


def _document_reads(
    layout: Layout, policy: Policy
) -> tuple[list[ReadRange], list[Finding]]:
    reads: list[ReadRange] = []
    findings: list[Finding] = []
    for path in (*DOCUMENTS, SAFETENSORS_INDEX, BIN_INDEX):
        if not layout.has(path):
            continue
        size, limit = layout.size(path), _limit(path, policy)
        if size > limit:
            findings.append(
                codes.DOCUMENT_TOO_LARGE.found(
                    f"{path} has {size} bytes; at most {limit} are read.", file=path
                )
            )
        elif path != BIN_INDEX or not layout.has(SAFETENSORS_INDEX):
            reads.append(ReadRange(path, 0, size))
    for path in (JINJA_FILE, *layout.templates):
        if layout.has(path) and path.endswith(".jinja"):
            size = min(layout.size(path), policy.max_template_bytes + 1)
            reads.append(ReadRange(path, 0, size))
    return reads, findings


def _tokenizer_reads(
    layout: Layout, policy: Policy
) -> tuple[list[ReadRange], list[Finding]]:
    path = "tokenizer.json"
    small = [
        ReadRange(other, 0, layout.size(other))
        for other in _ALSO_POINTERS
        if layout.has(other) and layout.size(other) <= POINTER_BYTES
    ]
    if not layout.has(path):
        return small, []
    size = layout.size(path)
    if size > policy.max_tokenizer_bytes:
        found = codes.DOCUMENT_TOO_LARGE.found(
            f"{path} has {size} bytes; at most {policy.max_tokenizer_bytes} are "
            "accepted.",
            file=path,
        )
        return small, [found]
    if size <= TOKENIZER_WHOLE_BYTES:
        return [*small, ReadRange(path, 0, size)], []
    tail = tokenizer.TAIL_BYTES
    return [
        *small,
        ReadRange(path, 0, tokenizer.HEAD_BYTES),
        ReadRange(path, size - tail, tail),
    ], []


def _weight_reads(layout: Layout, policy: Policy) -> list[ReadRange]:
    if layout.safetensors or layout.has(SAFETENSORS_INDEX):
        return [
            ReadRange(path, 0, min(layout.size(path), PREFIX_BYTES))
            for path in layout.safetensors[: policy.max_shards]
        ]
    return [
        ReadRange(path, 0, size)
        if size <= POINTER_BYTES
        else ReadRange(path, size - TAIL_BYTES, TAIL_BYTES)
        for path in layout.bins[: policy.max_shards]
        if (size := layout.size(path))
    ]


def _is_needed(path: str, layout: Layout) -> bool:
    return path in (*DOCUMENTS, *layout.safetensors, SAFETENSORS_INDEX) or (
        path in (*_ALSO_POINTERS, "tokenizer.json", JINJA_FILE)
        or (not layout.safetensors and path in (*layout.bins, BIN_INDEX))
    )


def _pointers(answers: list[tuple[ReadRange, bytes]], layout: Layout) -> list[Finding]:
    return [
        codes.LFS_POINTER.found(
            f"{read.path} is a Git LFS pointer of {layout.size(read.path)} bytes, not "
            "the file.",
            file=read.path,
        )
        for read, data in answers
        if read.start == 0
        and len(data) >= PREFIX_BYTES
        and data.startswith(_POINTER[: len(data)])
        and layout.size(read.path) <= POINTER_BYTES
    ]


def look(layout: Layout, policy: Policy) -> Generator[Batch, Answers, FirstLook]:
    """Read what is small, and enough of what is large to know where to go on."""
    documents, findings = _document_reads(layout, policy)
    tokenizers, too_large = _tokenizer_reads(layout, policy)
    weights = _weight_reads(layout, policy)
    reads = [read for read in (*documents, *tokenizers, *weights) if read.length]
    answers = yield tuple(reads)
    got = [
        (read, data)
        for read, data in zip(reads, answers, strict=True)
        if isinstance(data, bytes)
    ]
    pointers = _pointers(got, layout)
    empty = [path for path in layout.files
             if not layout.size(path) and _is_needed(path, layout)]  # fmt: skip
    findings += [*too_large, *pointers]
    findings += [
        codes.EMPTY_FILE.found(f"{path} has no bytes.", file=path) for path in empty
    ]
    unusable = frozenset({finding.file for finding in pointers} | set(empty))
    return _sort(
        [(read, data) for read, data in got if read.path not in unusable],
        layout=layout,
        unusable=unusable,
        findings=findings,
    )


def _sort(
    got: list[tuple[ReadRange, bytes]],
    *,
    layout: Layout,
    unusable: frozenset[str],
    findings: list[Finding],
) -> FirstLook:
    first = FirstLook(unusable=unusable)
    options: bytes | None = None
    halves: dict[str, list[bytes]] = {}
    for read, data in got:
        path = read.path
        if path in (SAFETENSORS_INDEX, BIN_INDEX):
            first.indexes[path] = data
        elif path == OPTIONS_NAME:
            options = data
        elif path in layout.safetensors:
            first.starts[path] = data
        elif path in layout.bins:
            first.tails[path] = data
        elif path == "tokenizer.json":
            halves.setdefault(path, []).append(data)
        elif path.endswith(".jinja"):
            first.templates[path] = data
        elif path in DOCUMENTS:
            findings += _parse(data, path, first.documents)
    findings += _tokenizer(halves.get("tokenizer.json", []), first.documents)
    return FirstLook(
        documents=first.documents,
        indexes=first.indexes,
        templates=first.templates,
        options=options,
        starts=first.starts,
        tails=first.tails,
        unusable=unusable,
        findings=tuple(findings),
    )


def _parse(data: bytes, path: str, documents: dict[str, Any]) -> list[Finding]:
    try:
        documents[path] = parse_object(data)
    except DocumentError as error:
        code = (
            model_codes.TOKENIZER_INVALID
            if path.startswith("tokenizer")
            else codes.DOCUMENT_INVALID
        )
        return [
            code.found(
                f"{path} cannot be read: {error}.", file=path, offset=error.offset
            )
        ]
    return []


def _tokenizer(parts: list[bytes], documents: dict[str, Any]) -> list[Finding]:
    if len(parts) == 1:
        return _parse(parts[0], "tokenizer.json", documents)
    if not parts:
        return []
    documents["tokenizer.json"] = tokenizer.head_of(parts[0])
    return tokenizer.ends_findings(parts[0], parts[1])
