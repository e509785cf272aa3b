"""Codes of findings about the model: config, tensors, tokenizer, templates, options."""

from __future__ import annotations

from weightdrop.core.artifacts.code import error, notice, warning

_SAVE_AGAIN = "Save the model again with its own library and upload the result."

# --------------------------------------------------------------------- config

CONFIG_INVALID = error(
    "config-invalid",
    "A value in config.json has the wrong type or is out of any sane range.",
    "Restore config.json from the model it came from.",
)
ARCHITECTURE_MISSING = error(
    "architecture-missing",
    "config.json does not say which architecture the model has.",
    "Restore the full config.json of the base model.",
)
ARCHITECTURE_UNSUPPORTED = error(
    "architecture-unsupported",
    "The pinned engine cannot serve text with this architecture.",
    "Use a model whose architecture is on the list.",
)
ARCHITECTURE_UNLISTED = notice(
    "architecture-unlisted",
    "The engine serves this model, but it is none of the listed base models.",
    "Nothing. It was checked less closely than a listed one.",
)
MODEL_UNLISTED = error(
    "model-unlisted",
    "The strict setting admits listed base models alone, and this is none.",
    "Turn the strict setting off, or fine-tune a listed base model.",
)
BASE_MODEL_ALIKE = notice(
    "base-model-alike",
    "Several listed base models have exactly these dimensions.",
    "Nothing. They are served alike.",
)
REMOTE_CODE = error(
    "remote-code",
    "The model asks for its own code to be run.",
    "Remove the key. Models that need code of their own are not served.",
)
REMOTE_CODE_IGNORED = notice(
    "remote-code-ignored",
    "A request to run the model's own code is ignored: the engine has this "
    "architecture built in, and does not trust remote code.",
    "Nothing.",
)
KERNEL_HOOK = error(
    "kernel-hook",
    "config.json names an attention or expert implementation to be loaded.",
    "Remove the key.",
)
URL_IN_CONFIG = error(
    "url-in-config",
    "config.json names a network address as the model's origin.",
    "Remove _name_or_path from config.json.",
)
ACTIVATION_UNKNOWN = error(
    "activation-unknown",
    "The activation function is none that the engine knows by name.",
    "Use the activation of the base model.",
)
DTYPE_UNKNOWN = error(
    "dtype-unknown",
    "The data type in config.json is none that weights are served in.",
    "Set dtype to bfloat16, float16 or float32.",
)
FLOAT32_WEIGHTS = notice(
    "float32-weights",
    "The weights are stored in float32 and served in a 16 bit type.",
    "Nothing. Saving them in bfloat16 halves the upload.",
)
DTYPE_DIFFERS = warning(
    "dtype-differs",
    "config.json names another data type than most of the weights have.",
    "Set dtype in config.json to the type of the weights.",
)
DIMENSIONS_DISAGREE = error(
    "dimensions-disagree",
    "Dimensions in config.json contradict each other.",
    "Restore config.json from the base model.",
)

# --------------------------------------------------------------- quantisation

QUANTIZED = error(
    "quantized",
    "The weights are quantised. Only the form in which a listed base model is "
    "itself published is served.",
    "Drop the weights as they were before quantisation.",
)
QUANTIZATION_DISAGREES = error(
    "quantization-disagrees",
    "config.json and the tensors do not agree on how the weights are quantised.",
    "Make quantization_config say what the tensors are, or remove it.",
)

# -------------------------------------------------------------------- tensors

TENSOR_MISSING = error(
    "tensor-missing",
    "Tensors that the architecture needs are in none of the weight files.",
    _SAVE_AGAIN,
)
TENSOR_SHAPE = error(
    "tensor-shape",
    "A tensor has another shape than config.json calls for.",
    "Upload the config.json that was saved with these weights.",
)
TENSOR_UNEXPECTED = error(
    "tensor-unexpected",
    "The engine has no place for a tensor and would refuse to start.",
    "Save the model alone: without adapters, value heads or training state.",
)
TENSOR_EXTRA = notice(
    "tensor-extra",
    "Tensors that the engine skips are ignored when serving.",
    "Nothing.",
)
TENSOR_NAME = error(
    "tensor-name",
    "A tensor's name is too long or cannot be shown.",
    _SAVE_AGAIN,
)

# ---------------------------------------------------- tokenizer and templates

TOKENIZER_INVALID = error(
    "tokenizer-invalid",
    "A tokenizer file is not what its name says.",
    "Save the tokenizer again (tokenizer.save_pretrained) and upload it.",
)
TOKENIZER_CLASS = error(
    "tokenizer-class",
    "The tokenizer class is none that comes with the engine.",
    "Use the tokenizer class of the base model.",
)
TOKENIZER_TOO_LARGE_VOCABULARY = error(
    "tokenizer-vocabulary",
    "The tokenizer gives out ids for which the model has no embedding.",
    "Resize the embeddings (resize_token_embeddings) and save the model again.",
)
PROCESSOR_MISSING = warning(
    "processor-missing",
    "The model reads images, but its processor files are not there.",
    "Upload preprocessor_config.json (and processor_config.json) as well.",
)
TEMPLATE_INVALID = error(
    "template-invalid",
    "A chat template cannot be compiled, or fails on a plain conversation.",
    "Restore the chat template of the base model.",
)
TEMPLATE_UNSAFE = error(
    "template-unsafe",
    "A chat template reaches for what a template has no business with.",
    "Restore the chat template of the base model.",
)
TEMPLATE_LIMIT = error(
    "template-limit",
    "A chat template is too large, or takes too much time, memory or output.",
    "Restore the chat template of the base model.",
)
TEMPLATE_MISSING = notice(
    "template-missing",
    "There is no chat template: prompts can be completed, but chat is refused.",
    "Add chat_template.jinja if the model is meant to chat.",
)
TEMPLATE_NARROW = warning(
    "template-narrow",
    "The chat template refused a plain conversation with its own message.",
    "Nothing, if such conversations are not meant to work.",
)

# -------------------------------------------------------------------- options

OPTIONS_INVALID = error(
    "options-invalid",
    "weightdrop.json cannot be parsed, or a value has the wrong type or range.",
    "Correct weightdrop.json.",
)
OPTIONS_UNKNOWN = error(
    "options-unknown",
    "weightdrop.json has a key that is not known.",
    "Remove or correct the key.",
)
OPTIONS_CONFLICT = error(
    "options-conflict",
    "Values in weightdrop.json contradict each other.",
    "Correct weightdrop.json.",
)
ENGINE_ARGUMENT = error(
    "engine-argument",
    "vllm_args holds an argument that is not on the allow-list.",
    "Remove the argument.",
)
