"""Codes of findings about files: what is there, and whether it is sound.

Together with model_codes the single source: findings are made from the codes,
docs/findings.md is written from them (tools/findings_page.py), and a test holds
the page to them.
"""

from __future__ import annotations

from weightdrop.core.artifacts.code import error, missing, notice, warning

_SAFETENSORS = (
    "Save it again as safetensors (save_pretrained does so by default) and drop "
    "that folder."
)
_UPLOAD_AGAIN = "Upload the file again from a source where it loads."
_SAVE_AGAIN = "Save the model again with its own library and upload the result."


# ------------------------------------------------------------ what is missing

CONFIG_MISSING = missing(
    "config-missing", "There is no config.json in the folder.", "Upload config.json."
)
INDEX_MISSING = missing(
    "index-missing",
    "There are several weight files, but no index that says which belong together.",
    "Upload model.safetensors.index.json, or save the model as one file.",
)
WEIGHTS_MISSING = missing(
    "weights-missing",
    "Weight files have not arrived: those the index names, or any at all.",
    "Upload the named files.",
)
TOKENIZER_MISSING = missing(
    "tokenizer-missing",
    "None of the tokenizer files that suffice for the architecture is there.",
    "Upload the tokenizer's files beside config.json.",
)
TOKENIZER_CONFIG_MISSING = missing(
    "tokenizer-config-missing",
    "There is no tokenizer_config.json.",
    "Upload tokenizer_config.json beside config.json.",
)

# --------------------------------------------------------- the set as a whole

BUCKET_DELETES = warning(
    "bucket-deletes",
    "Replicas read the bucket itself, and a lifecycle rule of it deletes their files.",
    "Limit the rule to other prefixes, or let replicas read Vertex AI's copy "
    "(WEIGHTDROP_WEIGHTS=copy).",
)
BUCKET_FORGETS = warning(
    "bucket-forgets",
    "Replicas read the bucket itself, which keeps nothing that is overwritten or "
    "deleted: they could not start again after either.",
    "Turn on object versioning (gcloud storage buckets update --versioning), or let "
    "replicas read Vertex AI's copy (WEIGHTDROP_WEIGHTS=copy).",
)
BUCKET_RESTORES = notice(
    "bucket-restores",
    "Replicas read the bucket itself; a file that is overwritten or deleted must be "
    "restored out of soft delete before another can start.",
    "Turn on object versioning for replicas to find such files by themselves.",
)
BUCKET_UNKNOWN = notice(
    "bucket-unknown",
    "Replicas read the bucket itself, and how it keeps objects may not be read here.",
    "Grant storage.buckets.get (roles/storage.legacyBucketReader) on the bucket.",
)

TOO_MANY_FILES = error(
    "too-many-files",
    "More objects lie below the prefix than one model can have.",
    "Drop the model alone in a folder of its own.",
)
TOO_MANY_SHARDS = error(
    "too-many-shards",
    "There are more weight files than are looked at.",
    "Save the model with larger shards (max_shard_size).",
)
UNSAFE_NAME = error(
    "unsafe-name",
    "An object name would leave the folder, or cannot be shown or stored safely.",
    "Rename the object.",
)
NAMES_COLLIDE = error(
    "names-collide",
    "Two object names differ in upper and lower case alone.",
    "Remove one of the two objects.",
)
LFS_POINTER = error(
    "lfs-pointer",
    "A file is a Git LFS pointer, not the file itself.",
    "Run `git lfs pull` in the clone and upload the real files.",
)
EMPTY_FILE = error("empty-file", "A file that is needed has no bytes.", _UPLOAD_AGAIN)
ADAPTER_ONLY = error(
    "adapter-only",
    "The folder holds an adapter (LoRA), but not the model it adapts.",
    "Merge the adapter into its base model (merge_and_unload) and drop the result.",
)
WEIGHTS_FORMAT = error(
    "weights-format",
    "The only weights are in a format that cannot be served.",
    _SAFETENSORS,
)
WEIGHTS_GGUF = error(
    "weights-gguf",
    "The only weights are GGUF files, which are quantised.",
    "Drop the original weights as safetensors.",
)
SECOND_COPY = notice(
    "second-copy",
    "Files that hold the weights a second time are ignored and not counted.",
    "Nothing. Leaving them out saves the upload.",
)
IGNORED_FILES = notice(
    "ignored-files",
    "Files that serving never uses are ignored.",
    "Nothing. Leaving them out saves the upload.",
)
CODE_IGNORED = notice(
    "code-ignored",
    "Code in the folder is never run; the engine has this architecture built in.",
    "Nothing.",
)
STRAY_WEIGHTS = warning(
    "stray-weights",
    "Weight files that the index does not name are ignored.",
    "Remove them, or upload the index that belongs to them.",
)
SUBFOLDER = notice(
    "subfolder",
    "There is a model in a folder below this one.",
    "Drop that folder, or move its files up, if it is the one you mean.",
)
RENAMED_FILE = warning(
    "renamed-file",
    "A file looks like one that is needed, renamed by a browser.",
    "Rename it to the plain name if it is meant.",
)

# ------------------------------------------------------------------ documents

DOCUMENT_INVALID = error(
    "document-invalid",
    "A JSON file that serving reads cannot be parsed safely.",
    _UPLOAD_AGAIN,
)
DOCUMENT_TOO_LARGE = error(
    "document-too-large",
    "A JSON file is far larger than such a file ever is.",
    "Check what was uploaded under this name.",
)

# ---------------------------------------------------------------------- index

INDEX_INVALID = error(
    "index-invalid",
    "The index has no usable weight_map.",
    _SAVE_AGAIN,
)
INDEX_EMPTY = error("index-empty", "The index names no tensor at all.", _SAVE_AGAIN)
INDEX_PATH = error(
    "index-path",
    "The index points outside the folder, below it, or at no weight file.",
    "Put the weight files beside the index and name them plainly.",
)
INDEX_TENSOR_ABSENT = error(
    "index-tensor-absent",
    "The index names a tensor that its weight file does not hold.",
    "Upload index and weight files of the same save.",
)
INDEX_TENSOR_ELSEWHERE = error(
    "index-tensor-elsewhere",
    "A tensor lies in another weight file than the index says.",
    "Upload index and weight files of the same save.",
)
INDEX_TENSOR_UNLISTED = warning(
    "index-tensor-unlisted",
    "Weight files hold tensors that the index does not name.",
    "Upload index and weight files of the same save.",
)
INDEX_TOTAL_SIZE = warning(
    "index-total-size",
    "metadata.total_size of the index is not the size of the tensors.",
    "Nothing has to be done: the size is taken from the weight files themselves.",
)

# --------------------------------------------------------------- weight files

SHARD_TRUNCATED = error(
    "shard-truncated",
    "A weight file ends before its last tensor does.",
    "Upload the file again; the copy or its source is cut off.",
)
SHARD_TRAILING = error(
    "shard-trailing",
    "A weight file goes on after its last tensor.",
    _UPLOAD_AGAIN,
)
HEADER_LENGTH = error(
    "header-length",
    "The length at the start of a safetensors file cannot be that of a header.",
    "Check what the file really is, and upload it again.",
)
HEADER_INVALID = error(
    "header-invalid",
    "The header of a safetensors file breaks the format's rules.",
    _UPLOAD_AGAIN,
)
HEADER_TENSOR = error(
    "header-tensor",
    "An entry of a safetensors header breaks the format's rules.",
    _UPLOAD_AGAIN,
)
HEADER_LAYOUT = error(
    "header-layout",
    "The tensors of a safetensors file overlap or leave holes.",
    _UPLOAD_AGAIN,
)
TOO_MANY_TENSORS = error(
    "too-many-tensors",
    "The weight files hold more tensors, or larger headers, than any model needs.",
    _SAVE_AGAIN,
)
TENSOR_TWICE = error(
    "tensor-twice",
    "Two weight files hold a tensor of the same name.",
    "Remove the weight files that do not belong to this model.",
)
BIN_FORMAT = error(
    "bin-format",
    "A .bin file is not a plain PyTorch archive of tensors.",
    _SAFETENSORS,
)
BIN_PICKLE = error(
    "bin-pickle",
    "The pickle in a .bin file does more than describe tensors.",
    _SAFETENSORS,
)
BIN_TENSOR = error(
    "bin-tensor",
    "A tensor of a .bin file does not fit the bytes stored for it.",
    _SAFETENSORS,
)
BIN_WEIGHTS = notice(
    "bin-weights",
    "The weights are PyTorch archives. Their pickles were read, never run.",
    "Nothing. Safetensors load faster and are safe by design.",
)
