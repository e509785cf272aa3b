"""Config, quantisation, tokenizer, template and options as hostile input."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from drops.inspecting import codes_of, errors_of, inspected
from drops.models import (
    TINY_LLAMA,
    Typed,
    model_files,
    tensors_of,
    tokenizer_files,
    weight_files,
)
from drops.stores import File
from weightdrop.core.artifacts import engine_args
from weightdrop.core.artifacts.findings import Severity, Verdict
from weightdrop.core.artifacts.hazards import ACTIVATIONS
from weightdrop.core.artifacts.options import FolderOptions
from weightdrop.core.catalogue import architectures

PUBLISHED = Path(__file__).parents[2] / "data" / "models" / "published"


def changed(**changes: Any) -> dict[str, File]:
    """A tiny model whose config.json says something else."""
    config = json.dumps({**TINY_LLAMA, **changes}).encode()
    return model_files(TINY_LLAMA) | {"config.json": config}


def settled(**settings: Any) -> dict[str, File]:
    """A tiny model with these members in tokenizer_config.json."""
    return model_files(TINY_LLAMA) | {
        "tokenizer_config.json": json.dumps(settings).encode()
    }


def published(name: str) -> dict[str, Any]:
    """A published config.json."""
    found: dict[str, Any] = json.loads((PUBLISHED / f"{name}.json").read_text())
    return found


# ---------------------------------------------------------------- config.json


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"architectures": []}, "architecture-missing"),
        ({"architectures": None}, "architecture-missing"),
        ({"architectures": ["A", "B"]}, "architecture-missing"),
        ({"architectures": "LlamaForCausalLM"}, "architecture-missing"),
        ({"architectures": [7]}, "architecture-missing"),
        ({"architectures": ["os.system"]}, "architecture-missing"),
        ({"architectures": ["MadeUpForCausalLM"]}, "architecture-unsupported"),
        ({"architectures": ["BertModel"]}, "architecture-unsupported"),
        (
            {"architectures": ["WhisperForConditionalGeneration"]},
            "architecture-unsupported",
        ),
        ({"_attn_implementation_internal": "a/kernel"}, "kernel-hook"),
        ({"attn_implementation": "kernels-community/x"}, "kernel-hook"),
        ({"text": {"deep": [{"_attn_implementation": "a/b"}]}}, "kernel-hook"),
        ({"experts_implementation": "x/y"}, "kernel-hook"),
        ({"trust_remote_code": True}, "remote-code"),
        ({"vision": {"trust_remote_code": "yes"}}, "remote-code"),
        ({"_name_or_path": "https://example.org/m"}, "url-in-config"),
        ({"hidden_act": "os.system"}, "activation-unknown"),
        ({"hidden_act": "torch.nn.modules.SiLU"}, "activation-unknown"),
        ({"hidden_act": ["silu"]}, "activation-unknown"),
        ({"torch_dtype": "int8"}, "dtype-unknown"),
        ({"torch_dtype": 16}, "dtype-unknown"),
        ({"num_hidden_layers": 10**18}, "config-invalid"),
        ({"num_hidden_layers": -1}, "config-invalid"),
        ({"num_hidden_layers": 2.0}, "config-invalid"),
        ({"num_hidden_layers": True}, "config-invalid"),
        ({"num_hidden_layers": "2"}, "config-invalid"),
        ({"hidden_size": None}, "config-invalid"),
        ({"vocab_size": 2**40}, "config-invalid"),
        ({"num_key_value_heads": 3}, "dimensions-disagree"),
        ({"hidden_size": 66, "head_dim": None}, "dimensions-disagree"),
        ({"hidden_size": 128}, "tensor-shape"),
        ({"vocab_size": 999}, "tensor-shape"),
        ({"head_dim": 32}, "tensor-shape"),
        ({"num_hidden_layers": 1}, "tensor-unexpected"),
        ({"num_hidden_layers": 3}, "tensor-missing"),
        ({"attention_bias": True}, "tensor-missing"),
    ],
)
def test_a_hostile_or_wrong_config_is_refused(
    changes: dict[str, Any], code: str
) -> None:
    """Each rule of the list finds its case."""
    assert code in errors_of(inspected(changed(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"_attn_implementation": "eager"},
        {"attn_implementation": None},
        {"trust_remote_code": False},
        {"_name_or_path": "meta-llama/Llama-3.1-8B"},
        {"_name_or_path": "/workspace/models/mine"},
        {"hidden_act": "SiLU"},
        {"torch_dtype": "torch.bfloat16"},
        {"torch_dtype": "auto"},
        {"rope_scaling": None},
    ],
)
def test_what_real_configs_hold_is_let_through(changes: dict[str, Any]) -> None:
    """Harmless values of watched keys are no findings."""
    assert errors_of(inspected(changed(**changes))) == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b'{"x": {"a": 1, "a": 2}}',
        b'{"a": -0, "b": {"c": 1, "c": 2}}',
        b"\xff{}",
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_config_that_parsers_disagree_about_is_refused(text: bytes) -> None:
    """Duplicate keys, NaN, nesting and the like have no place in a config."""
    report = inspected(model_files(TINY_LLAMA) | {"config.json": text})

    assert report.verdict == Verdict.REJECTED
    assert {"document-invalid", "empty-file"} & set(errors_of(report))


def test_a_config_of_two_megabytes_is_not_even_read() -> None:
    """No config is that large."""
    files = model_files(TINY_LLAMA) | {"config.json": b"{" + b" " * 2**21 + b"}"}

    assert errors_of(inspected(files)) == ["document-too-large"]


@pytest.mark.parametrize("nested", [False, True])
def test_auto_map_is_ignored_where_the_engine_has_the_architecture(
    nested: bool,
) -> None:
    """DeepSeek ships auto_map; the engine's own class is used, and said so."""
    entry = {"auto_map": {"AutoModel": "evil--module.Class"}}
    report = inspected(changed(**({"vision_config_": entry} if nested else entry)))

    assert errors_of(report) == []
    assert "remote-code-ignored" in codes_of(report, Severity.NOTICE)


def test_auto_map_on_any_other_architecture_is_refused() -> None:
    """Without a class of the engine's own, the model's code would be the model."""
    files = changed(architectures=["MyOwnForCausalLM"], auto_map={"AutoModel": "m.C"})

    assert sorted(errors_of(inspected(files))) == [
        "architecture-unsupported",
        "remote-code",
    ]


def test_code_in_the_folder_is_never_served() -> None:
    """Modules beside a model with a known architecture are named and ignored."""
    files = {**changed(), "modeling_deepseek.py": b"import os", "x.so": b"\x7fELF"}
    report = inspected(files)

    assert "code-ignored" in codes_of(report)
    assert {"modeling_deepseek.py", "x.so"} <= set(report.ignored)


# --------------------------------------------------------------- quantisation


def with_tensors(change: Callable[[Typed], Typed], **config: Any) -> dict[str, File]:
    """A tiny model with other tensors, and members in config.json."""
    return changed(**config) | weight_files(change(tensors_of(TINY_LLAMA)))


def packed(dtype: str, *suffixes: str) -> Callable[[Typed], Typed]:
    """Projections in another type, with further tensors beside each."""

    def change(tensors: Typed) -> Typed:
        result: Typed = {}
        for name, (kind, shape) in tensors.items():
            if not name.endswith("_proj.weight"):
                result[name] = (kind, shape)
                continue
            result[name] = (dtype, shape)
            stem = name.removesuffix(".weight")
            result |= {f"{stem}.{s}": ("F32", (shape[0],)) for s in suffixes}
        return result

    return change


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "bitsandbytes", "load_in_8bit": True},
        {"load_in_4bit": True},
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "awq"},
        {"bits": 4, "group_size": 64, "mode": "affine"},
        {"quant_method": "fp8", "weight_block_size": [128, 128]},
        {"quant_method": "compressed-tensors"},
        {"quant_algo": "NVFP4"},
        {"strange": {"a": 1}},
        "int8",
    ],
)
@pytest.mark.parametrize("key", ["quantization_config", "quantization"])
def test_a_declared_quantisation_is_refused(settings: Any, key: str) -> None:
    """Whatever it is called and wherever it stands, before any weight is read."""
    files = changed(**{key: settings})
    del files["model.safetensors"]

    assert errors_of(inspected(files)) == ["quantized"]


@pytest.mark.parametrize("empty", [{}, None, {"quant_method": None}, {"bits_": False}])
def test_an_empty_declaration_is_none(empty: Any) -> None:
    """The key alone quantises nothing."""
    assert errors_of(inspected(changed(quantization_config=empty))) == []


@pytest.mark.parametrize(
    "change",
    [
        packed("U8", "weight.absmax", "weight.quant_map"),
        packed("I8", "SCB"),
        packed("U32", "scales", "biases"),
        packed("I32"),
        packed("F8_E4M3"),
        packed("F8_E4M3", "weight_scale", "input_scale"),
        packed("U8", "weight_scale", "weight_scale_2"),
        packed("BF16", "qweight", "qzeros", "g_idx"),
        packed("F4"),
    ],
)
def test_quantised_tensors_are_refused_without_any_declaration(
    change: Callable[[Typed], Typed],
) -> None:
    """The tensors tell, whatever the config leaves out."""
    assert errors_of(inspected(with_tensors(change))) == ["quantized"]


def test_quantisation_in_its_own_file_is_found() -> None:
    """NVIDIA's exports declare it in hf_quant_config.json alone."""
    document = {"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}}
    files = changed() | {"hf_quant_config.json": json.dumps(document).encode()}
    report = inspected(files)

    assert errors_of(report) == ["quantized"]
    assert report.findings[0].file == "hf_quant_config.json"


def test_plain_weights_under_a_stale_declaration_are_refused() -> None:
    """A de-quantised DeepSeek that still says fp8 would be loaded as garbage."""
    config = {
        **TINY_LLAMA,
        **published("deepseek-ai__DeepSeek-V3"),
        "num_hidden_layers": 2,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "first_k_dense_replace": 1,
    }
    plain = {k: v for k, v in config.items() if k != "quantization_config"}
    files = model_files(plain) | {"config.json": json.dumps(config).encode()}

    assert errors_of(inspected(files)) == ["quantization-disagrees"]
    assert errors_of(inspected(model_files(plain))) == []
    assert errors_of(inspected(model_files(config))) == []


def test_published_form_without_its_declaration_is_refused() -> None:
    """fp8 tensors need their config to be read as such."""
    config = published("deepseek-ai__DeepSeek-V3") | {"num_hidden_layers": 2}
    plain = {k: v for k, v in config.items() if k != "quantization_config"}
    files = model_files(config) | {"config.json": json.dumps(plain).encode()}

    assert errors_of(inspected(files)) == ["quantization-disagrees"]


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "fp8", "weight_block_size": [64, 64]},
        {"quant_method": "fp8"},
        {"quant_method": "fp8", "weight_block_size": [128, 128], "fmt": "e5m2"},
        {"quant_method": "mxfp4"},
    ],
)
def test_another_form_than_the_published_is_refused(settings: dict[str, Any]) -> None:
    """Only exactly DeepSeek's own fp8 is served, not any."""
    config = published("deepseek-ai__DeepSeek-V3") | {"quantization_config": settings}
    files: dict[str, File] = {"config.json": json.dumps(config).encode()}

    assert "quantized" in errors_of(inspected(files))


def test_dequantised_gpt_oss_is_served() -> None:
    """The bfloat16 form of a model that is published in mxfp4 is plain."""
    config = published("openai__gpt-oss-20b") | {"num_hidden_layers": 2}
    config = {k: v for k, v in config.items() if k != "quantization_config"}
    config["layer_types"] = config["layer_types"][:2]

    assert errors_of(inspected(model_files(config))) == []


# ------------------------------------------------------ tokenizer and templates


def without(*names: str, **more: File) -> dict[str, File]:
    """A tiny model without some files, and with others."""
    files = model_files(TINY_LLAMA) | more
    return {name: data for name, data in files.items() if name not in names}


@pytest.mark.parametrize(
    ("architecture", "files", "enough"),
    [
        ("LlamaForCausalLM", ["tokenizer.model"], True),
        ("MistralForCausalLM", ["tekken.json"], True),
        ("Qwen2ForCausalLM", ["vocab.json", "merges.txt"], True),
        ("Qwen2ForCausalLM", ["tokenizer.model"], False),
        ("Qwen2ForCausalLM", ["vocab.json"], False),
        ("LlamaForCausalLM", ["tekken.json"], False),
        ("GptOssForCausalLM", ["tokenizer.model"], False),
    ],
)
def test_which_tokenizer_files_suffice(
    architecture: str, files: list[str], enough: bool
) -> None:
    """Per architecture, other files than tokenizer.json will do."""
    config = json.dumps({**TINY_LLAMA, "architectures": [architecture]}).encode()
    drop = {"config.json": config, "tokenizer_config.json": b"{}"}
    report = inspected(drop | dict.fromkeys(files, b"x" * 2000))

    assert enough == ("tokenizer.json" not in report.missing)


@pytest.mark.parametrize(
    "files",
    [
        settled(added_tokens_decoder={"1000": {"content": "<x>"}}),
        model_files(TINY_LLAMA) | {"added_tokens.json": b'{"<x>": 1000}'},
        model_files(TINY_LLAMA) | tokenizer_files(1001),
    ],
)
def test_ids_beyond_the_embedding_are_refused(files: dict[str, File]) -> None:
    """A token without an embedding ends the server at its first use."""
    assert errors_of(inspected(files)) == ["tokenizer-vocabulary"]


def test_the_image_token_of_a_text_model_is_let_through() -> None:
    """Gemma 3's smallest model has it in its tokenizer, but no embedding for it."""
    token = {"1000": {"content": "<image_soft_token>"}}

    assert errors_of(inspected(settled(added_tokens_decoder=token))) == []


def test_a_large_tokenizer_is_read_at_its_ends() -> None:
    """Added tokens are found at the beginning; a cut file at the end."""
    start = b'{"added_tokens": [{"id": 5000}], "model": "'
    whole = start + b"x" * 5_000_000 + b'"}'
    far = inspected(model_files(TINY_LLAMA) | {"tokenizer.json": whole})
    cut = inspected(model_files(TINY_LLAMA) | {"tokenizer.json": whole[:-2]})

    assert errors_of(far) == ["tokenizer-vocabulary"]
    assert "tokenizer-invalid" in errors_of(cut)
    assert far.reads.bytes < 3_000_000


@pytest.mark.parametrize("name", ["Evil", "os.system", 7, ["LlamaTokenizer"], "x"])
def test_a_strange_tokenizer_class_is_refused(name: Any) -> None:
    """Classes that come with the engine are called …Tokenizer."""
    assert errors_of(inspected(settled(tokenizer_class=name))) == ["tokenizer-class"]


UNSAFE = {
    "{{ ''.__class__.__mro__ }}": "template-unsafe",
    "{{ cycler.__init__.__globals__ }}": "template-unsafe",
    "{{ messages['__class__'] }}": "template-unsafe",
    "{% include 'x' %}": "template-unsafe",
    "{% import 'x' as y %}": "template-unsafe",
    "{% extends 'x' %}": "template-unsafe",
    "{% for i in range(10**9) %}x{% endfor %}": "template-unsafe",
    "{{ 'a' * 10**9 }}": "template-unsafe",
    "{{ 9**9**9 }}": "template-unsafe",
    "{% for i in range(99999) %}aaaaaaaaa{% endfor %}": "template-limit",
    "{{ 'a'.ljust(10**9) }}": "template-limit",
    "{% if %}": "template-invalid",
    "{{ nothing.at_all }}": "template-invalid",
    "{" * 3 + "%": "template-invalid",
    "x" * 70_000: "template-limit",
}


@pytest.mark.parametrize("template", UNSAFE)
def test_a_hostile_template_is_refused(template: str) -> None:
    """Found without running it, or stopped while it runs."""
    files = without(**{"chat_template.jinja": template.encode()})

    assert [UNSAFE[template]] == errors_of(inspected(files))


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('Only tools are spoken here') }}",
        "{% if messages|length > 1 %}{{ raise_exception('once') }}{% endif %}x",
    ],
)
def test_a_template_that_refuses_is_let_through(template: str) -> None:
    """A template's own refusal of a plain conversation is only told."""
    report = inspected(without(**{"chat_template.jinja": template.encode()}))

    assert report.verdict == Verdict.ACCEPTED
    assert "template-narrow" in codes_of(report, Severity.WARNING)


GOOD = (
    "{%- for m in messages %}{{ m.content | tojson }}{% continue %}{% endfor %}"
    "{{ strftime_now('%Y') }}{% generation %}{{ bos_token * 2 }}{% endgeneration %}"
    "{% set ns = namespace(x=1) %}{% set ns.x = 2 %}{{ tools is none }}"
)


def test_what_transformers_offers_to_templates_is_there() -> None:
    """Loop controls, generation blocks, tojson, strftime_now and namespaces work."""
    report = inspected(without(**{"chat_template.jinja": GOOD.encode()}))

    assert codes_of(report) == ["architecture-unlisted"]


def test_every_template_is_looked_at() -> None:
    """Named templates and additional ones are as dangerous as the first."""
    bad = "{{ ''.__class__ }}"
    named = [{"name": "default", "template": "x"}, {"name": "tool", "template": bad}]
    extra = without(**{"additional_chat_templates/rag.jinja": bad.encode()})

    assert errors_of(inspected(settled(chat_template=named))) == ["template-unsafe"]
    assert errors_of(inspected(extra)) == ["template-unsafe"]
    assert errors_of(inspected(settled(chat_template=7))) == ["template-invalid"]


# -------------------------------------------------------------------- options


def optioned(text: str) -> dict[str, File]:
    """A tiny model with options."""
    return {**model_files(TINY_LLAMA), "weightdrop.json": text.encode()}


def test_all_options_are_read() -> None:
    """Each option arrives where the planner looks for it."""
    given = {
        "model_id": "my-model",
        "model_display_name": "Mine",
        "endpoint_display_name": "Ours",
        "region": "europe-west4",
        "machine_type": "g2-standard-12",
        "accelerator_type": "NVIDIA_L4",
        "accelerator_count": 1,
        "min_replica_count": 1,
        "max_replica_count": 3,
        "scale_to_zero": False,
        "spot": True,
        "max_model_len": 4096,
        "vllm_args": ["--max-num-seqs", "8"],
        "traffic": 50,
        "ttl": 3600,
        "max_hourly_usd": 2.5,
        "labels": {"team": "a"},
    }
    report = inspected(optioned(json.dumps(given)))
    expected = {**given, "vllm_args": ("--max-num-seqs", "8")}
    expected["labels"] = (("team", "a"),)

    assert errors_of(report) == []
    assert FolderOptions(**expected) == report.options  # type: ignore[arg-type]
    assert set(given) == set(FolderOptions.__dataclass_fields__)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "options-invalid"),
        ("[]", "options-invalid"),
        ('{"spot": true, "spot": false}', "options-invalid"),
        ('{"spot": "yes"}', "options-invalid"),
        ('{"traffic": 101}', "options-invalid"),
        ('{"traffic": 5.0}', "options-invalid"),
        ('{"ttl": -1}', "options-invalid"),
        ('{"model_id": "--model=x"}', "options-invalid"),
        ('{"model_id": ""}', "options-invalid"),
        ('{"region": "../x"}', "options-invalid"),
        ('{"max_hourly_usd": true}', "options-invalid"),
        ('{"labels": {"A": "b"}}', "options-invalid"),
        ('{"labels": {"weightdrop": "b"}}', "options-invalid"),
        ('{"vllm_args": "--enforce-eager"}', "options-invalid"),
        ('{"modell_id": "x"}', "options-unknown"),
        ('{"machine_type": "g2-standard-12"}', "options-conflict"),
        ('{"min_replica_count": 3, "max_replica_count": 2}', "options-conflict"),
        ('{"min_replica_count": 0}', "options-conflict"),
        ('{"traffic": 5, "scale_to_zero": true}', "options-conflict"),
        ('{"vllm_args": ["--model", "x"]}', "engine-argument"),
        ('{"vllm_args": ["--trust-remote-code"]}', "engine-argument"),
        ('{"vllm_args": ["--max-num-seqs"]}', "engine-argument"),
        ('{"vllm_args": ["--max-num-seqs=0"]}', "engine-argument"),
        ('{"vllm_args": ["--reasoning-parser", "/tmp/x.py"]}', "engine-argument"),
        ('{"vllm_args": ["--enforce-eager; rm -rf /"]}', "engine-argument"),
    ],
)
def test_wrong_options_are_findings(text: str, code: str) -> None:
    """An unknown key, a wrong type, a contradiction or an unlisted argument."""
    assert [code] == errors_of(inspected(optioned(text)))


def test_faults_of_the_arguments_are_told_together() -> None:
    """Not the first alone."""
    faults = engine_args.faults(("--x", "--seed", "a", "--enforce-eager=1"))

    assert len(faults) == 3


# ------------------------------------------------------------ the pinned engine


@pytest.fixture
def engine() -> Path:
    """The folder of the engine that is installed."""
    found = find_spec("vllm")
    if found is None or found.origin is None:
        pytest.skip("vLLM is not installed: the tables are not compared with it")
    return Path(found.origin).parent


def _keys(source: Path, names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id in names:
            found |= {
                key.value
                for key in ast.walk(node)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
    return found


def test_the_table_of_architectures_is_the_engines(engine: Path) -> None:
    """The registry of the engine that is installed has exactly these classes."""
    tree = ast.parse((engine / "model_executor/models/registry.py").read_text())
    tables = {
        node.targets[0].id: {
            key.value for key in node.value.keys if isinstance(key, ast.Constant)
        }
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Dict)
    }
    ours = (
        architectures.MULTIMODAL | architectures.TRANSFORMERS | architectures.NOT_TEXT
    )
    theirs = tables["_MULTIMODAL_MODELS"] | tables["_TRANSFORMERS_SUPPORTED_MODELS"]

    assert tables["_TEXT_GENERATION_MODELS"] == architectures.TEXT
    assert theirs == ours


def test_the_engines_activations_are_allowed(engine: Path) -> None:
    """Every name of the engine's registry is let through."""
    source = engine / "model_executor/layers/activation.py"

    assert _keys(source, ("_ACTIVATION_REGISTRY",)) <= ACTIVATIONS


def test_the_arguments_are_the_engines(engine: Path) -> None:
    """Each argument of the allow-list exists in the engine that is installed."""
    sources = "".join(
        path.read_text()
        for folder in ("engine", "entrypoints", "config")
        for path in (engine / folder).rglob("*.py")
    )
    unknown = [
        name
        for name in (*engine_args.FLAGS, *engine_args.VALUES)
        if (plain := name.removeprefix("--").removeprefix("no-"))
        and f"--{plain}" not in sources
        and plain.replace("-", "_") not in sources
    ]

    assert unknown == []
