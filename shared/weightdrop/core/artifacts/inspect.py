"""The inspection of an artifact set, from listing to report.

A generator: it yields batches of requests and is sent their answers, see
`exchange`. It runs no byte of what it reads and holds a bounded part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from weightdrop.core.artifacts import codes, hazards, model_codes, templates, tokenizer
from weightdrop.core.artifacts.code import ALL_CODES
from weightdrop.core.artifacts.conclude import Conclusion, Evidence, conclude
from weightdrop.core.artifacts.config import ModelConfig, read_config
from weightdrop.core.artifacts.exchange import Inspection, RenderTemplates
from weightdrop.core.artifacts.findings import Finding, Severity
from weightdrop.core.artifacts.layout import DOCUMENTS, Layout, listed, survey
from weightdrop.core.artifacts.objects import CONFIG_NAME, OPTIONS_NAME, ArtifactSet
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.artifacts.options_file import read_options
from weightdrop.core.artifacts.policy import Policy
from weightdrop.core.artifacts.reading import FirstLook, look
from weightdrop.core.artifacts.report import Reads, Report
from weightdrop.core.artifacts.shapes import KNOWN
from weightdrop.core.artifacts.shards import read_shards
from weightdrop.core.artifacts.weights import BIN, SAFETENSORS, WeightSet, choose
from weightdrop.core.catalogue.architectures import serves

_ORDER = (Severity.ERROR, Severity.MISSING, Severity.WARNING, Severity.NOTICE)
_MOST_OF_ONE_CODE = 20


def inspect(artifacts: ArtifactSet, policy: Policy) -> Inspection:
    """Inspect an artifact set.

    Args:
        artifacts: The pinned objects.
        policy: Limits and strictness.

    Yields:
        Batches of requests; send their answers, in order.

    Returns:
        The report, whose `reads` is the driver's to fill.
    """
    layout = survey(artifacts, policy)
    findings = list(layout.findings)
    if any(finding.code == codes.TOO_MANY_FILES.name for finding in findings):
        return _report(findings, FolderOptions(), Conclusion(None, ()))
    first = yield from look(layout, policy)
    options, wrong = FolderOptions(), list[Finding]()
    if first.options is not None:
        options, wrong = read_options(first.options)
    config, strange = _config(layout, first)
    weights = choose(layout, first.indexes, policy)
    tokens = tokenizer.choose(layout, config.architecture if config else "")
    found, odd = templates.collect(first.documents, first.templates, policy)
    shards, renderings = yield from read_shards(
        layout,
        first,
        weights=weights,
        render=RenderTemplates(found) if found else None,
        policy=policy,
    )
    findings += [*first.findings, *wrong, *strange, *weights.findings]
    findings += [*tokens.findings, *odd, *shards.findings]
    findings += templates.judge(found, renderings)
    conclusion = Conclusion(None, ())
    if config:
        seen = Evidence(layout, first.documents, weights, shards, found)
        conclusion = conclude(config, seen, policy)
        if not found and not tokens.missing:
            findings.append(
                model_codes.TEMPLATE_MISSING.found("There is no chat template.")
            )
    served = _served(layout, weights, tokens.files)
    findings += [*conclusion.findings, *_ignored(layout, weights)]
    missing = () if layout.has(CONFIG_NAME) else (CONFIG_NAME,)
    return _report(
        findings,
        options,
        conclusion,
        served=served,
        missing=(*missing, *weights.missing, *tokens.missing),
        ignored=tuple(path for path in layout.files if path not in set(served)),
    )


def _config(
    layout: Layout, first: FirstLook
) -> tuple[ModelConfig | None, list[Finding]]:
    """config.json, and what any JSON document asks for that it must not have."""
    findings: list[Finding] = []
    raw = first.documents.get(CONFIG_NAME)
    if not layout.has(CONFIG_NAME):
        hint = [path for path in layout.files if path.endswith(f"/{CONFIG_NAME}")]
        where = f" There is one in {listed(hint)}." if hint else ""
        findings.append(
            codes.CONFIG_MISSING.found(f"There is no {CONFIG_NAME} yet.{where}")
        )
    config = None
    if raw is not None:
        config = read_config(raw, known=KNOWN)
        findings += config.findings
    built_in = config is not None and serves(config.architecture)
    for path, document in sorted(first.documents.items()):
        if path in DOCUMENTS and path != OPTIONS_NAME:
            findings += hazards.findings(document, path, built_in=built_in)
    return config, findings


def _served(
    layout: Layout, weights: WeightSet, tokens: tuple[str, ...]
) -> tuple[str, ...]:
    """The files the server needs, of those that are there."""
    index = (weights.index.file,) if weights.index else ()
    others = (
        CONFIG_NAME,
        "generation_config.json",
        "preprocessor_config.json",
        "processor_config.json",
        "video_preprocessor_config.json",
        "chat_template.jinja",
        "chat_template.json",
        *layout.templates,
    )
    wanted = {*others, *weights.files, *index, *tokens}
    return tuple(sorted(path for path in wanted if layout.has(path)))


def _ignored(layout: Layout, weights: WeightSet) -> list[Finding]:
    """What is left alone, and why."""
    findings: list[Finding] = []
    copies = [*layout.copies, *layout.gguf, *layout.other_weights, *layout.adapters]
    if weights.kind == SAFETENSORS:
        copies += layout.bins
    if weights.kind == BIN and weights.files:
        findings.append(
            codes.BIN_WEIGHTS.found(f"The weights are {listed(weights.files)}.")
        )
    if copies and weights.kind:
        findings.append(codes.SECOND_COPY.found(f"Ignored: {listed(sorted(copies))}."))
    if layout.code:
        findings.append(codes.CODE_IGNORED.found(f"Never run: {listed(layout.code)}."))
    models = [path for path in layout.files if path.endswith(f"/{CONFIG_NAME}")]
    if models and layout.has(CONFIG_NAME):
        findings.append(
            codes.SUBFOLDER.found(f"There are further models: {listed(models)}.")
        )
    if layout.ignored:
        findings.append(
            codes.IGNORED_FILES.found(f"Ignored: {listed(layout.ignored)}.")
        )
    return findings


def _condensed(findings: list[Finding]) -> tuple[Finding, ...]:
    """In order of severity, each once, and no code more often than is readable."""
    counts: dict[str, int] = {}
    kept: list[Finding] = []
    ordered = sorted(findings, key=lambda finding: _ORDER.index(finding.severity))
    for finding in dict.fromkeys(ordered):
        counts[finding.code] = counts.get(finding.code, 0) + 1
        if counts[finding.code] <= _MOST_OF_ONE_CODE:
            kept.append(finding)
    return tuple(
        finding
        if counts[finding.code] <= _MOST_OF_ONE_CODE
        or finding is not _last(kept, finding)
        else _with_rest(finding, counts[finding.code] - _MOST_OF_ONE_CODE)
        for finding in kept
    )


def with_findings(report: Report, found: Iterable[Finding]) -> Report:
    """The report with further findings, in order of severity."""
    return replace(report, findings=_condensed([*report.findings, *found]))


def _last(kept: list[Finding], like: Finding) -> Finding:
    return [finding for finding in kept if finding.code == like.code][-1]


def _with_rest(finding: Finding, rest: int) -> Finding:
    code = ALL_CODES[finding.code]
    return code.found(
        f"{finding.detail} There are {rest} more of this kind.",
        file=finding.file,
        offset=finding.offset,
        fix=finding.fix,
    )


def _report(
    findings: list[Finding],
    options: FolderOptions,
    conclusion: Conclusion,
    *,
    served: tuple[str, ...] = (),
    missing: tuple[str, ...] = (),
    ignored: tuple[str, ...] = (),
) -> Report:
    return Report(
        findings=_condensed(findings),
        model=conclusion.facts,
        options=options,
        served_files=served,
        missing=missing,
        reads=Reads(),
        ignored=ignored,
    )
