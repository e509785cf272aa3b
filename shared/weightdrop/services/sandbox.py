"""The process in which chat templates run: `python -m weightdrop.services.sandbox`.

Reads a JSON list of templates from standard input, and writes a JSON list of
what came of each. Before that it takes from itself whatever a template could
use: memory, processor time, files, processes.
"""

from __future__ import annotations

import json
import resource
import sys
from datetime import UTC, datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_BYTES = 256 * 1024 * 1024
CPU_SECONDS = 2
OUTPUT_CHARACTERS = 256 * 1024
PROMPT_CHARACTERS = 2048
_FORBIDDEN = (nodes.Import, nodes.FromImport, nodes.Include, nodes.Extends)
_CONVERSATIONS: tuple[list[dict[str, Any]], ...] = (
    [{"role": "user", "content": "Say hello."}],
    [
        {"role": "user", "content": "Say hello."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "And again?"},
    ],
)


_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}


class RefusedError(jinja2.TemplateError):
    """The template itself refused the conversation (raise_exception)."""


class TooLongError(Exception):
    """The template writes more than any prompt needs."""


class _Generation(Extension):
    """transformers' {% generation %} block, which marks what is learnt from."""

    tags = {"generation"}  # noqa: RUF012  # Jinja's interface

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The block's body, as if the block were not there."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    """The engine's environment, without repetition of long texts."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        """Refuse what multiplies text or makes numbers explode."""
        if operator == "**" and not (_small(left) and _small(right)):
            raise SecurityError("it raises a number to a large power")
        if operator == "*" and not _small_product(left, right):
            raise SecurityError("it repeats a text or a list many times")
        return super().call_binop(context, operator, left, right)


def _small(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= 1000  # noqa: PLR2004


def _small_product(left: Any, right: Any) -> bool:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, str | list | tuple) and isinstance(other, int):
            return len(one) * other <= 10_000  # noqa: PLR2004
    return True


def _refuse(message: object) -> NoReturn:
    raise RefusedError(str(message))


def _tojson(value: Any, **options: Any) -> str:
    allowed = ("indent", "separators", "sort_keys", "ensure_ascii")
    options.setdefault("ensure_ascii", False)
    return json.dumps(value, **{k: v for k, v in options.items() if k in allowed})


def _strftime(form: str) -> str:
    return datetime.now(UTC).strftime(form)


def environment() -> jinja2.Environment:
    """The environment in which transformers renders chat templates."""
    made = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = _refuse
    made.globals["strftime_now"] = _strftime
    return made


def _unsafe(tree: nodes.Template) -> str:
    """What a template has no business with, seen without running it."""
    for kind in _FORBIDDEN:
        if tree.find(kind):
            return f"it uses {kind.__name__.lower()}"
    for attribute in tree.find_all(nodes.Getattr):
        if attribute.attr.startswith("__"):
            return f"it reaches for {attribute.attr}"
    for item in tree.find_all(nodes.Getitem):
        key = item.arg
        if isinstance(key, nodes.Const) and str(key.value).startswith("__"):
            return f"it reaches for {key.value}"
    return ""


def _prompt(template: jinja2.Template, messages: list[dict[str, Any]]) -> str:
    parts: list[str] = []
    length = 0
    for part in template.generate(
        messages=messages,
        tools=None,
        documents=None,
        add_generation_prompt=True,
        **_TOKENS,
    ):
        length += len(part)
        if length > OUTPUT_CHARACTERS:
            raise TooLongError
        parts.append(part)
    return "".join(parts)


def examine(text: str) -> dict[str, str]:
    """What comes of one template."""
    made = environment()
    try:
        if reason := _unsafe(made.parse(text)):
            return _fault("unsafe", reason)
        template = made.from_string(text)
        prompts = [_prompt(template, messages) for messages in _CONVERSATIONS]
    except Exception as error:  # noqa: BLE001  # whatever a stranger's program raises
        return _explained(error)
    return {"fault": "", "message": "", "prompt": prompts[0][:PROMPT_CHARACTERS]}


_EXPLANATIONS: tuple[tuple[type[Exception], str, str], ...] = (
    (RefusedError, "refused", "it says: {}"),
    (SecurityError, "unsafe", "{}"),
    (OverflowError, "unsafe", "{}"),
    (TooLongError, "output", f"it writes more than {OUTPUT_CHARACTERS} characters"),
    (MemoryError, "memory", "it takes too much memory"),
)


def _explained(error: Exception) -> dict[str, str]:
    if isinstance(error, jinja2.TemplateSyntaxError):
        return _fault("syntax", f"line {error.lineno}: {error.message}")
    for kind, fault, message in _EXPLANATIONS:
        if isinstance(error, kind):
            return _fault(fault, message.format(error))
    return _fault("error", f"{type(error).__name__}: {error}")


def _fault(kind: str, message: str) -> dict[str, str]:
    return {"fault": kind, "message": message[:500], "prompt": ""}


def confine() -> None:
    """Give up what a template could misuse; there is no way back."""
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


_WARM_UP = (
    "{% for m in messages %}{{ m.content | tojson }}{{ m.content * 2 }}{% endfor %}",
    "{{ strftime_now('%d %b %Y') }}{{ raise_exception('no') }}",
    "{{ nothing.at_all }}",
    "{% if %}",
)
"""Between them these import all that Jinja imports late."""


def main() -> None:
    """Examine what comes on standard input."""
    texts = json.loads(sys.stdin.buffer.read())
    for text in _WARM_UP:
        examine(text)
    confine()
    answers = [examine(text) for text in texts]
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main()
