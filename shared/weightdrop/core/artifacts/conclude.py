"""From config, tensors and templates to what the model is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weightdrop.core.artifacts import (
    model_codes,
    parsers,
    quantization,
    tensors,
    tokenizer,
)
from weightdrop.core.artifacts.config import ModelConfig
from weightdrop.core.artifacts.exchange import Template
from weightdrop.core.artifacts.facts import (
    computing_dtype,
    declared_dtype,
    facts_of,
    match_of,
)
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import Layout
from weightdrop.core.artifacts.model import ModelFacts, Tensor
from weightdrop.core.artifacts.policy import Policy
from weightdrop.core.artifacts.shards import Shards
from weightdrop.core.artifacts.templates import evidence
from weightdrop.core.artifacts.weights import WeightSet
from weightdrop.core.catalogue.architectures import NOT_TEXT, serves
from weightdrop.core.catalogue.base_models import Match

_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known when no more is to be read.

    Attributes:
        layout: The drop's files.
        documents: Parsed JSON files by path.
        weights: Which weight files count.
        shards: What they hold.
        templates: The chat templates.
    """

    layout: Layout
    documents: Mapping[str, Any]
    weights: WeightSet
    shards: Shards
    templates: tuple[Template, ...]

    @property
    def complete(self) -> bool:
        """Whether every weight file has been read and found good."""
        weights = self.weights
        sound = weights.index is None or not weights.index.findings
        return (
            bool(weights.files)
            and not weights.missing
            and sound
            and set(weights.files) == self.shards.read
        )


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the model is, and what is wrong with it."""

    facts: ModelFacts | None
    findings: tuple[Finding, ...]


def conclude(config: ModelConfig, seen: Evidence, policy: Policy) -> Conclusion:
    """What the model is.

    Args:
        config: Its config, whose own findings are known already.
        seen: What was read.
        policy: Strictness.
    """
    table = tensors.tabulate(seen.shards.tensors)
    findings = [*table.findings, *_architecture(config)]
    findings += _index(seen, table.tensors)
    quant_file = seen.documents.get("hf_quant_config.json")
    said = quantization.declared(config.raw, quant_file, config.architecture)
    stored = quantization.stored(table.tensors.values())
    quantized = quantization.declared_findings(said)
    if (seen.complete and not quantized) or (stored.method and not said.method):
        quantized = quantization.stored_findings(said, stored, config.architecture)
    findings += quantized
    if not quantized and serves(config.architecture):
        findings += tensors.shape_findings(
            config, table.tensors, complete=seen.complete
        )
    named, wrong = declared_dtype(config)
    dtype, remarks = computing_dtype(named, stored.dtype, complete=seen.complete)
    findings += [*wrong, *remarks]
    findings += _tokenizer(config, seen, table.tensors)
    findings += _processor(config, seen.layout)
    match = match_of(config, evidence(seen.templates)) if config.usable else Match()
    findings += _catalogue(config, match, policy)
    tokens = parsers.added_tokens(seen.documents)
    facts = (
        facts_of(
            config,
            tuple(table.tensors.values()),
            match=match,
            dtype=dtype,
            said=said,
            parsers=parsers.choose(config.architecture, seen.templates, tokens),
        )
        if config.usable
        else None
    )
    return Conclusion(facts, tuple(findings))


def _architecture(config: ModelConfig) -> list[Finding]:
    name = config.architecture
    if not name or serves(name):
        return []
    why = (
        "turns speech or images into something else than chat"
        if name in NOT_TEXT
        else "is not in the engine's registry"
    )
    return [
        model_codes.ARCHITECTURE_UNSUPPORTED.found(
            f"{name[:100]} {why}.", file="config.json"
        )
    ]


def _index(seen: Evidence, table: dict[str, Tensor]) -> list[Finding]:
    index = seen.weights.index
    if index is None or not index.weight_map:
        return []
    findings = tensors.index_findings(index, table, seen.shards.read)
    if seen.complete:
        total = sum(tensor.nbytes for tensor in table.values())
        findings += tensors.total_size_findings(index, total)
    return findings


def _tokenizer(
    config: ModelConfig, seen: Evidence, table: dict[str, Tensor]
) -> list[Finding]:
    document = seen.documents.get("tokenizer_config.json")
    findings = tokenizer.class_findings(document) if document else []
    rows = tensors.embedding_rows(config, table)
    return findings + tokenizer.vocabulary_findings(seen.documents, rows)


def _processor(config: ModelConfig, layout: Layout) -> list[Finding]:
    if not config.multimodal or any(layout.has(path) for path in _PROCESSORS):
        return []
    return [
        model_codes.PROCESSOR_MISSING.found(
            f"{config.architecture} reads images, but there is no "
            "preprocessor_config.json."
        )
    ]


def _catalogue(config: ModelConfig, match: Match, policy: Policy) -> list[Finding]:
    if not config.architecture or not serves(config.architecture):
        return []
    if not match.name:
        code = (
            model_codes.MODEL_UNLISTED
            if policy.strict
            else model_codes.ARCHITECTURE_UNLISTED
        )
        return [
            code.found(
                f"{config.architecture} with these dimensions is none of the listed "
                "base models.",
                file="config.json",
            )
        ]
    if not match.alike:
        return []
    return [
        model_codes.BASE_MODEL_ALIKE.found(
            f"Named {match.name}; the dimensions are also those of "
            f"{' and '.join(match.alike)}.",
            file="config.json",
        )
    ]
