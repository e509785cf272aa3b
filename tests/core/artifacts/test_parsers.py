"""Parsers of tool calls and thinking: chosen by what the files show, or not at all."""

from __future__ import annotations

import ast
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from fakes.models import tiny
from weightdrop.core.artifacts import engine_args
from weightdrop.core.artifacts.exchange import Template
from weightdrop.core.artifacts.parsers import Parsers, added_tokens, choose
from weightdrop.core.catalogue import parsers
from weightdrop.core.planning.choose import plan
from weightdrop.core.planning.plan import Plan, PlanRequest
from weightdrop.core.planning.tables import packaged_tables

_AUTO = "--enable-auto-tool-choice"
_THINK = {"<think>", "</think>"}
_HERMES = 'For each call: <tool_call>{"name": …}</tool_call>'
_HYBRID = (
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{% endif %}"
)
_ALWAYS = "{% if add_generation_prompt %}{{ '<|im_start|>\\n<think>\\n' }}{% endif %}"
_R1 = "{% if add_generation_prompt and not is_tool %}{{'<think>\\n'}}{% endif %}"
_CALLS = {
    f"<\uff5ctool▁{what}▁{end}\uff5c>"
    for what in ("calls", "call")
    for end in ("begin", "end")
}


def _chosen(architecture: str, template: str, tokens: set[str]) -> Parsers:
    return choose(
        architecture, (Template("chat_template.jinja", "", template),), tokens
    )


@pytest.mark.parametrize(
    ("architecture", "template", "tokens", "expected"),
    [
        ("Qwen2ForCausalLM", _HERMES, {"<tool_call>"}, Parsers("hermes")),
        (
            "Qwen3ForCausalLM",
            _HERMES + _HYBRID,
            {"<tool_call>", *_THINK},
            Parsers("hermes"),
        ),
        (
            "Qwen3NextForCausalLM",
            _HERMES + _ALWAYS,
            {"<tool_call>", *_THINK},
            Parsers("hermes", "qwen3"),
        ),
        (
            "Qwen3MoeForCausalLM",
            _HERMES + "<function=name>",
            {"<tool_call>"},
            Parsers("qwen3_coder"),
        ),
        (
            "LlamaForCausalLM",
            "Environment: ipython {% for tool in tools %}",
            {"<|python_tag|>"},
            Parsers("llama3_json"),
        ),
        ("MistralForCausalLM", "[TOOL_CALLS]", {"[TOOL_CALLS]"}, Parsers("mistral")),
        (
            "DeepseekV3ForCausalLM",
            "<\uff5ctool▁sep\uff5c>```json" + _R1,
            _CALLS | _THINK,
            Parsers("deepseek_v3", "deepseek_r1"),
        ),
        (
            "DeepseekV3ForCausalLM",
            "<\uff5ctool▁sep\uff5c>",
            _CALLS,
            Parsers("deepseek_v31"),
        ),
        (
            "GptOssForCausalLM",
            "<|channel|>commentary tool",
            {"<|channel|>", "<|call|>"},
            Parsers("openai"),
        ),
    ],
)
def test_the_files_show_the_parser(
    architecture: str, template: str, tokens: set[str], expected: Parsers
) -> None:
    """Template and tokens together; without the tokens the engine would not start."""
    assert _chosen(architecture, template, tokens) == expected
    assert _chosen(architecture, template, set()) == Parsers()
    assert _chosen(architecture, "{{ messages }}", tokens) == Parsers()
    assert _chosen("Gemma3ForCausalLM", template, tokens) == Parsers()


def test_every_parser_that_can_be_chosen_is_the_engines() -> None:
    """The allow-list holds the names in the engine's registries, and no other."""
    found = find_spec("vllm")
    if found is None or found.origin is None:
        pytest.skip("vLLM is not installed: the names are not compared with it")
    home = Path(found.origin).parent
    for folder, name, ours in (
        ("tool_parsers", "_TOOL_PARSERS_TO_REGISTER", parsers.TOOL),
        ("reasoning", "_REASONING_PARSERS_TO_REGISTER", parsers.REASONING),
    ):
        tree = ast.parse((home / folder / "__init__.py").read_text("utf-8"))
        (table,) = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == name
        ]
        assert ours == set(ast.literal_eval(table))


def test_a_parser_that_the_engine_lacks_is_refused_before_a_deploy() -> None:
    """A misspelled name would end the container after a GPU was paid for."""
    assert engine_args.faults(("--tool-call-parser", "hermes")) == []
    assert engine_args.faults(("--reasoning-parser", "none")) == []
    assert engine_args.faults(("--tool-call-parser", "hermess")) != []
    assert engine_args.faults(("--reasoning-parser", "hermes")) != []


def test_added_tokens_are_read_from_both_files() -> None:
    """What is no entry is passed over."""
    documents = {
        "tokenizer_config.json": {
            "added_tokens_decoder": {"1": {"content": "a"}, "2": 3}
        },
        "tokenizer.json": {"added_tokens": [{"content": "b"}, {"content": 7}, None]},
    }
    assert added_tokens(documents) == {"a", "b"}
    assert (
        added_tokens({"tokenizer_config.json": {"added_tokens_decoder": []}}) == set()
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            (),
            f"--reasoning-parser qwen3 --tool-call-parser hermes {_AUTO}",
        ),
        (("--reasoning-parser", "none", "--tool-call-parser=none"), ""),
        (
            ("--tool-call-parser", "qwen3_xml", "--enable-auto-tool-choice"),
            f"--tool-call-parser qwen3_xml {_AUTO} --reasoning-parser qwen3",
        ),
    ],
)
def test_the_plan_starts_the_engine_with_them(
    given: tuple[str, ...], expected: str
) -> None:
    """A user's own choice wins, and `none` is one."""
    facts = replace(tiny(), tool_parser="hermes", reasoning_parser="qwen3")
    planned = plan(
        facts, PlanRequest("us-central1", vllm_args=given), packaged_tables()
    )
    assert isinstance(planned, Plan)
    assert planned.vllm_args[12:] == tuple(expected.split())
