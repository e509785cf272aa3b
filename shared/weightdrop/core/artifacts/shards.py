"""The second round of reads: the headers of the weight files that count."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from weightdrop.core.artifacts import codes
from weightdrop.core.artifacts.exchange import (
    Answer,
    Answers,
    Batch,
    ReadRange,
    Rendering,
    RenderTemplates,
)
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import Layout
from weightdrop.core.artifacts.model import Tensor
from weightdrop.core.artifacts.policy import Policy
from weightdrop.core.artifacts.reading import FirstLook
from weightdrop.core.artifacts.safetensors import (
    PREFIX_BYTES,
    header_length,
    parse_header,
)
from weightdrop.core.artifacts.torchfile import read_archives
from weightdrop.core.artifacts.weights import BIN, WeightSet


@dataclass(frozen=True, slots=True)
class Shards:
    """What the weight files hold.

    Attributes:
        tensors: All of them, in the order of the files.
        read: Files that were read in full and found good.
        findings: What is wrong with the others.
    """

    tensors: tuple[Tensor, ...] = ()
    read: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()


def _batches(reads: list[ReadRange], limit: int) -> Iterator[list[ReadRange]]:
    """Parts of `reads` of at most `limit` bytes each, or of one read."""
    batch: list[ReadRange] = []
    total = 0
    for read in reads:
        if batch and total + read.length > limit:
            yield batch
            batch, total = [], 0
        batch.append(read)
        total += read.length
    if batch:
        yield batch


def _headers(
    layout: Layout, first: FirstLook, weights: WeightSet, policy: Policy
) -> tuple[list[ReadRange], list[Finding]]:
    """Where the headers are, and which files cannot have one."""
    reads: list[ReadRange] = []
    findings: list[Finding] = []
    for path in weights.files:
        if path in first.unusable:
            continue
        length = header_length(
            first.starts.get(path, b""),
            file=path,
            size=layout.size(path),
            policy=policy,
        )
        if isinstance(length, Finding):
            findings.append(length)
        else:
            reads.append(ReadRange(path, PREFIX_BYTES, length))
    total = sum(read.length for read in reads)
    if total > policy.max_headers_bytes:
        findings.append(
            codes.TOO_MANY_TENSORS.found(
                f"The headers have {total} bytes together; at most "
                f"{policy.max_headers_bytes} are read."
            )
        )
        return [], findings
    return reads, findings


def _safetensors(
    layout: Layout, first: FirstLook, weights: WeightSet, policy: Policy
) -> Generator[Batch, Answers, Shards]:
    reads, findings = _headers(layout, first, weights, policy)
    tensors: list[Tensor] = []
    good: set[str] = set()
    for batch in _batches(reads, policy.batch_bytes):
        answers = yield tuple(batch)
        for read, data in zip(batch, answers, strict=True):
            header = _header(read, data, layout=layout, policy=policy)
            findings += header.findings
            tensors += header.tensors
            if not header.findings:
                good.add(read.path)
        if len(tensors) > policy.max_tensors:
            findings.append(
                codes.TOO_MANY_TENSORS.found(
                    f"The weight files hold more than {policy.max_tensors} tensors."
                )
            )
            return Shards(findings=tuple(findings))
    return Shards(tuple(tensors), frozenset(good), tuple(findings))


def _header(read: ReadRange, data: Answer, *, layout: Layout, policy: Policy) -> Shards:
    if not isinstance(data, bytes) or len(data) != read.length:
        # The listing gave the size, the store fewer bytes: not the same object.
        found = codes.SHARD_TRUNCATED.found(
            f"{read.path} ended while its header was read.", file=read.path
        )
        return Shards(findings=(found,))
    header = parse_header(
        data, file=read.path, size=layout.size(read.path), policy=policy
    )
    return Shards(tensors=header.tensors, findings=header.findings)


def _with_rendering(
    work: Generator[Batch, Answers, Shards], render: RenderTemplates | None
) -> Generator[Batch, Answers, tuple[Shards, tuple[Rendering, ...]]]:
    """Do `work`, and render while its first batch is under way."""
    renderer: Answers = ()
    answers: Answers | None = None
    pending: tuple[RenderTemplates, ...] = (render,) if render else ()
    while True:
        try:
            batch = next(work) if answers is None else work.send(answers)
        except StopIteration as stop:
            if pending:
                renderer = yield pending
            return stop.value, _rendered(renderer[-1]) if renderer else ()
        answers = yield (*batch, *pending)
        if pending:
            renderer, pending, answers = answers, (), answers[: len(batch)]


def _rendered(answer: Answer) -> tuple[Rendering, ...]:
    return answer if isinstance(answer, tuple) else ()


def read_shards(
    layout: Layout,
    first: FirstLook,
    *,
    weights: WeightSet,
    render: RenderTemplates | None,
    policy: Policy,
) -> Generator[Batch, Answers, tuple[Shards, tuple[Rendering, ...]]]:
    """Read the headers of the weight files, and render templates meanwhile."""
    if weights.kind == BIN:
        work = _archives(layout, first, weights, policy)
    else:
        work = _safetensors(layout, first, weights, policy)
    return (yield from _with_rendering(work, render))


def _archives(
    layout: Layout, first: FirstLook, weights: WeightSet, policy: Policy
) -> Generator[Batch, Answers, Shards]:
    sizes = {
        path: layout.size(path) for path in weights.files if path not in first.unusable
    }
    archives = yield from read_archives(sizes, first.tails, policy)
    return Shards(archives.tensors, archives.read, archives.findings)
