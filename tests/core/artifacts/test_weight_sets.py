"""Which files are the model, what is missing, and what is left alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drops.inspecting import codes_of, errors_of, inspected
from drops.models import (
    TINY_LLAMA,
    data_bytes,
    header,
    index_of,
    model_files,
    shard,
    split,
    tensors_of,
    tokenizer_files,
    weight_files,
)
from drops.stores import File, Sparse
from weightdrop.core.artifacts.findings import Severity, Verdict

INDEX = "model.safetensors.index.json"
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\n"
    b"size 4976772687\n"
)
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def good(**more: File) -> dict[str, File]:
    """A complete tiny model in two shards, with further files."""
    return {**model_files(TINY_LLAMA, shards=2), **more}


def with_index(**changes: Any) -> dict[str, File]:
    """A tiny model whose index says something else."""
    files = good()
    index = files[INDEX]
    assert isinstance(index, bytes)
    document = json.loads(index)
    return files | {INDEX: json.dumps({**document, **changes}).encode()}


def weight_map() -> dict[str, str]:
    """The tiny model's own weight_map."""
    index = good()[INDEX]
    assert isinstance(index, bytes)
    mapping: dict[str, str] = json.loads(index)["weight_map"]
    return mapping


def test_a_tiny_model_is_accepted_with_notices_alone() -> None:
    """A listed architecture at unlisted dimensions is served."""
    report = inspected(good())
    assert report.model is not None

    assert report.verdict == Verdict.ACCEPTED
    assert codes_of(report) == ["architecture-unlisted"]
    assert report.model.base_model == ""
    assert report.model.parameters == 202_048


def test_strict_refuses_what_is_not_listed() -> None:
    """Under the strict setting a tiny model is none of the list."""
    assert errors_of(inspected(good(), strict=True)) == ["model-unlisted"]


@pytest.mark.parametrize(
    "absent",
    ["config.json", INDEX, ONE, TWO, "tokenizer.json", "tokenizer_config.json"],
)
def test_each_missing_file_is_named_and_waited_for(absent: str) -> None:
    """What may still arrive never rejects."""
    files = good()
    del files[absent]
    report = inspected(files)

    assert report.verdict == Verdict.INCOMPLETE
    assert (absent,) == report.missing


@pytest.mark.parametrize("shown", range(1, 8))
def test_any_part_of_an_upload_is_incomplete(shown: int) -> None:
    """However the files arrive, none but the last makes a verdict."""
    files = good()
    names = sorted(files)[:shown] if shown < len(files) else []

    report = inspected({name: files[name] for name in names})

    expected = set(files) - set(names) - {"generation_config.json"}
    assert report.verdict == Verdict.INCOMPLETE
    assert set(report.missing) <= expected | {"model.safetensors"}


def test_nothing_at_all_is_incomplete() -> None:
    """An empty folder waits for everything."""
    assert inspected({}).verdict == Verdict.INCOMPLETE


@pytest.mark.parametrize(
    "file", [ONE, "tokenizer.json", "config.json", INDEX, "tokenizer.model"]
)
def test_a_pointer_is_an_error_at_once(file: str) -> None:
    """A Git LFS pointer is not the file, and waiting does not help."""
    assert "lfs-pointer" in errors_of(inspected(good(**{file: POINTER})))


@pytest.mark.parametrize("file", [ONE, "tokenizer.json", "config.json", INDEX])
def test_an_empty_file_is_an_error(file: str) -> None:
    """A needed file without bytes was cut off."""
    assert "empty-file" in errors_of(inspected(good(**{file: b""})))


def resized(change: int) -> dict[str, File]:
    """A tiny model whose first shard has more or fewer bytes than it says."""
    files = good()
    whole = files[ONE]
    assert isinstance(whole, Sparse)
    return files | {ONE: Sparse(whole.head, whole.size + change)}


@pytest.mark.parametrize(
    ("change", "code"),
    [(-1, "shard-truncated"), (-1000, "shard-truncated"), (1, "shard-trailing")],
)
def test_a_shard_of_another_length_is_an_error(change: int, code: str) -> None:
    """Header and object size must agree to the byte; the offset says where."""
    report = inspected(resized(change))
    finding = report.findings[0]

    assert [code] == errors_of(report)
    assert finding.file == ONE
    assert finding.offset is not None


@pytest.mark.parametrize(
    "target",
    [
        "/etc/model.safetensors",
        "../model.safetensors",
        "sub/model.safetensors",
        "..\\model.safetensors",
        "model.bin",
        "model.safetensors\u202e",
        "",
        7,
        None,
    ],
)
def test_an_index_never_leads_out_of_the_folder(target: Any) -> None:
    """A weight_map value is a plain name of a safetensors file, or refused."""
    mapping: dict[str, Any] = weight_map()
    mapping["lm_head.weight"] = target

    assert "index-path" in errors_of(inspected(with_index(weight_map=mapping)))


@pytest.mark.parametrize(
    "index",
    [
        b"[]",
        b"{}",
        b'{"weight_map": []}',
        b"{",
        b'{"weight_map": {"a": "x.safetensors"}, "weight_map": {}}',
        b'{"weight_map": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"\xff\xfe",
    ],
)
def test_a_broken_index_is_refused(index: bytes) -> None:
    """What is no index is said to be none; nothing else is blamed on it."""
    report = inspected(good(**{INDEX: index}))

    assert errors_of(report) == ["index-invalid"]
    assert report.missing == ()


def test_the_index_is_held_against_the_headers() -> None:
    """A tensor that the index names must be in the file it names."""
    swapped = {
        name: {ONE: TWO, TWO: ONE}[file] if name == "lm_head.weight" else file
        for name, file in weight_map().items()
    }
    absent = weight_map() | {"model.layers.9.extra.weight": ONE}

    assert errors_of(inspected(with_index(weight_map=swapped))) == [
        "index-tensor-elsewhere"
    ]
    assert errors_of(inspected(with_index(weight_map=absent))) == [
        "index-tensor-absent"
    ]


def test_the_headers_are_held_against_the_index() -> None:
    """A tensor the index leaves out is told; the engine loads it all the same."""
    mapping = weight_map()
    del mapping["lm_head.weight"]
    report = inspected(with_index(weight_map=mapping))

    assert report.verdict == Verdict.ACCEPTED
    assert codes_of(report, Severity.WARNING) == ["index-tensor-unlisted"]


@pytest.mark.parametrize("total", [0, 1, 10**18, -5, 1.0])
def test_a_lying_total_size_is_told_and_not_believed(total: float) -> None:
    """The size comes from the headers, whatever the index claims."""
    report = inspected(with_index(metadata={"total_size": total}))
    assert report.model is not None

    assert codes_of(report, Severity.WARNING) == ["index-total-size"]
    assert report.model.weight_bytes == 404_096


def test_a_tensor_in_two_files_is_refused() -> None:
    """Which of the two would be served is anybody's guess."""
    first, second = split(tensors_of(TINY_LLAMA), 2)
    name = next(iter(first))
    files = good(**{TWO: shard(second | {name: first[name]})})

    assert "tensor-twice" in errors_of(inspected(files))


def test_tensors_that_are_nowhere_are_named() -> None:
    """All files are there, but the checkpoint is not whole."""
    tensors = tensors_of(TINY_LLAMA)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    files = model_files(TINY_LLAMA) | weight_files(tensors)
    report = inspected(files)

    assert errors_of(report) == ["tensor-missing"]
    assert "model.layers.1.mlp.up_proj.weight" in report.findings[0].detail


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("v_head.summary.weight", "tensor-unexpected"),
        ("base_model.model.lm_head.weight", "tensor-unexpected"),
        ("model.layers.2.input_layernorm.weight", "tensor-unexpected"),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", "tensor-unexpected"),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", "tensor-extra"),
    ],
)
def test_a_tensor_without_a_place_is_found(name: str, code: str) -> None:
    """The engine refuses unknown names at start-up, and skips known buffers."""
    tensors = tensors_of(TINY_LLAMA) | {name: ("F32", (64,))}
    report = inspected(model_files(TINY_LLAMA) | weight_files(tensors))

    assert code in codes_of(report)
    assert (code == "tensor-unexpected") == bool(errors_of(report))


@pytest.mark.parametrize(
    "copies",
    [
        {"original/consolidated.00.pth": b"x" * 2000},
        {"original/model.safetensors": b"x" * 2000},
        {"metal/model.bin": b"x" * 2000},
        {"consolidated.00.pt": b"x" * 2000},
        {"consolidated.safetensors": b"x" * 2000},
        {"model-q4.gguf": b"GGUF" * 500},
        {"pytorch_model.bin": b"x" * 2000},
        {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x" * 2000},
    ],
)
def test_second_copies_are_named_and_not_counted(copies: dict[str, File]) -> None:
    """A second set of weights changes neither verdict nor size."""
    report = inspected(good(**copies))
    assert report.model is not None

    assert report.verdict == Verdict.ACCEPTED
    assert [c for c in codes_of(report) if "listed" not in c] == ["second-copy"]
    assert report.model.weight_bytes == 404_096
    assert set(copies) <= set(report.ignored)
    assert not set(copies) & set(report.served_files)


@pytest.mark.parametrize(
    ("weights", "code"),
    [
        ("model.gguf", "weights-gguf"),
        ("sub/model.gguf", "weights-gguf"),
        ("consolidated.00.pth", "weights-format"),
        ("model.ckpt", "weights-format"),
        ("tf_model.h5", "weights-format"),
        ("adapter_model.safetensors", "adapter-only"),
    ],
)
def test_weights_in_no_served_form_are_refused(weights: str, code: str) -> None:
    """Where these are the only weights, no upload of the rest will help."""
    files = {
        "config.json": json.dumps(TINY_LLAMA).encode(),
        weights: b"x" * 5000,
        **tokenizer_files(),
    }

    assert [code] == errors_of(inspected(files))


def test_gguf_beside_shards_that_are_coming_waits() -> None:
    """A GGUF file may be a second copy of what is still under way."""
    files = good(**{"model.gguf": b"GGUF" * 500})
    del files[ONE]

    assert inspected(files).verdict == Verdict.INCOMPLETE


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"GGUF\x03\x00\x00\x00", "GGUF"),
        (b"PK\x03\x04\x00\x00\x00\x00", "zip"),
        (b"\x80\x02}q\x00(X\x00", "pickle"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "gzip"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "7z"),
        (b"<!DOCTYPE html>", "web page"),
    ],
)
def test_what_only_ends_in_safetensors_is_named(head: bytes, word: str) -> None:
    """Magic bytes decide what a file is, not its name."""
    files = model_files(TINY_LLAMA) | {"model.safetensors": head + b"\0" * 5000}
    report = inspected(files)

    assert errors_of(report) == ["header-length"]
    assert word in report.findings[0].detail


def test_a_single_shard_of_any_name_needs_no_index() -> None:
    """The engine loads whatever one file there is."""
    files = model_files(TINY_LLAMA)
    files["weights.safetensors"] = files.pop("model.safetensors")

    assert inspected(files).verdict == Verdict.ACCEPTED


def test_one_shard_of_several_waits_for_the_index() -> None:
    """A lone part of a series is no model."""
    files = model_files(TINY_LLAMA)
    files[ONE] = files.pop("model.safetensors")
    report = inspected(files)

    assert report.missing == (INDEX,)


def test_a_model_in_a_subfolder_is_pointed_at() -> None:
    """The folder above a model has no config.json, and says where one is."""
    report = inspected({f"final/{name}": data for name, data in good().items()})

    assert report.verdict == Verdict.INCOMPLETE
    assert "final/config.json" in " ".join(f.detail for f in report.findings)


@pytest.mark.parametrize("name", ["config (4).json", "tokenizer (2).json"])
def test_a_file_renamed_by_a_browser_is_pointed_at(name: str) -> None:
    """What looks like a needed file is not taken for it."""
    assert "renamed-file" in codes_of(inspected(good(**{name: b"{}"})))


@pytest.mark.parametrize(
    "name",
    ["a/../b.json", "/abs.json", "a\\b", "x\u202ey.json", "a//b", "n" * 1100, "\x07"],
)
def test_unsafe_names_are_refused(name: str) -> None:
    """A name that could leave the folder or deceive a reader."""
    assert errors_of(inspected(good(**{name: b"x"}))) == ["unsafe-name"]


def test_names_that_differ_in_case_alone_are_refused() -> None:
    """On the disk of some machines one would overwrite the other."""
    assert errors_of(inspected(good(**{"Config.json": b"{}"}))) == ["names-collide"]


def test_ten_thousand_objects_are_too_many() -> None:
    """Not even the first is read then."""
    report = inspected({f"f{at}": b"" for at in range(10_001)})

    assert errors_of(report) == ["too-many-files"]
    assert report.reads.requests == 0


def test_headers_are_read_and_nothing_else() -> None:
    """Two reads a shard: its length, and its header; the store refuses more."""
    report = inspected(good())
    tensors = tensors_of(TINY_LLAMA)
    heads = sum(len(header(part)) for part in split(tensors, 2))
    others = sum(len(d) for d in good().values() if isinstance(d, bytes))

    assert report.reads.requests == 9
    assert heads + others == report.reads.bytes
    assert data_bytes(tensors) > report.reads.bytes


def test_an_index_of_everything_in_one_file_is_read() -> None:
    """An index may name a single file."""
    tensors = tensors_of(TINY_LLAMA)
    files = model_files(TINY_LLAMA) | {INDEX: index_of({"model.safetensors": tensors})}

    assert inspected(files).verdict == Verdict.ACCEPTED
