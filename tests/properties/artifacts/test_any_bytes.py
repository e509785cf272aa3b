"""Whatever the bytes, an inspection ends with a report."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drops.models import TINY_LLAMA, model_files, tokenizer_files
from drops.stores import File, MemoryArtifacts, Sparse, pinned
from weightdrop.core.artifacts.exchange import (
    Answer,
    ReadRange,
    Rendering,
    Request,
)
from weightdrop.core.artifacts.inspect import inspect
from weightdrop.core.artifacts.policy import Policy
from weightdrop.core.artifacts.report import Report

OPTIONS = b'{"max_model_len": 512, "vllm_args": ["--enforce-eager"], "ttl": 60}'
MODEL: dict[str, File] = {
    **model_files(TINY_LLAMA, shards=2),
    "weightdrop.json": OPTIONS,
    "chat_template.jinja": b"{{ messages[0].content }}",
}


def archive(pickle: bytes, *, data: Mapping[str, bytes] | None = None) -> bytes:
    """A PyTorch archive around any pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr("m/data.pkl", pickle)
        for key, content in (data or {"0": b"\0" * 8}).items():
            packed.writestr(f"m/data/{key}", content)
        packed.writestr("m/version", b"3\n")
    return buffer.getvalue()


TABLE = (
    b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02"
    b"((X\x07\x00\x00\x00storageq\x03ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05"
    b"X\x03\x00\x00\x00cpuq\x06K\x02tq\x07QK\x00K\x02\x85q\x08K\x01\x85q\t\x89"
    b"ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\ru."
)
"""The pickle of {"a": a tensor of two floats}, as torch.save writes it."""
ARCHIVE: dict[str, File] = {
    "config.json": json.dumps(TINY_LLAMA).encode(),
    "pytorch_model.bin": archive(TABLE),
    **tokenizer_files(),
}


def driven(files: Mapping[str, File]) -> Report:
    """Run the pure inspection; no template is rendered."""
    store = MemoryArtifacts(files)
    inspection = inspect(pinned(store), Policy())

    def answer(request: Request) -> Answer:
        if isinstance(request, ReadRange):
            return store.read(
                "bucket",
                request.path,
                generation=1,
                start=request.start,
                length=request.length,
            )
        return tuple(Rendering() for _ in request.templates)

    try:
        batch = next(inspection)
        while True:
            batch = inspection.send(tuple(answer(request) for request in batch))
    except StopIteration as stop:
        report: Report = stop.value
        return report


def test_the_archive_is_sound_before_it_is_mutated() -> None:
    """The pickle above is read as the table it is."""
    report = driven(ARCHIVE)

    assert report.model is not None
    assert [t.name for t in report.model.tensors] == ["a"]


def mutate(rng: random.Random, data: bytes) -> bytes:
    """A few changes to some bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.random()
        if kind < 0.4 and changed:
            changed[at % len(changed)] = rng.randrange(256)
        elif kind < 0.6:
            del changed[at : at + rng.randint(1, 40)]
        elif kind < 0.8:
            changed[at:at] = rng.choice(
                (b"{", b"[", b'"', b"null", b"1e999", b"-1", b"\x80", b"99999999999999",
                 b'"quant_method":"x",', b"\\ud800", b"true", b"[[[[", b"NaN")
            )  # fmt: skip
        else:
            piece = bytes(changed[at : at + rng.randint(1, 60)])
            place = rng.randrange(len(changed) + 1)
            changed[place:place] = piece
    return bytes(changed)


def mutated_file(rng: random.Random, file: File) -> File:
    """The same for a file of which only the head is stored."""
    if isinstance(file, bytes):
        return mutate(rng, file)
    head = mutate(rng, file.head)
    return Sparse(head, max(file.size + rng.choice((-1, 0, 0, 0, 1)), len(head)))


@pytest.mark.parametrize("files", [MODEL, ARCHIVE], ids=["safetensors", "bin"])
@pytest.mark.parametrize("seed", range(3))
def test_a_mutated_drop_ends_in_a_report(files: dict[str, File], seed: int) -> None:
    """400 drops with a damaged file each: a verdict every time, never a crash."""
    rng = random.Random(seed)
    verdicts = set()
    for _ in range(400):
        name = rng.choice(list(files))
        file = mutated_file(rng, files[name])
        padded = (
            file
            if isinstance(file, bytes)
            else Sparse(file.head + b"\0" * 4096, file.size + 4096)
        )
        verdicts.add(driven({**files, name: padded}).verdict)

    assert verdicts


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from([*MODEL, "pytorch_model.bin", "hf_quant_config.json"]),
    data=st.binary(max_size=300),
)
def test_any_bytes_under_any_name_end_in_a_report(name: str, data: bytes) -> None:
    """Random bytes in place of any file."""
    assert driven({**MODEL, name: data}).verdict


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(key=st.sampled_from(sorted(TINY_LLAMA)), value=JSON)
def test_any_value_in_config_ends_in_a_report(key: str, value: object) -> None:
    """Any JSON value in place of any value of config.json."""
    config = json.dumps({**TINY_LLAMA, key: value}).encode()

    assert driven({**MODEL, "config.json": config}).verdict


NESTED = ("text_config", "vision_config", "quantization_config", "rope_scaling",
          "rope_parameters", "layer_types", "no_rope_layers", "moe_layers",
          "mlp_only_layers", "auto_map", "architectures")  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    architecture=st.sampled_from(
        ["LlamaForCausalLM", "Gemma3ForConditionalGeneration", "GptOssForCausalLM",
         "Llama4ForConditionalGeneration", "DeepseekV3ForCausalLM",
         "Qwen3NextForCausalLM", "Qwen3MoeForCausalLM", "GPT2LMHeadModel"]
    ),
    key=st.sampled_from(NESTED),
    value=JSON,
)  # fmt: skip
def test_any_structure_in_config_ends_in_a_report(
    architecture: str, key: str, value: object
) -> None:
    """Any JSON value where a structure is expected, for each family."""
    config = {**TINY_LLAMA, "architectures": [architecture], key: value}

    assert driven({**MODEL, "config.json": json.dumps(config).encode()}).verdict


@settings(max_examples=300, deadline=None)
@given(
    document=st.dictionaries(
        st.sampled_from(
            ["chat_template", "added_tokens_decoder", "tokenizer_class", "auto_map",
             "model", "added_tokens", "weight_map", "metadata", "quantization"]
        ),
        JSON,
    ),
    name=st.sampled_from(
        ["tokenizer_config.json", "tokenizer.json", "added_tokens.json",
         "chat_template.json", "weightdrop.json", "hf_quant_config.json",
         "generation_config.json", "model.safetensors.index.json"]
    ),
)  # fmt: skip
def test_any_document_ends_in_a_report(document: object, name: str) -> None:
    """Any JSON object in place of any document."""
    assert driven({**MODEL, name: json.dumps(document).encode()}).verdict
