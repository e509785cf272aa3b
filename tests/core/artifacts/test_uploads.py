"""Real broken or odd uploads get the verdict a careful engineer would give."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from drops.inspecting import codes_of, errors_of, inspected
from drops.models import index_of, shard, split, tensors_of, tokenizer_files
from drops.stores import File
from weightdrop.core.artifacts.findings import Severity, Verdict
from weightdrop.core.artifacts.report import Report

UPLOADS = Path(__file__).parents[2] / "data" / "models" / "uploads"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Case:
    """What an upload amounts to.

    Attributes:
        verdict: The verdict.
        errors: Codes that reject, exactly.
        base_model: The name it gets.
        missing: Some of the files still to come.
        awaited: How many files are still to come.
        why: The reason, for whoever wonders.
    """

    verdict: Verdict
    why: str
    errors: frozenset[str] = frozenset()
    base_model: str = ""
    missing: tuple[str, ...] = ()
    awaited: int = 0


WAITS, REFUSED = Verdict.INCOMPLETE, Verdict.REJECTED
BOTH = ("tokenizer.json", "tokenizer_config.json")
CASES = {
    "bnb_int8_llama31_8b": Case(
        REFUSED,
        "quantised by its config, and two files are pointers: no upload mends that",
        frozenset({"quantized", "lfs-pointer"}),
        "Llama-3.1 8B",
        ("model-00002-of-00002.safetensors",),
        1,
    ),
    "bnb_nf4_llama2_13b": Case(
        REFUSED,
        "quantised by its config, although no weights have arrived",
        frozenset({"quantized"}),
        "Llama-2 13B",
        BOTH,
        4,
    ),
    "both_formats_fp32_llama2_7b": Case(
        WAITS,
        "both indexes are there: the safetensors are awaited, the .bin set is not",
        base_model="Llama-2 7B",
        missing=("model-00001-of-00003.safetensors", *BOTH),
        awaited=5,
    ),
    "empty_quantization_config": Case(
        WAITS,
        "an empty quantization_config is no quantisation; weights are to come",
        base_model="CodeLlama-13B",
        missing=("model.safetensors", *BOTH),
        awaited=3,
    ),
    "empty_weight_map": Case(
        REFUSED,
        "an index without tensors can never be served",
        frozenset({"index-empty"}),
        missing=("config.json", *BOTH),
        awaited=3,
    ),
    "fp32_70b_162_shards": Case(
        WAITS,
        "a good index alone: 162 shards, config and tokenizer are to come",
        missing=("config.json", "model-00162-of-00162.safetensors", *BOTH),
        awaited=165,
    ),
    "fp8_name_without_quantization_config": Case(
        WAITS,
        "no quantisation is declared; the tensors will tell",
        base_model="Qwen3-Next-80B-A3B-Instruct",
        missing=("model.safetensors", *BOTH),
        awaited=3,
    ),
    "mixtral_both_formats": Case(
        WAITS,
        "38 weight files are named, but only the 19 safetensors count",
        base_model="Mixtral-8x7B-v0.1",
        missing=("model-00019-of-00019.safetensors", *BOTH),
        awaited=21,
    ),
    "mixtral_extra_vocab_bin_only": Case(
        WAITS,
        "a .bin set is served if nothing else is there; trust_remote_code in the "
        "tokenizer's settings is read by nobody",
        base_model="Mixtral-8x7B-v0.1",
        missing=("pytorch_model-00019-of-00019.bin", "tokenizer.json"),
        awaited=20,
    ),
    "mlx_quant_no_quant_method": Case(
        REFUSED,
        "bits and group_size are quantisation by any name",
        frozenset({"quantized"}),
        missing=("model-00014-of-00014.safetensors", *BOTH),
        awaited=16,
    ),
    "one_tensor_per_file_llama32_3b": Case(
        WAITS,
        "254 files with odd names are as good as any: the index says so",
        base_model="Llama-3.2 3B",
        missing=("embed_tokens.safetensors", *BOTH),
        awaited=256,
    ),
    "single_file_with_index_qwen3_1p7b": Case(
        WAITS,
        "the one file is awaited; the script that would assemble it is ignored",
        base_model="Qwen3 1.7B",
        missing=("model.safetensors", *BOTH),
        awaited=3,
    ),
    "size_mismatch_llama32_1b": Case(
        REFUSED,
        "the weights are a pointer",
        frozenset({"lfs-pointer"}),
        "Llama-3.2 1B",
        BOTH,
        2,
    ),
    "stub_config_model_type_only": Case(
        REFUSED,
        "no architectures: the engine cannot know what to build",
        frozenset({"architecture-missing"}),
        missing=("model.safetensors", *BOTH),
        awaited=3,
    ),
    "tiny_index_total_size_zero": Case(
        WAITS,
        "one shard of a layer's tensors may still come, and the config",
        missing=("config.json", "model-00001-of-00001.safetensors", *BOTH),
        awaited=4,
    ),
    "total_size_wrong_llama3_8b": Case(
        WAITS,
        "the total is wrong, which matters little; four shards are to come. It is "
        "Llama 3, not 3.1, and so not on the list",
        missing=("model-00004-of-00004.safetensors", *BOTH),
        awaited=6,
    ),
    "v5_style_llama": Case(
        WAITS,
        "the newer config style is read; no listed model has these dimensions",
        missing=("model.safetensors", *BOTH),
        awaited=3,
    ),
}


def upload(name: str) -> dict[str, File]:
    """The files of an upload."""
    return {path.name: path.read_bytes() for path in (UPLOADS / name).iterdir()}


def test_every_upload_has_a_case() -> None:
    """No upload goes untested."""
    assert sorted(CASES) == sorted(path.name for path in UPLOADS.iterdir())


@pytest.mark.parametrize("name", CASES)
def test_upload_gets_its_verdict(name: str) -> None:
    """The verdict, the name and the files still to come are as they should be."""
    case = CASES[name]
    report = inspected(upload(name))

    assert case.verdict == report.verdict, case.why
    assert case.errors == set(errors_of(report)), case.why
    assert case.awaited == len(report.missing)
    assert set(case.missing) <= set(report.missing)
    assert case.base_model == (report.model.base_model if report.model else "")


def completed(name: str) -> Report:
    """The report on an upload after its weights and tokenizer arrived."""
    files = upload(name)
    config = json.loads(_bytes(files["config.json"]))
    weight_map = json.loads(_bytes(files[INDEX]))["weight_map"]
    tensors = tensors_of(config)
    shards: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {}
    for tensor, file in weight_map.items():
        kind = tensors.get(tensor, ("F32", (64,)))
        shards.setdefault(file, {})[tensor] = kind
    files |= {file: shard(part) for file, part in shards.items()}
    return inspected(files | tokenizer_files())


def _bytes(file: File) -> bytes:
    assert isinstance(file, bytes)
    return file


@pytest.mark.parametrize(
    ("name", "warnings"),
    [
        ("one_tensor_per_file_llama32_3b", []),
        ("mixtral_both_formats", []),
        ("single_file_with_index_qwen3_1p7b", []),
        ("total_size_wrong_llama3_8b", ["index-total-size"]),
        ("both_formats_fp32_llama2_7b", []),
    ],
)
def test_upload_is_accepted_once_complete(name: str, warnings: list[str]) -> None:
    """What was only incomplete is served when the rest has come."""
    report = completed(name)

    assert report.verdict == Verdict.ACCEPTED
    assert warnings == codes_of(report, Severity.WARNING)
    assert report.missing == ()


def test_a_config_of_fewer_layers_than_tensors_is_refused() -> None:
    """A merge whose config.json is of another model fails before it costs."""
    config = json.loads((UPLOADS / "v5_style_llama/config.json").read_text())
    tensors = tensors_of(config)
    wrong = config | {"num_hidden_layers": 8, "vocab_size": 50257}
    report = inspected(
        {
            "config.json": json.dumps(wrong).encode(),
            "model.safetensors": shard(tensors),
            **tokenizer_files(),
        }
    )

    assert errors_of(report) == ["tensor-shape", "tensor-unexpected"]


def test_two_splits_side_by_side_count_once() -> None:
    """A second split of the same weights is named and ignored."""
    config = json.loads((UPLOADS / "v5_style_llama/config.json").read_text())
    tensors = tensors_of(config)
    four = {f"model-{at}-of-4.safetensors": p for at, p in enumerate(split(tensors, 4))}
    two = {f"model-{at}-of-2.safetensors": p for at, p in enumerate(split(tensors, 2))}
    report = inspected(
        {
            "config.json": json.dumps(config).encode(),
            **{name: shard(part) for name, part in (four | two).items()},
            INDEX: index_of(four),
            **tokenizer_files(),
        }
    )
    assert report.model is not None

    assert report.verdict == Verdict.ACCEPTED
    assert codes_of(report, Severity.WARNING) == ["stray-weights"]
    assert set(two) <= set(report.ignored)
    assert set(four) <= set(report.served_files)
    assert len(tensors) == len(report.model.tensors)
