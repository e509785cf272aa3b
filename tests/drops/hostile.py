"""Drops made to exhaust whoever looks at them: `python -m drops.hostile NAME`.

Run in a process of its own, which prints what it took.
"""

from __future__ import annotations

import io
import json
import resource
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from drops.inspecting import inspected
from drops.models import TINY_LLAMA, model_files, tokenizer_files
from drops.stores import File, Sparse

MIB = 1024 * 1024
INDEX = "model.safetensors.index.json"
BASE: dict[str, File] = model_files(TINY_LLAMA)


def _with_header(header: bytes) -> dict[str, File]:
    head = struct.pack("<Q", len(header)) + header
    return {**BASE, "model.safetensors": Sparse(head, len(head))}


def _entries(count: int) -> bytes:
    entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    return ("{" + ",".join(f'"{at:x}":{entry}' for at in range(count)) + "}").encode()


def _shards(count: int, tensors: int) -> dict[str, File]:
    """Many shards, each with many tensors, and an index over all."""
    files: dict[str, File] = {**BASE}
    del files["model.safetensors"]
    names: dict[str, str] = {}
    for at in range(count):
        file = f"m{at}.safetensors"
        part = [f"model.layers.{at}.experts.{t}.weight" for t in range(tensors)]
        entry = '{"dtype":"BF16","shape":[0,7168],"data_offsets":[0,0]}'
        header = ("{" + ",".join(f'"{n}":{entry}' for n in part) + "}").encode()
        head = struct.pack("<Q", len(header)) + header
        files[file] = Sparse(head, len(head))
        names |= dict.fromkeys(part, file)
    return {**files, INDEX: json.dumps({"weight_map": names}).encode()}


def _experts() -> dict[str, File]:
    config = {
        **TINY_LLAMA,
        "architectures": ["DeepseekV3ForCausalLM"],
        "num_hidden_layers": 1024,
        "n_routed_experts": 4096,
        "moe_intermediate_size": 1,
        "kv_lora_rank": 512,
        "first_k_dense_replace": 0,
        "n_shared_experts": 1,
    }
    return {**BASE, "config.json": json.dumps(config).encode()}


def _deep(name: str) -> dict[str, File]:
    return {**BASE, name: b'{"a":' + b"[" * 500_000 + b"]" * 500_000 + b"}"}


def _wide_config() -> dict[str, File]:
    config = {**TINY_LLAMA, "x": [{"auto_map": {"a": "b"}}] * 30_000}
    return {**BASE, "config.json": json.dumps(config).encode()}


def _templates() -> dict[str, File]:
    loop = (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    )
    entries = [{"name": f"t{at}", "template": loop} for at in range(8)]
    settings = json.dumps({"chat_template": entries}).encode()
    return {**BASE, "tokenizer_config.json": settings}


def _pickle() -> dict[str, File]:
    files: dict[str, File] = {**BASE, **tokenizer_files()}
    del files["model.safetensors"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr("m/data.pkl", b"\x80\x02" + b"}" * (4 * MIB - 8) + b".")
        packed.writestr("m/data/0", b"")
    return {**files, "pytorch_model.bin": buffer.getvalue()}


def _most_layers() -> dict[str, File]:
    config = {
        **TINY_LLAMA,
        "architectures": ["Qwen3MoeForCausalLM"],
        "num_hidden_layers": 160,
        "num_experts": 1024,
        "moe_intermediate_size": 1,
    }
    return {**BASE, "config.json": json.dumps(config).encode()}


DROPS: dict[str, Callable[[], dict[str, File]]] = {
    "380 000 empty tensors": lambda: _with_header(_entries(380_000)),
    "299 000 empty tensors": lambda: _with_header(_entries(299_000)),
    "header of brackets": lambda: _with_header(b'{"a":' + b"[" * 31 * MIB),
    "header of lists": lambda: _with_header(b'{"a":[' + b"[]," * 10 * MIB + b"[]]}"),
    "header of objects": lambda: _with_header(b'{"a":[' + b"{}," * 10 * MIB + b"{}]}"),
    "header of numbers": lambda: _with_header(b'{"a":[' + b"999," * 7 * MIB + b"1]}"),
    "header of digits": lambda: _with_header(b'{"a":' + b"9" * 31 * MIB + b"}"),
    "header of one name": lambda: _with_header(b'{"' + b"a" * 31 * MIB + b'":1}'),
    "header of wide text": lambda: _with_header(
        ('{"' + "😀" * 7 * MIB + '":1}').encode()
    ),
    "header of blanks": lambda: _with_header(b"{" + b" " * 31 * MIB + b"}"),
    "many shards": lambda: _shards(100, 2900),
    "more shards": lambda: _shards(1990, 160),
    "index of brackets": lambda: {**BASE, INDEX: b'{"weight_map":' + b"[" * 31 * MIB},
    "index of names": lambda: {
        **BASE,
        INDEX: json.dumps(
            {"weight_map": {f"{at:040x}": f"{at}.safetensors" for at in range(400_000)}}
        ).encode(),
    },
    "deep config": lambda: _deep("config.json"),
    "deep settings": lambda: _deep("tokenizer_config.json"),
    "deep generation": lambda: _deep("generation_config.json"),
    "wide config": _wide_config,
    "most experts": _experts,
    "nearly most experts": _most_layers,
    "tokenizer of lists": lambda: {
        **BASE,
        "tokenizer.json": b'{"added_tokens":[' + b"[]," * 1_300_000 + b"[]]}",
    },
    "large tokenizer": lambda: {
        **BASE,
        "tokenizer.json": b'{"added_tokens":[' + b"{}," * 20 * MIB + b"{}]}",
    },
    "slow templates": _templates,
    "long pickle": _pickle,
}


def _peak() -> int:
    """KiB of memory this program held at most.

    Not `ru_maxrss`: across an exec Linux keeps there what the caller held.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def main() -> None:
    """Inspect one drop; print verdict, seconds and the most memory taken."""
    files = DROPS[sys.argv[1]]()
    before = _peak()
    start = time.process_time()
    report = inspected(files)
    used = _peak()
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    found = {
        "verdict": report.verdict,
        "codes": sorted({finding.code for finding in report.findings}),
        "seconds": time.process_time() - start,
        "before": before * 1024,
        "peak": used * 1024,
        "child": child * 1024,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
