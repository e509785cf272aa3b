"""Every published config, with headers of its real shapes, is accepted and named."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from drops.inspecting import codes_of, errors_of, inspected
from drops.models import model_files, tensors_of
from weightdrop.core.artifacts.findings import Severity, Verdict
from weightdrop.core.artifacts.report import Report

DATA = Path(__file__).parents[2] / "data" / "models"
ROWS = {
    row["model"]: row
    for row in csv.DictReader((DATA / "published.csv").read_text().splitlines())
}
STORES_TIED_HEAD = ("Qwen__Qwen3-0.6B", "Qwen__Qwen3-1.7B")
"""Published with lm_head although it is tied."""
UNSEEN = {
    "meta-llama__Llama-2-7b-hf": 2048,
    "Qwen__Qwen3-Next-80B-A3B-Instruct": 1_650_471_424,
    "deepseek-ai__DeepSeek-R1": 13_464_128_568,
    "deepseek-ai__DeepSeek-V3": 13_464_128_568,
    "deepseek-ai__DeepSeek-V3.1": 13_464_128_568,
}
"""Values in published tensors that serving skips, and the builder leaves out:
rotary buffers, and the blocks that predict several tokens at once."""


def config_of(model: str) -> dict[str, Any]:
    """A published config.json."""
    document: dict[str, Any] = json.loads(
        (DATA / "published" / f"{model}.json").read_text()
    )
    return document


@cache
def report_of(model: str) -> Report:
    """The report on the model as published, in eight shards."""
    head = model in STORES_TIED_HEAD
    return inspected(model_files(config_of(model), shards=8, head=head))


@pytest.mark.parametrize("model", ROWS)
def test_a_published_model_is_accepted(model: str) -> None:
    """Nothing about a base model as it is published is in the way of serving it."""
    report = report_of(model)

    assert report.verdict == Verdict.ACCEPTED
    assert codes_of(report, Severity.ERROR, Severity.MISSING) == []


@pytest.mark.parametrize("model", ROWS)
def test_a_published_model_is_named(model: str) -> None:
    """It is named as listed; where configs are identical, all names are given."""
    report = report_of(model)
    assert report.model is not None
    alike = [f.detail for f in report.findings if f.code == "base-model-alike"]
    names = [report.model.base_model, *alike]

    assert any(ROWS[model]["name"] in name for name in names)


@pytest.mark.parametrize("model", [name for name in ROWS if ROWS[name]["parameters"]])
def test_parameters_are_those_published(model: str) -> None:
    """The tables of shapes add up to the counts the models are published with."""
    report = report_of(model)
    assert report.model is not None

    published = int(ROWS[model]["parameters"])

    assert published == report.model.parameters + UNSEEN.get(model, 0)


@pytest.mark.parametrize("model", ROWS)
def test_attention_is_as_published(model: str) -> None:
    """Full and windowed layers, window and experts, as the facts have them."""
    report = report_of(model)
    assert report.model is not None
    row, attention = ROWS[model], report.model.attention

    assert int(row["full_layers"] or 0) == attention.full_layers
    assert int(row["windowed_layers"] or 0) == attention.windowed_layers
    assert int(row["window"] or 0) == attention.window
    assert int(row["experts"] or 0) == report.model.experts
    assert (row["tied"] == "true") == report.model.tied_embeddings
    if row["head_dim"].isdigit():
        assert int(row["head_dim"]) == attention.head_dim


def test_quantised_base_models_keep_their_form() -> None:
    """The form a listed model is published in is known and told."""
    forms = {
        model: report.model.quantization
        for model in ROWS
        if (report := report_of(model)).model and report.model.quantization
    }

    assert forms == {
        "deepseek-ai__DeepSeek-R1": "fp8",
        "deepseek-ai__DeepSeek-V3": "fp8",
        "deepseek-ai__DeepSeek-V3.1": "fp8",
        "openai__gpt-oss-20b": "mxfp4",
        "openai__gpt-oss-120b": "mxfp4",
    }


def test_float32_base_is_served_in_bfloat16() -> None:
    """Gemma-2 27B is published in float32; disk size is not GPU size."""
    report = report_of("google__gemma-2-27b")
    assert report.model is not None

    assert report.model.dtype == "bfloat16"
    assert "float32-weights" in codes_of(report)
    assert report.model.weight_bytes == 4 * report.model.parameters


@pytest.mark.parametrize(
    "model",
    ["meta-llama__Llama-3.1-8B", "google__gemma-3-4b-it", "deepseek-ai__DeepSeek-V3.1"],
)
def test_strict_admits_listed_models(model: str) -> None:
    """The strict setting refuses none of the list."""
    config = config_of(model)

    assert errors_of(inspected(model_files(config, shards=3), strict=True)) == []


def _vocabulary(config: dict[str, Any], rows: int) -> dict[str, Any]:
    if "text_config" in config:
        text = {**config["text_config"], "vocab_size": rows}
        return {**config, "text_config": text}
    return {**config, "vocab_size": rows}


@pytest.mark.parametrize(
    "model", [name for name in ROWS if int(ROWS[name]["experts"] or 0) < 100]
)
def test_a_fine_tune_with_more_vocabulary_is_still_named(model: str) -> None:
    """Added tokens change neither verdict nor name."""
    grown = _vocabulary(config_of(model), 300_000)
    report = inspected(model_files(grown))
    published = report_of(model)
    assert report.model is not None
    assert published.model is not None

    assert errors_of(report) == []
    assert published.model.base_model == report.model.base_model


@pytest.mark.parametrize(
    "model",
    ["meta-llama__Llama-3.1-8B", "Qwen__Qwen3-8B", "codellama__CodeLlama-13b-hf"],
)
def test_the_newer_config_style_is_read(model: str) -> None:
    """Transformers 5 writes dtype, and rotary settings into rope_parameters."""
    old = config_of(model)
    new = {k: v for k, v in old.items() if k not in ("torch_dtype", "rope_theta")}
    new["dtype"] = old["torch_dtype"]
    scaling = new.pop("rope_scaling", None) or {"rope_type": "default"}
    new["rope_parameters"] = {**scaling, "rope_theta": old.get("rope_theta")}
    report = inspected(model_files(new))
    assert report.model is not None

    assert errors_of(report) == []
    assert ROWS[model]["name"] == report.model.base_model


def test_a_dropped_tied_head_is_no_loss() -> None:
    """Saving again drops lm_head where it is tied; the fine-tune is smaller."""
    config = config_of("Qwen__Qwen3-1.7B")

    assert "lm_head.weight" not in tensors_of(config)
    assert errors_of(inspected(model_files(config))) == []


def test_llama_3_0_is_not_taken_for_3_1() -> None:
    """The same dimensions without the scaled rotary embedding are unlisted."""
    config = config_of("meta-llama__Llama-3.1-8B") | {
        "rope_scaling": None,
        "max_position_embeddings": 8192,
    }
    report = inspected(model_files(config))
    assert report.model is not None

    assert report.model.base_model == ""
    assert "architecture-unlisted" in codes_of(report)


@pytest.mark.parametrize(
    ("model", "template", "name"),
    [
        ("deepseek-ai__DeepSeek-V3", "<think>{{ messages[0].content }}", "DeepSeek-R1"),
        (
            "Qwen__Qwen3-Next-80B-A3B-Instruct",
            "{{ messages[0].content }}<think>",
            "Qwen3-Next-80B-A3B-Thinking",
        ),
    ],
)
def test_the_template_tells_twins_apart(model: str, template: str, name: str) -> None:
    """Where configs are identical, thinking aloud is the difference."""
    files = {
        "config.json": json.dumps(config_of(model)).encode(),
        "chat_template.jinja": template.encode(),
    }
    report = inspected(files)
    assert report.model is not None

    assert name == report.model.base_model
    assert "base-model-alike" not in codes_of(report)
