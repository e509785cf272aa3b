"""Chat templates: where they are kept, and what came of rendering them.

Jinja is a language; a template is a program from a stranger. It is compiled
and run in a sandbox, in a process of its own (CVE-2024-34359, CVE-2026-5760,
CVE-2026-115911). Here is only what goes there and what comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weightdrop.core.artifacts import model_codes
from weightdrop.core.artifacts.exchange import Rendering, Template
from weightdrop.core.artifacts.findings import Finding
from weightdrop.core.artifacts.layout import shown
from weightdrop.core.artifacts.policy import Policy

JINJA_FILE = "chat_template.jinja"
JSON_FILE = "chat_template.json"


def _named(entries: list[Any], file: str) -> tuple[list[Template], list[Finding]]:
    templates = []
    findings = []
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        text = entry.get("template") if isinstance(entry, dict) else None
        if isinstance(name, str) and isinstance(text, str):
            templates.append(Template(file, name, text))
        else:
            findings.append(
                model_codes.TEMPLATE_INVALID.found(
                    f"An entry of chat_template in {file} has no name and template.",
                    file=file,
                )
            )
    return templates, findings


def collect(
    documents: Mapping[str, Any], texts: Mapping[str, bytes], policy: Policy
) -> tuple[tuple[Template, ...], list[Finding]]:
    """All chat templates, and what is wrong with how they are kept.

    Args:
        documents: Parsed JSON files by path.
        texts: Bytes of template files by path.
        policy: Limits.
    """
    templates: list[Template] = []
    findings: list[Finding] = []
    for file in ("tokenizer_config.json", JSON_FILE):
        holder = documents.get(file)
        value = holder.get("chat_template") if isinstance(holder, dict) else None
        if isinstance(value, str):
            templates.append(Template(file, "", value))
        elif isinstance(value, list):
            named, wrong = _named(value[: 4 * policy.max_templates], file)
            templates += named
            findings += wrong
        elif value is not None:
            findings.append(
                model_codes.TEMPLATE_INVALID.found(
                    f"chat_template in {file} is neither text nor a list.", file=file
                )
            )
    for file, data in sorted(texts.items()):
        try:
            templates.append(Template(file, "", data.decode("utf-8")))
        except UnicodeDecodeError as error:
            findings.append(
                model_codes.TEMPLATE_INVALID.found(
                    f"{file} is not UTF-8.", file=file, offset=error.start
                )
            )
    small: list[Template] = []
    large: list[Template] = []
    for template in templates:
        size = len(template.text.encode("utf-8", "surrogatepass"))
        (large if size > policy.max_template_bytes else small).append(template)
    findings += [
        model_codes.TEMPLATE_LIMIT.found(
            f"{_title(template)} is larger than {policy.max_template_bytes} bytes.",
            file=template.file,
        )
        for template in large
    ]
    if len(small) > policy.max_templates:
        findings.append(
            model_codes.TEMPLATE_LIMIT.found(
                f"There are {len(small)} chat templates; at most "
                f"{policy.max_templates} are looked at.",
                file=small[0].file,
            )
        )
    return tuple(small[: policy.max_templates]), findings


def _title(template: Template) -> str:
    name = f" {shown(template.name, 40)!r}" if template.name else ""
    return f"The chat template{name} in {template.file}"


_CODES = {
    "syntax": model_codes.TEMPLATE_INVALID,
    "error": model_codes.TEMPLATE_INVALID,
    "refused": model_codes.TEMPLATE_NARROW,
    "unsafe": model_codes.TEMPLATE_UNSAFE,
    "time": model_codes.TEMPLATE_LIMIT,
    "memory": model_codes.TEMPLATE_LIMIT,
    "output": model_codes.TEMPLATE_LIMIT,
}


def judge(
    templates: tuple[Template, ...], renderings: tuple[Rendering, ...]
) -> list[Finding]:
    """What rendering showed."""
    return [
        _CODES.get(rendering.fault, model_codes.TEMPLATE_INVALID).found(
            f"{_title(template)}: {shown(rendering.message, 300)}",
            file=template.file,
        )
        for template, rendering in zip(templates, renderings, strict=True)
        if rendering.fault
    ]


def evidence(templates: tuple[Template, ...]) -> frozenset[str]:
    """What the templates show of the kind of model: that it thinks aloud."""
    thinks = any("<think>" in template.text for template in templates)
    return frozenset({"thinks"}) if thinks else frozenset()
