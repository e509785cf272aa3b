"""Which file of a drop is what, decided from the listing alone."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from weightdrop.core.artifacts import codes
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.objects import ArtifactFile, ArtifactSet
from weightdrop.core.artifacts.policy import Policy

SAFETENSORS_INDEX = "model.safetensors.index.json"
BIN_INDEX = "pytorch_model.bin.index.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "tekken.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
)
DOCUMENTS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "hf_quant_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "weightdrop.json",
)
"""Small JSON files that we or the engine parse."""

_ROLES = (
    ("gguf", re.compile(r".*\.gguf(\.\w+)?")),
    ("adapters", re.compile(r"adapter_.*")),
    (
        "code",
        re.compile(r".*\.(py|so|sh|dylib|dll|exe)|requirements\.txt|handler\.py"),
    ),
    (
        "ignored",  # CVE-2026-1839 and its like: state of a training run
        re.compile(
            r"(training_args|optimizer|scheduler|scaler|rng_state.*|random_states.*)"
            r"\.(bin|pt|pth|pkl)"
        ),
    ),
    (
        "other_weights",
        re.compile(
            r"consolidated[.\d_-].*"
            r"|.*\.(pth|pt|ckpt|h5|msgpack|pkl|pickle|npz|keras|joblib|onnx)"
        ),
    ),
    ("safetensors", re.compile(r".*\.safetensors")),
    ("bins", re.compile(r".*\.bin")),
)
"""What a file is by its name, first match first."""

_RENAMED = re.compile(r"(.+?) ?\(\d+\)(\.\w+)")
_TEMPLATES = "additional_chat_templates/"
MAX_NAME = 1024
"""Bytes of an object name, as Cloud Storage limits it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a drop by what they are for.

    Attributes:
        files: The files by path, without those whose names are unsafe.
        safetensors: Weight files at the root that an index may name.
        bins: PyTorch weight files at the root that an index may name.
        gguf: GGUF files anywhere.
        copies: Further copies of weights, never served.
        other_weights: Root files that hold weights in no served format.
        adapters: Files of a LoRA adapter.
        code: Files with code.
        templates: Paths of additional chat templates.
        ignored: Files nothing is done with.
        findings: What the names alone show.
    """

    files: dict[str, ArtifactFile] = field(default_factory=dict)
    safetensors: tuple[str, ...] = ()
    bins: tuple[str, ...] = ()
    gguf: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    other_weights: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    def has(self, path: str) -> bool:
        """Whether there is a file at `path`."""
        return path in self.files

    def size(self, path: str) -> int:
        """Length in bytes of the file at `path`."""
        return self.files[path].size


def name_fault(path: str) -> str:
    """Why an object name is not safe to use, or "" if it is."""
    if len(path.encode("utf-8", "surrogatepass")) > MAX_NAME:
        return f"is longer than {MAX_NAME} bytes"
    if not path or path.startswith("/") or "\\" in path:
        return "is empty, starts with a slash or holds a backslash"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return 'has an empty part, "." or ".."'
    for char in path:
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return f"holds the control character U+{ord(char):04X}"
    return ""


def shown(text: str, limit: int = 120) -> str:
    """Text from outside, made safe to print: escaped and cut."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)


def listed(names: list[str] | tuple[str, ...], limit: int = 5) -> str:
    """A few of `names` in words, and how many more there are."""
    some = ", ".join(shown(name) for name in names[:limit])
    rest = len(names) - limit
    return f"{some} and {rest} more" if rest > 0 else some


def _names(artifacts: ArtifactSet) -> tuple[dict[str, ArtifactFile], list[Finding]]:
    files: dict[str, ArtifactFile] = {}
    folded: dict[str, str] = {}
    findings: list[Finding] = []
    for file in artifacts.files:
        fault = name_fault(file.path)
        if fault:
            findings.append(
                codes.UNSAFE_NAME.found(
                    f"The object name {shown(file.path)!r} {fault}.",
                    file=shown(file.path),
                )
            )
            continue
        twin = folded.setdefault(file.path.casefold(), file.path)
        if twin != file.path:
            findings.append(
                codes.NAMES_COLLIDE.found(
                    f"{shown(file.path)} and {shown(twin)} are the same name on "
                    "some file systems.",
                    file=file.path,
                )
            )
        files[file.path] = file
    return files, findings


def _role(path: str) -> str:
    """The field of Layout a path belongs to; empty for what is read by name."""
    name = path.rsplit("/", 1)[-1]
    if path.startswith(_TEMPLATES):
        return "templates"
    role = next((role for role, form in _ROLES if form.fullmatch(name)), "")
    if not role:
        return "ignored" if "/" in path else ""
    if "/" not in path or role in ("gguf", "code"):
        return role
    return "ignored" if role in ("ignored", "adapters") else "copies"


def _known(path: str) -> bool:
    return (
        path in DOCUMENTS
        or path in TOKENIZER_FILES
        or path in (SAFETENSORS_INDEX, BIN_INDEX)
    )


def survey(artifacts: ArtifactSet, policy: Policy) -> Layout:
    """Sort the files of a drop by what they are for."""
    files, findings = _names(artifacts)
    if artifacts.truncated or len(artifacts.files) > policy.max_files:
        findings.append(
            codes.TOO_MANY_FILES.found(
                f"There are more than {min(len(artifacts.files), policy.max_files)} "
                "objects below this folder."
            )
        )
    roles: dict[str, list[str]] = {}
    for path in files:
        roles.setdefault(_role(path), []).append(path)
        renamed = _RENAMED.fullmatch(path)
        if renamed and _known(plain := renamed.group(1) + renamed.group(2)):
            findings.append(
                codes.RENAMED_FILE.found(
                    f"{shown(path)} is ignored; the file that counts is {plain}.",
                    file=path,
                )
            )
    unknown = [path for path in roles.pop("", []) if not _known(path)]
    roles.setdefault("ignored", []).extend(unknown)
    return Layout(
        files=files,
        findings=tuple(findings),
        **{role: tuple(sorted(paths)) for role, paths in roles.items()},
    )
