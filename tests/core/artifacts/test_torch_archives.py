"""PyTorch archives: tables of tensors out of pickles that are never run."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from drops.inspecting import codes_of, errors_of, inspected
from drops.models import TINY_LLAMA, tensors_of, tokenizer_files
from drops.stores import File
from weightdrop.core.artifacts.findings import Verdict

torch = pytest.importorskip("torch")

BASE: dict[str, File] = {
    "config.json": json.dumps(TINY_LLAMA).encode(),
    **tokenizer_files(),
}


def state(**more: Any) -> dict[str, Any]:
    """The tensors of a tiny model, and more."""
    tensors = {
        name: torch.zeros(shape, dtype=torch.bfloat16)
        for name, (_, shape) in tensors_of(TINY_LLAMA).items()
    }
    return {**tensors, **more}


def saved(value: Any, **how: Any) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **how)
    return buffer.getvalue()


def drop(data: bytes) -> dict[str, File]:
    """A tiny model with these bytes as its weights."""
    return {**BASE, "pytorch_model.bin": data}


class Evil:
    """Runs when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_what_torch_saves_is_read() -> None:
    """The same table as for safetensors, to the byte, in three reads."""
    report = inspected(drop(saved(state())))
    assert report.model is not None
    found = {t.name: (t.dtype, t.shape) for t in report.model.tensors}

    assert report.verdict == Verdict.ACCEPTED
    assert "bin-weights" in codes_of(report)
    assert tensors_of(TINY_LLAMA) == found
    assert report.reads.requests == 6


def test_parameters_and_shared_storages_are_read() -> None:
    """Parameters are tensors, and two names may share their bytes."""
    tensors = {name: torch.nn.Parameter(t) for name, t in state().items()}
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]

    assert errors_of(inspected(drop(saved(tensors)))) == []


def test_shards_follow_their_index() -> None:
    """Several archives and an index, as for safetensors."""
    tensors = state()
    names = list(tensors)
    parts = {
        "pytorch_model-00001-of-00002.bin": names[:7],
        "pytorch_model-00002-of-00002.bin": names[7:],
    }
    index = {"weight_map": {n: file for file, part in parts.items() for n in part}}
    files: dict[str, File] = {
        file: saved({n: tensors[n] for n in part}) for file, part in parts.items()
    }
    files["pytorch_model.bin.index.json"] = json.dumps(index).encode()

    assert errors_of(inspected({**BASE, **files})) == []


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (Evil(print, "x"), "print"),
        (Evil(eval, "1"), "eval"),
        (Evil(__import__, "os"), "__import__"),
        (Evil(getattr, "", "x"), "getattr"),
        (Evil(torch.load, "x"), "torch"),
        ({"nested": 1}, "no tensor"),
        (7, "no tensor"),
        ("text", "no tensor"),
        ([1], "opcode"),
    ],
)
def test_a_pickle_that_does_more_is_refused(value: Any, word: str) -> None:
    """Nothing is called; the finding says what was asked for and where."""
    report = inspected(drop(saved(state(x=value))))

    assert errors_of(report) == ["bin-pickle"]
    assert word in report.findings[0].detail
    assert report.findings[0].offset


def _zip(**records: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
        for name, data in records.items():
            packed.writestr(f"m/{name}", data)
    return buffer.getvalue()


def _compressed() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("m/data.pkl", b"\x80\x02}." * 100)
    return buffer.getvalue()


def _renamed(data: bytes) -> bytes:
    """The local header says another name than the table of contents."""
    at = data.index(b"data.pkl")
    return data[:at] + b"evil.pkl" + data[at + 8 :]


WHOLE = saved(state())


@pytest.mark.parametrize(
    "data",
    [
        saved(state(), _use_new_zipfile_serialization=False),
        pickle.dumps({"a": 1}) * 1000,
        WHOLE[:-1],
        WHOLE[:-5000],
        WHOLE + b"x",
        b"x" + WHOLE,
        b"PK\x05\x06" + b"\0" * 18,
        b"7z\xbc\xaf\x27\x1c" + b"\0" * 5000,
        _compressed(),
        _renamed(WHOLE),
        _zip(**{"data.pkl": b"\x80\x02}.", "code/x.py": b"import os"}),
        _zip(**{"data.pkl": b"\x80\x02}.", "data/0": b"unused" * 100}),
        _zip(version=b"3"),
        WHOLE[:-22] + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, 10, 0, 0),
    ],
)
def test_anything_but_a_plain_archive_is_refused(data: bytes) -> None:
    """Readers disagree about odd archives, and that is how payloads hide."""
    report = inspected(drop(data))

    assert errors_of(report) == ["bin-format"]
    assert "safetensors" in report.findings[0].fix


def test_a_tensor_larger_than_its_bytes_is_refused() -> None:
    """A view of stride 0 would pass a few bytes off as any number of values."""
    wide = torch.zeros(1, dtype=torch.bfloat16).expand(1000, 64)

    assert errors_of(inspected(drop(saved(state(x=wide))))) == ["bin-tensor"]


def test_training_state_is_no_weights() -> None:
    """training_args.bin beside safetensors or alone is never opened."""
    files = {**BASE, "training_args.bin": saved({"a": Evil(print, "x")})}
    report = inspected(files)

    assert report.verdict == Verdict.INCOMPLETE
    assert "training_args.bin" in report.ignored
