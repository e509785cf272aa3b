"""Every code a finding of validation can have.

The table is the single source: findings are made from it, docs/findings.md is
written from it (tools/findings_page.py), and a test holds the three together.
"""

from __future__ import annotations

from dataclasses import dataclass

from weightdrop.core.artifacts.findings import Finding, Severity

_SAFETENSORS = (
    "Save it again as safetensors (save_pretrained does so by default) and drop "
    "that folder."
)
_UPLOAD_AGAIN = "Upload the file again from a source where it loads."
_SAVE_AGAIN = "Save the model again with its own library and upload the result."


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding.

    Attributes:
        name: Stable identifier.
        severity: How much every finding of this kind matters.
        meaning: What it is about, for the page of all codes.
        fix: What to do, unless the finding itself knows better.
    """

    name: str
    severity: Severity
    meaning: str
    fix: str

    def found(
        self, detail: str, *, file: str = "", offset: int | None = None, fix: str = ""
    ) -> Finding:
        """A finding of this kind."""
        return Finding(
            code=self.name,
            severity=self.severity,
            detail=detail,
            fix=fix or self.fix,
            file=file,
            offset=offset,
        )


ALL_CODES: dict[str, Code] = {}


def _code(name: str, severity: Severity, meaning: str, fix: str) -> Code:
    code = Code(name=name, severity=severity, meaning=meaning, fix=fix)
    ALL_CODES[name] = code
    return code


def _error(name: str, meaning: str, fix: str) -> Code:
    return _code(name, Severity.ERROR, meaning, fix)


def _missing(name: str, meaning: str, fix: str) -> Code:
    return _code(name, Severity.MISSING, meaning, fix)


def _warning(name: str, meaning: str, fix: str) -> Code:
    return _code(name, Severity.WARNING, meaning, fix)


def _notice(name: str, meaning: str, fix: str) -> Code:
    return _code(name, Severity.NOTICE, meaning, fix)


# ------------------------------------------------------------ what is missing

CONFIG_MISSING = _missing(
    "config-missing", "There is no config.json in the folder.", "Upload config.json."
)
INDEX_MISSING = _missing(
    "index-missing",
    "There are several weight files, but no index that says which belong together.",
    "Upload model.safetensors.index.json, or save the model as one file.",
)
WEIGHTS_MISSING = _missing(
    "weights-missing",
    "Weight files have not arrived: those the index names, or any at all.",
    "Upload the named files.",
)
TOKENIZER_MISSING = _missing(
    "tokenizer-missing",
    "None of the tokenizer files that suffice for the architecture is there.",
    "Upload the tokenizer's files beside config.json.",
)
TOKENIZER_CONFIG_MISSING = _missing(
    "tokenizer-config-missing",
    "There is no tokenizer_config.json.",
    "Upload tokenizer_config.json beside config.json.",
)

# --------------------------------------------------------- the set as a whole

TOO_MANY_FILES = _error(
    "too-many-files",
    "More objects lie below the prefix than one model can have.",
    "Drop the model alone in a folder of its own.",
)
TOO_MANY_SHARDS = _error(
    "too-many-shards",
    "There are more weight files than are looked at.",
    "Save the model with larger shards (max_shard_size).",
)
UNSAFE_NAME = _error(
    "unsafe-name",
    "An object name would leave the folder, or cannot be shown or stored safely.",
    "Rename the object.",
)
NAMES_COLLIDE = _error(
    "names-collide",
    "Two object names differ in upper and lower case alone.",
    "Remove one of the two objects.",
)
LFS_POINTER = _error(
    "lfs-pointer",
    "A file is a Git LFS pointer, not the file itself.",
    "Run `git lfs pull` in the clone and upload the real files.",
)
EMPTY_FILE = _error("empty-file", "A file that is needed has no bytes.", _UPLOAD_AGAIN)
ADAPTER_ONLY = _error(
    "adapter-only",
    "The folder holds an adapter (LoRA), but not the model it adapts.",
    "Merge the adapter into its base model (merge_and_unload) and drop the result.",
)
WEIGHTS_FORMAT = _error(
    "weights-format",
    "The only weights are in a format that cannot be served.",
    _SAFETENSORS,
)
WEIGHTS_GGUF = _error(
    "weights-gguf",
    "The only weights are GGUF files, which are quantised.",
    "Drop the original weights as safetensors.",
)
SECOND_COPY = _notice(
    "second-copy",
    "Files that hold the weights a second time are ignored and not counted.",
    "Nothing. Leaving them out saves the upload.",
)
IGNORED_FILES = _notice(
    "ignored-files",
    "Files that serving never uses are ignored.",
    "Nothing. Leaving them out saves the upload.",
)
CODE_IGNORED = _notice(
    "code-ignored",
    "Code in the folder is never run; the engine has this architecture built in.",
    "Nothing.",
)
STRAY_WEIGHTS = _warning(
    "stray-weights",
    "Weight files that the index does not name are ignored.",
    "Remove them, or upload the index that belongs to them.",
)
SUBFOLDER = _notice(
    "subfolder",
    "There is a model in a folder below this one.",
    "Drop that folder, or move its files up, if it is the one you mean.",
)
RENAMED_FILE = _warning(
    "renamed-file",
    "A file looks like one that is needed, renamed by a browser.",
    "Rename it to the plain name if it is meant.",
)

# ------------------------------------------------------------------ documents

DOCUMENT_INVALID = _error(
    "document-invalid",
    "A JSON file that serving reads cannot be parsed safely.",
    _UPLOAD_AGAIN,
)
DOCUMENT_TOO_LARGE = _error(
    "document-too-large",
    "A JSON file is far larger than such a file ever is.",
    "Check what was uploaded under this name.",
)

# ---------------------------------------------------------------------- index

INDEX_INVALID = _error(
    "index-invalid",
    "The index has no usable weight_map.",
    _SAVE_AGAIN,
)
INDEX_EMPTY = _error("index-empty", "The index names no tensor at all.", _SAVE_AGAIN)
INDEX_PATH = _error(
    "index-path",
    "The index points outside the folder, below it, or at no weight file.",
    "Put the weight files beside the index and name them plainly.",
)
INDEX_TENSOR_ABSENT = _error(
    "index-tensor-absent",
    "The index names a tensor that its weight file does not hold.",
    "Upload index and weight files of the same save.",
)
INDEX_TENSOR_ELSEWHERE = _error(
    "index-tensor-elsewhere",
    "A tensor lies in another weight file than the index says.",
    "Upload index and weight files of the same save.",
)
INDEX_TENSOR_UNLISTED = _warning(
    "index-tensor-unlisted",
    "Weight files hold tensors that the index does not name.",
    "Upload index and weight files of the same save.",
)
INDEX_TOTAL_SIZE = _warning(
    "index-total-size",
    "metadata.total_size of the index is not the size of the tensors.",
    "Nothing has to be done: the size is taken from the weight files themselves.",
)

# --------------------------------------------------------------- weight files

SHARD_TRUNCATED = _error(
    "shard-truncated",
    "A weight file ends before its last tensor does.",
    "Upload the file again; the copy or its source is cut off.",
)
SHARD_TRAILING = _error(
    "shard-trailing",
    "A weight file goes on after its last tensor.",
    _UPLOAD_AGAIN,
)
HEADER_LENGTH = _error(
    "header-length",
    "The length at the start of a safetensors file cannot be that of a header.",
    "Check what the file really is, and upload it again.",
)
HEADER_INVALID = _error(
    "header-invalid",
    "The header of a safetensors file breaks the format's rules.",
    _UPLOAD_AGAIN,
)
HEADER_TENSOR = _error(
    "header-tensor",
    "An entry of a safetensors header breaks the format's rules.",
    _UPLOAD_AGAIN,
)
HEADER_LAYOUT = _error(
    "header-layout",
    "The tensors of a safetensors file overlap or leave holes.",
    _UPLOAD_AGAIN,
)
TOO_MANY_TENSORS = _error(
    "too-many-tensors",
    "The weight files hold more tensors, or larger headers, than any model needs.",
    _SAVE_AGAIN,
)
TENSOR_TWICE = _error(
    "tensor-twice",
    "Two weight files hold a tensor of the same name.",
    "Remove the weight files that do not belong to this model.",
)
BIN_FORMAT = _error(
    "bin-format",
    "A .bin file is not a plain PyTorch archive of tensors.",
    _SAFETENSORS,
)
BIN_PICKLE = _error(
    "bin-pickle",
    "The pickle in a .bin file does more than describe tensors.",
    _SAFETENSORS,
)
BIN_TENSOR = _error(
    "bin-tensor",
    "A tensor of a .bin file does not fit the bytes stored for it.",
    _SAFETENSORS,
)
BIN_WEIGHTS = _notice(
    "bin-weights",
    "The weights are PyTorch archives. Their pickles were read, never run.",
    "Nothing. Safetensors load faster and are safe by design.",
)

# --------------------------------------------------------------------- config

CONFIG_INVALID = _error(
    "config-invalid",
    "A value in config.json has the wrong type or is out of any sane range.",
    "Restore config.json from the model it came from.",
)
ARCHITECTURE_MISSING = _error(
    "architecture-missing",
    "config.json does not say which architecture the model has.",
    "Restore the full config.json of the base model.",
)
ARCHITECTURE_UNSUPPORTED = _error(
    "architecture-unsupported",
    "The pinned engine cannot serve text with this architecture.",
    "Use a model whose architecture is on the list.",
)
ARCHITECTURE_UNLISTED = _notice(
    "architecture-unlisted",
    "The engine serves this model, but it is none of the listed base models.",
    "Nothing. It was checked less closely than a listed one.",
)
MODEL_UNLISTED = _error(
    "model-unlisted",
    "The strict setting admits listed base models alone, and this is none.",
    "Turn the strict setting off, or fine-tune a listed base model.",
)
BASE_MODEL_ALIKE = _notice(
    "base-model-alike",
    "Several listed base models have exactly these dimensions.",
    "Nothing. They are served alike.",
)
REMOTE_CODE = _error(
    "remote-code",
    "The model asks for its own code to be run.",
    "Remove the key. Models that need code of their own are not served.",
)
REMOTE_CODE_IGNORED = _notice(
    "remote-code-ignored",
    "A request to run the model's own code is ignored: the engine has this "
    "architecture built in, and does not trust remote code.",
    "Nothing.",
)
KERNEL_HOOK = _error(
    "kernel-hook",
    "config.json names an attention or expert implementation to be loaded.",
    "Remove the key.",
)
URL_IN_CONFIG = _error(
    "url-in-config",
    "config.json names a network address as the model's origin.",
    "Remove _name_or_path from config.json.",
)
ACTIVATION_UNKNOWN = _error(
    "activation-unknown",
    "The activation function is none that the engine knows by name.",
    "Use the activation of the base model.",
)
DTYPE_UNKNOWN = _error(
    "dtype-unknown",
    "The data type in config.json is none that weights are served in.",
    "Set dtype to bfloat16, float16 or float32.",
)
FLOAT32_WEIGHTS = _notice(
    "float32-weights",
    "The weights are stored in float32 and served in a 16 bit type.",
    "Nothing. Saving them in bfloat16 halves the upload.",
)
DTYPE_DIFFERS = _warning(
    "dtype-differs",
    "config.json names another data type than most of the weights have.",
    "Set dtype in config.json to the type of the weights.",
)
DIMENSIONS_DISAGREE = _error(
    "dimensions-disagree",
    "Dimensions in config.json contradict each other.",
    "Restore config.json from the base model.",
)

# --------------------------------------------------------------- quantisation

QUANTIZED = _error(
    "quantized",
    "The weights are quantised. Only the form in which a listed base model is "
    "itself published is served.",
    "Drop the weights as they were before quantisation.",
)
QUANTIZATION_DISAGREES = _error(
    "quantization-disagrees",
    "config.json and the tensors do not agree on how the weights are quantised.",
    "Make quantization_config say what the tensors are, or remove it.",
)

# -------------------------------------------------------------------- tensors

TENSOR_MISSING = _error(
    "tensor-missing",
    "Tensors that the architecture needs are in none of the weight files.",
    _SAVE_AGAIN,
)
TENSOR_SHAPE = _error(
    "tensor-shape",
    "A tensor has another shape than config.json calls for.",
    "Upload the config.json that was saved with these weights.",
)
TENSOR_UNEXPECTED = _error(
    "tensor-unexpected",
    "The engine has no place for a tensor and would refuse to start.",
    "Save the model alone: without adapters, value heads or training state.",
)
TENSOR_EXTRA = _notice(
    "tensor-extra",
    "Tensors that the engine skips are ignored when serving.",
    "Nothing.",
)
TENSOR_NAME = _error(
    "tensor-name",
    "A tensor's name is too long or cannot be shown.",
    _SAVE_AGAIN,
)

# ---------------------------------------------------- tokenizer and templates

TOKENIZER_INVALID = _error(
    "tokenizer-invalid",
    "A tokenizer file is not what its name says.",
    "Save the tokenizer again (tokenizer.save_pretrained) and upload it.",
)
TOKENIZER_CLASS = _error(
    "tokenizer-class",
    "The tokenizer class is none that comes with the engine.",
    "Use the tokenizer class of the base model.",
)
TOKENIZER_TOO_LARGE_VOCABULARY = _error(
    "tokenizer-vocabulary",
    "The tokenizer gives out ids for which the model has no embedding.",
    "Resize the embeddings (resize_token_embeddings) and save the model again.",
)
PROCESSOR_MISSING = _warning(
    "processor-missing",
    "The model reads images, but its processor files are not there.",
    "Upload preprocessor_config.json (and processor_config.json) as well.",
)
TEMPLATE_INVALID = _error(
    "template-invalid",
    "A chat template cannot be compiled, or fails on a plain conversation.",
    "Restore the chat template of the base model.",
)
TEMPLATE_UNSAFE = _error(
    "template-unsafe",
    "A chat template reaches for what a template has no business with.",
    "Restore the chat template of the base model.",
)
TEMPLATE_LIMIT = _error(
    "template-limit",
    "A chat template is too large, or takes too much time, memory or output.",
    "Restore the chat template of the base model.",
)
TEMPLATE_MISSING = _notice(
    "template-missing",
    "There is no chat template: prompts can be completed, but chat is refused.",
    "Add chat_template.jinja if the model is meant to chat.",
)
TEMPLATE_NARROW = _warning(
    "template-narrow",
    "The chat template refused a plain conversation with its own message.",
    "Nothing, if such conversations are not meant to work.",
)

# -------------------------------------------------------------------- options

OPTIONS_INVALID = _error(
    "options-invalid",
    "weightdrop.json cannot be parsed, or a value has the wrong type or range.",
    "Correct weightdrop.json.",
)
OPTIONS_UNKNOWN = _error(
    "options-unknown",
    "weightdrop.json has a key that is not known.",
    "Remove or correct the key.",
)
OPTIONS_CONFLICT = _error(
    "options-conflict",
    "Values in weightdrop.json contradict each other.",
    "Correct weightdrop.json.",
)
ENGINE_ARGUMENT = _error(
    "engine-argument",
    "vllm_args holds an argument that is not on the allow-list.",
    "Remove the argument.",
)
