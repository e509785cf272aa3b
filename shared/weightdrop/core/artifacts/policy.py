"""The limits an inspection keeps to, whatever the bytes say."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Policy:
    """What is accepted, and how much is looked at.

    Attributes:
        strict: Refuse models that are not in the catalogue of base models.
        direct: Whether replicas will read the bucket itself, and not a copy.
        max_files: Objects below the prefix.
        max_shards: Weight files of one artifact set. The largest published
            one in the catalogue has 163.
        max_document_bytes: Size of config.json and its small siblings.
        max_index_bytes: Size of an index. DeepSeek-V3's has 9 MB.
        max_header_bytes: Size of one safetensors header.
        max_pickle_bytes: Size of the pickle in one PyTorch archive; one of
            1000 tensors has 150 kB.
        max_opcodes: Opcodes of all pickles of one artifact set.
        max_headers_bytes: Size of all headers together.
        batch_bytes: Bytes asked for in one batch, unless one request needs
            more; bounds the memory an inspection holds.
        max_tensors: Tensors of one artifact set. DeepSeek-V3 has 91 991.
        max_tensor_name: Bytes of a tensor's name.
        max_tokenizer_bytes: Size of tokenizer.json.
        max_template_bytes: Size of one chat template.
        max_templates: Chat templates that are rendered.
        time_limit_seconds: Time an inspection may take altogether.
    """

    strict: bool = False
    direct: bool = False
    max_files: int = 10_000
    max_shards: int = 2_000
    max_document_bytes: int = MIB
    max_index_bytes: int = 32 * MIB
    max_header_bytes: int = 32 * MIB
    max_pickle_bytes: int = 4 * MIB
    max_opcodes: int = 4_000_000
    max_headers_bytes: int = 128 * MIB
    batch_bytes: int = 32 * MIB
    max_tensors: int = 300_000
    max_tensor_name: int = 1024
    max_tokenizer_bytes: int = 64 * MIB
    max_template_bytes: int = 64 * KIB
    max_templates: int = 8
    time_limit_seconds: float = 120.0
