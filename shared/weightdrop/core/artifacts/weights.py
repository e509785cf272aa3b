"""Which weight files are the model: decided by the index, never by names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from weightdrop.core.artifacts import codes
from weightdrop.core.artifacts.documents import (
    DocumentError,
    parse_object,
    well_formed,
)
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import (
    BIN_INDEX,
    SAFETENSORS_INDEX,
    Layout,
    listed,
    name_fault,
    shown,
)
from weightdrop.core.artifacts.policy import Policy

SAFETENSORS = "safetensors"
BIN = "bin"
_PART = re.compile(r".*-(\d+)-of-(\d+)\.\w+")


@dataclass(frozen=True, slots=True)
class Index:
    """What an index file says.

    Attributes:
        file: Its path.
        weight_map: File by tensor name.
        total_size: The bytes it claims; None if it does not say.
        findings: What is wrong with it.
    """

    file: str
    weight_map: dict[str, str] = field(default_factory=dict)
    total_size: int | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The weight files it names, each once, sorted."""
        return tuple(sorted(set(self.weight_map.values())))


@dataclass(frozen=True, slots=True)
class WeightSet:
    """The weight files of the model.

    Attributes:
        kind: SAFETENSORS, BIN, or empty if there is no telling yet.
        files: Those that are there.
        missing: Those that are still to come.
        ignored: Weight files that are no part of it.
        index: The index it follows, if there is one.
        findings: What was noticed on the way.
    """

    kind: str = ""
    files: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    index: Index | None = None
    findings: tuple[Finding, ...] = ()


def _entry_fault(name: str, target: Any, suffix: str) -> str:
    if not well_formed(name):
        return f"holds a tensor name that is not text ({shown(name)!r})"
    if not isinstance(target, str) or not well_formed(target):
        return f"gives {shown(name)} no file name"
    if "/" in target or name_fault(target):
        return f"looks for {shown(name)} in {shown(target)!r}, outside the folder"
    if not target.endswith(suffix):
        return f"looks for {shown(name)} in {shown(target)!r}, no {suffix} file"
    return ""


def parse_index(data: bytes, file: str) -> Index:
    """Read an index file; what is wrong with it is among its findings."""
    try:
        document = parse_object(data)
    except DocumentError as error:
        found = codes.INDEX_INVALID.found(
            f"{file} cannot be read: {error}.", file=file, offset=error.offset
        )
        return Index(file, findings=(found,))
    mapping = document.get("weight_map")
    if not isinstance(mapping, dict):
        found = codes.INDEX_INVALID.found(f"{file} has no weight_map.", file=file)
        return Index(file, findings=(found,))
    if not mapping:
        found = codes.INDEX_EMPTY.found(
            f"The weight_map of {file} is empty: it names no tensor.", file=file
        )
        return Index(file, findings=(found,))
    suffix = ".bin" if file == BIN_INDEX else ".safetensors"
    checked: dict[str, str] = {}
    good: dict[str, str] = {}
    faults: list[str] = []
    for name, target in mapping.items():
        # A target that passed once passes again; most tensors share theirs.
        if isinstance(target, str) and target in checked and name.isascii():
            good[name] = checked[target]
            continue
        fault = _entry_fault(name, target, suffix)
        if fault:
            faults.append(fault)
        else:
            good[name] = checked[target] = target
    return Index(
        file=file,
        weight_map=good,
        total_size=_total_size(document),
        findings=tuple(
            codes.INDEX_PATH.found(f"{file} {fault}.", file=file)
            for fault in faults[:20]
        ),
    )


def _total_size(document: dict[str, Any]) -> int | None:
    metadata = document.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(total, float) and total.is_integer():
        total = int(total)  # written by JavaScript tools as 1.6e10
    return total if isinstance(total, int) and not isinstance(total, bool) else None


def _with_index(
    layout: Layout, index: Index, *, kind: str, policy: Policy
) -> WeightSet:
    present = layout.safetensors if kind == SAFETENSORS else layout.bins
    wanted = index.files
    findings = list(index.findings)
    if len(wanted) > policy.max_shards:
        findings.append(
            codes.TOO_MANY_SHARDS.found(
                f"{index.file} names {len(wanted)} weight files; at most "
                f"{policy.max_shards} are read.",
                file=index.file,
            )
        )
        wanted = ()
    missing = tuple(path for path in wanted if not layout.has(path))
    named = set(index.weight_map.values())
    stray = tuple(path for path in present if path not in named)
    if missing:
        findings.append(
            codes.WEIGHTS_MISSING.found(
                f"{len(missing)} of the {len(wanted)} weight files that {index.file} "
                f"names have not arrived: {listed(missing, 20)}.",
                fix=f"Upload {listed(missing)}.",
            )
        )
    if stray and index.weight_map:
        findings.append(
            codes.STRAY_WEIGHTS.found(
                f"{index.file} does not name {listed(stray)}; the model is served "
                "without.",
                file=stray[0],
            )
        )
    return WeightSet(
        kind=kind,
        files=tuple(path for path in wanted if layout.has(path)),
        missing=missing,
        ignored=stray,
        index=index,
        findings=tuple(findings),
    )


def _without_index(layout: Layout, kind: str, policy: Policy) -> WeightSet:
    present = layout.safetensors if kind == SAFETENSORS else layout.bins
    index = SAFETENSORS_INDEX if kind == SAFETENSORS else BIN_INDEX
    if len(present) > policy.max_shards:
        found = codes.TOO_MANY_SHARDS.found(
            f"There are {len(present)} weight files; at most {policy.max_shards} "
            "are read."
        )
        return WeightSet(kind=kind, findings=(found,))
    plain = "model.safetensors" if kind == SAFETENSORS else "pytorch_model.bin"
    part = _PART.fullmatch(present[0])
    whole = part is None or int(part.group(2)[:9]) == 1
    if len(present) == 1 and (present[0] == plain or whole):
        return WeightSet(kind=kind, files=present)
    found = codes.INDEX_MISSING.found(
        f"There are weight files ({listed(present)}), but no {index} that says "
        "which belong to the model.",
        fix=f"Upload {index}.",
    )
    return WeightSet(kind=kind, files=present, missing=(index,), findings=(found,))


def _none(layout: Layout) -> WeightSet:
    if layout.gguf:
        found = codes.WEIGHTS_GGUF.found(
            f"The only weights are GGUF: {listed(layout.gguf)}.", file=layout.gguf[0]
        )
        return WeightSet(findings=(found,))
    if layout.other_weights:
        found = codes.WEIGHTS_FORMAT.found(
            f"The only weights are {listed(layout.other_weights)}.",
            file=layout.other_weights[0],
        )
        return WeightSet(findings=(found,))
    if layout.adapters:
        found = codes.ADAPTER_ONLY.found(
            f"There is an adapter ({listed(layout.adapters)}), but no model.",
            file=layout.adapters[0],
        )
        return WeightSet(findings=(found,))
    found = codes.WEIGHTS_MISSING.found(
        f"There are no weights yet: neither model.safetensors nor {SAFETENSORS_INDEX} "
        "with the files it names.",
        fix="Upload the weights.",
    )
    return WeightSet(missing=("model.safetensors",), findings=(found,))


def choose(layout: Layout, indexes: dict[str, bytes], policy: Policy) -> WeightSet:
    """Decide which weight files are the model.

    Args:
        layout: The drop's files.
        indexes: The bytes of the index files that are there, by path.
        policy: Limits.
    """
    for kind, file, present in (
        (SAFETENSORS, SAFETENSORS_INDEX, layout.safetensors),
        (BIN, BIN_INDEX, layout.bins),
    ):
        if file in indexes:
            return _with_index(
                layout, parse_index(indexes[file], file), kind=kind, policy=policy
            )
        if layout.has(file):
            # It could not be read, which is a finding already.
            return WeightSet(kind, present[: policy.max_shards])
        if present:
            return _without_index(layout, kind, policy)
    return _none(layout)
