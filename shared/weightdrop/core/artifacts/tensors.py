"""The tensors that are there against those the config calls for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from weightdrop.core.artifacts import codes, model_codes
from weightdrop.core.artifacts.config import ModelConfig
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import listed, shown
from weightdrop.core.artifacts.model import Tensor
from weightdrop.core.artifacts.shapes import Expected, expected_tensors, is_sane
from weightdrop.core.artifacts.weights import Index

_SHOWN = 5
_EMBEDDINGS = (
    "model.embed_tokens.weight",
    "language_model.model.embed_tokens.weight",
    "model.language_model.embed_tokens.weight",
    "transformer.wte.weight",
    "gpt_neox.embed_in.weight",
    "model.embed_in.weight",
)


@dataclass(frozen=True, slots=True)
class Table:
    """All tensors of the model by name.

    Attributes:
        tensors: By name; of a name that is there twice, the first.
        findings: Names that are there twice.
    """

    tensors: dict[str, Tensor]
    findings: tuple[Finding, ...]


def tabulate(tensors: Iterable[Tensor]) -> Table:
    """The tensors by name, and which lie in two files."""
    table: dict[str, Tensor] = {}
    twice: list[tuple[Tensor, Tensor]] = []
    for tensor in tensors:
        first = table.setdefault(tensor.name, tensor)
        if first is not tensor:
            twice.append((first, tensor))
    findings = [
        codes.TENSOR_TWICE.found(
            f"{shown(again.name)} is in {first.file} and in {again.file}.",
            file=again.file,
        )
        for first, again in twice[:_SHOWN]
    ]
    if len(twice) > _SHOWN:
        findings.append(
            codes.TENSOR_TWICE.found(
                f"{len(twice) - _SHOWN} more tensors are in two files each.",
                file=twice[_SHOWN][1].file,
            )
        )
    return Table(table, tuple(findings))


def index_findings(
    index: Index, table: dict[str, Tensor], read: frozenset[str]
) -> list[Finding]:
    """The index against the headers, both ways.

    Args:
        index: What the index says.
        table: The tensors that are there.
        read: Weight files whose headers were read in full.
    """
    absent, elsewhere = [], []
    for name, file in index.weight_map.items():
        if file not in read:
            continue
        tensor = table.get(name)
        if tensor is None:
            absent.append((name, file))
        elif tensor.file != file:
            elsewhere.append((name, file, tensor.file))
    unlisted = list(table.keys() - index.weight_map.keys())
    unlisted.sort()
    findings = []
    if absent:
        names = [f"{name} in {file}" for name, file in absent]
        findings.append(
            codes.INDEX_TENSOR_ABSENT.found(
                f"{index.file} names {len(absent)} tensors that are not there: "
                f"{listed(names)}.",
                file=absent[0][1],
            )
        )
    if elsewhere:
        names = [
            f"{name} (in {actual}, not {file})" for name, file, actual in elsewhere
        ]
        findings.append(
            codes.INDEX_TENSOR_ELSEWHERE.found(
                f"{len(elsewhere)} tensors lie elsewhere than {index.file} says: "
                f"{listed(names)}.",
                file=elsewhere[0][2],
            )
        )
    if unlisted:
        findings.append(
            codes.INDEX_TENSOR_UNLISTED.found(
                f"{index.file} does not name {len(unlisted)} tensors that the weight "
                f"files hold: {listed(unlisted)}.",
                file=table[unlisted[0]].file,
            )
        )
    return findings


def total_size_findings(index: Index, total: int) -> list[Finding]:
    """metadata.total_size against the bytes of all tensors."""
    if index.total_size is None or index.total_size == total:
        return []
    return [
        codes.INDEX_TOTAL_SIZE.found(
            f"metadata.total_size is {index.total_size}; the tensors have {total} "
            "bytes.",
            file=index.file,
        )
    ]


def shape_findings(
    config: ModelConfig, table: dict[str, Tensor], *, complete: bool
) -> list[Finding]:
    """Names and shapes against what the architecture calls for.

    Args:
        config: The model's config.
        table: The tensors that are there.
        complete: Whether all weight files have been read, so that a tensor
            that is not there is missing.
    """
    if config.usable and not is_sane(config):
        return [
            model_codes.CONFIG_INVALID.found(
                f"{config.layers} layers with {config.experts} experts each are more "
                "than any model has.",
                file="config.json",
            )
        ]
    if not table:
        return []
    expected = expected_tensors(config)
    if expected is None:
        return _embedding_findings(config, table)
    seen: set[str] = set()
    wrong: list[tuple[Tensor, tuple[int, ...]]] = []
    unexpected: list[Tensor] = []
    extra: list[str] = []
    for tensor in table.values():
        name = tensor.name
        shape = expected.required.get(name)
        if shape is None:
            name = expected.canonical(name)
            shape = expected.required.get(name) or expected.optional.get(name)
        if shape is not None:
            seen.add(name)
            if tensor.shape != shape:
                wrong.append((tensor, shape))
        elif expected.skips(name):
            extra.append(tensor.name)
        else:
            unexpected.append(tensor)
    missing = [name for name in expected.required if name not in seen]
    return [
        *_wrong(wrong),
        *(_missing(missing, expected) if complete else ()),
        *_unexpected(unexpected, config),
        *_extra(extra),
    ]


def _wrong(wrong: list[tuple[Tensor, tuple[int, ...]]]) -> list[Finding]:
    findings = [
        model_codes.TENSOR_SHAPE.found(
            f"{shown(tensor.name)} has shape {list(tensor.shape)}; config.json calls "
            f"for {list(shape)}.",
            file=tensor.file,
        )
        for tensor, shape in wrong[:_SHOWN]
    ]
    if len(wrong) > _SHOWN:
        findings.append(
            model_codes.TENSOR_SHAPE.found(
                f"{len(wrong) - _SHOWN} more tensors have other shapes than "
                "config.json calls for.",
                file=wrong[_SHOWN][0].file,
            )
        )
    return findings


def _missing(missing: list[str], expected: Expected) -> list[Finding]:
    if not missing:
        return []
    return [
        model_codes.TENSOR_MISSING.found(
            f"{len(missing)} of {len(expected.required)} tensors are not there: "
            f"{listed(missing)}."
        )
    ]


def _unexpected(unexpected: list[Tensor], config: ModelConfig) -> list[Finding]:
    if not unexpected:
        return []
    names = [tensor.name for tensor in unexpected]
    return [
        model_codes.TENSOR_UNEXPECTED.found(
            f"{config.architecture} has no place for {len(names)} tensors: "
            f"{listed(names)}.",
            file=unexpected[0].file,
        )
    ]


def _extra(extra: list[str]) -> list[Finding]:
    if not extra:
        return []
    return [
        model_codes.TENSOR_EXTRA.found(
            f"{len(extra)} tensors are stored but not used: {listed(extra)}."
        )
    ]


def _embedding_findings(config: ModelConfig, table: dict[str, Tensor]) -> list[Finding]:
    """For an architecture not known in detail: the embedding alone."""
    if not config.usable:
        return []
    for name in _EMBEDDINGS:
        tensor = table.get(name)
        if tensor is None:
            continue
        wanted = (config.vocab_size, config.hidden_size)
        rows = tensor.shape[0] if tensor.shape else 0
        if (
            len(tensor.shape) != len(wanted)
            or tensor.shape[1] != wanted[1]
            or (rows < wanted[0])
        ):
            return _wrong([(tensor, wanted)])
    return []


def embedding_rows(config: ModelConfig, table: dict[str, Tensor]) -> int:
    """Rows of the embedding that is stored; the config's where none is found."""
    for name in _EMBEDDINGS:
        if name in table and table[name].shape:
            return table[name].shape[0]
    return config.vocab_size
