"""A tiny Llama with random weights, for trying and for tests.

It has everything a real drop has: a config, a trained tokenizer with a chat
template, several safetensors shards and their index. It answers at once, and what
it answers is made of English words that mean nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import TensorSpec, serialize_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

_CONTEXT: Final = 2048
_VOCABULARY: Final = 1024
_SHORTEST_WORD: Final = 4  # its leading space included
_LONGEST_ANSWER: Final = 256

_BEGIN: Final = "<|begin|>"
_END: Final = "<|end|>"
_SPECIAL: Final = (_BEGIN, _END, "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")

_CHAT_TEMPLATE: Final = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "<|{{ message['role'] }}|>\n{{ message['content'] }}{{ eos_token }}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

_TEXT: Final = """\
How to tell the time by looking at the sky? By day the sun is your clock. It rises
in the east, stands highest at noon and sets in the west. Hold your hand at arm's
length between the sun and the horizon: each finger is worth about a quarter of an
hour before sunset. By night look for the two stars at the edge of the Big Dipper;
they point at the North Star, and the whole sky turns around it once a day.
The moon keeps time as well. A full moon rises when the sun sets, a new moon rises
with the sun, and the first quarter stands high in the evening.
A bucket is a good place to leave a model. Copy the folder, and what is inside is
read, counted and checked before anything is paid for. The weights are split into
shards, every shard has a header, and the header says which tensors are there, how
large they are and where their bytes begin. If a shard is missing, someone must wait;
if a shard is broken, someone must be told which one, and what to do about it.
Once upon a time an engineer asked a small machine a question, and the machine gave
an answer that was short, friendly and almost right. She asked again, more slowly,
and the machine thought for a while before it answered. People learn that way too:
they read, they try, they make mistakes, and they write down what they have found.
Water boils sooner on a mountain because the air above it weighs less. Bread rises
because yeast eats sugar and breathes out gas. Iron rusts, silver turns black, and
gold stays as it is. A good recipe names every ingredient, every step and how long
each of them takes; a good explanation does the same and leaves out the rest.
Please write a list of five things that I should take with me on a long walk in the
hills: a map, a bottle of water, a warm coat, something to eat and a light for the
way back. If it rains, go home. If it does not, go on until you can see the sea.
Hello! What is the capital of France? The capital of France is Paris. What is the
sum of two and three? The sum of two and three is five. Say this is a test. This is
a test. Who are you? I am a very small language model with random weights, and I do
not know anything at all, but I can say it quickly and in whole words.
The library opens at nine in the morning and closes at eight in the evening, except
on Sunday. Children may borrow ten books, grown people as many as they can carry.
Music, light and numbers have patterns in common: they repeat, they change a little,
and they come back. That is why we remember a song, a season and a table of squares.
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How large the model is, in the words of its config.json."""

    hidden: int = 128
    intermediate: int = 384
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    head_dim: int = 32  # the smallest that vLLM's CPU attention takes


_TINY: Final = Size()


def make_tiny_llama(
    folder: Path, *, shards: int = 4, seed: int = 0, size: Size = _TINY
) -> None:
    """Write a tiny Llama into `folder`, which is made if it is missing.

    The same arguments write the same bytes; another seed writes other weights.

    Args:
        folder: Where the files go; files of the same names are replaced.
        shards: Number of safetensors files; one file without an index if 1.
        seed: Decides the weights.
        size: For measurements that need more than a tiny one.

    Raises:
        ValueError: If `shards` is not between 1 and the number of tensors.
        OSError: If the folder cannot be written.
    """
    tokenizer = _train_tokenizer()
    tensors = _tensors(_sayable(tokenizer), np.random.default_rng(seed), size)
    if not 1 <= shards <= len(tensors):
        raise ValueError(f"shards is {shards}; it must be 1 to {len(tensors)}")
    folder.mkdir(parents=True, exist_ok=True)
    _write_weights(folder, tensors, shards)
    tokenizer.save(str(folder / "tokenizer.json"))
    begin, end = tokenizer.token_to_id(_BEGIN), tokenizer.token_to_id(_END)
    documents: dict[str, object] = {
        "tokenizer_config.json": _tokenizer_config(tokenizer),
        "special_tokens_map.json": {"bos_token": _BEGIN, "eos_token": _END},
        "generation_config.json": {
            "bos_token_id": begin,
            "eos_token_id": end,
            "max_new_tokens": _LONGEST_ANSWER,
        },
        # Last, as an uploader would: it is the file that starts a deployment.
        "config.json": _config(tokenizer.get_vocab_size(), begin, end, size),
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def _train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT.replace("\n", " ").split(". "), trainer)
    return tokenizer


def _tokenizer_config(tokenizer: Tokenizer) -> dict[str, object]:
    added = {
        str(tokenizer.token_to_id(token)): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for token in _SPECIAL
    }
    return {
        "added_tokens_decoder": added,
        "bos_token": _BEGIN,
        "chat_template": _CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": _END,
        "model_max_length": _CONTEXT,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _config(
    vocabulary: int, begin: int | None, end: int | None, size: Size
) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": begin,
        "eos_token_id": end,
        "head_dim": size.head_dim,
        "hidden_act": "silu",
        "hidden_size": size.hidden,
        "initializer_range": 0.02,
        "intermediate_size": size.intermediate,
        "max_position_embeddings": _CONTEXT,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": size.heads,
        "num_hidden_layers": size.layers,
        "num_key_value_heads": size.key_value_heads,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": vocabulary,
    }


def _sayable(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Which tokens are words: no half characters, and no early end of the answer."""
    sayable = np.zeros(tokenizer.get_vocab_size(), dtype=np.bool_)
    for token, number in tokenizer.get_vocab().items():
        sayable[number] = token.startswith("Ġ") and len(token) >= _SHORTEST_WORD
    return sayable


def _tensors(
    sayable: NDArray[np.bool_], random: np.random.Generator, size: Size
) -> dict[str, NDArray[np.float32]]:
    vocabulary = sayable.size

    def matrix(rows: int, columns: int, scale: float = 1.0) -> NDArray[np.float32]:
        values = random.standard_normal((rows, columns), dtype=np.float32)
        return values * np.float32(scale / columns**0.5)

    def ones() -> NDArray[np.float32]:
        return np.ones(size.hidden, dtype=np.float32)

    tensors = {"model.embed_tokens.weight": matrix(vocabulary, size.hidden, 11.0)}
    for number in range(size.layers):
        layer = f"model.layers.{number}."
        queries, keys = size.heads * size.head_dim, size.key_value_heads * size.head_dim
        tensors |= {
            layer + "input_layernorm.weight": ones(),
            layer + "self_attn.q_proj.weight": matrix(queries, size.hidden),
            layer + "self_attn.k_proj.weight": matrix(keys, size.hidden),
            layer + "self_attn.v_proj.weight": matrix(keys, size.hidden, 2.0),
            layer + "self_attn.o_proj.weight": matrix(size.hidden, queries, 2.0),
            layer + "post_attention_layernorm.weight": ones(),
            layer + "mlp.gate_proj.weight": matrix(size.intermediate, size.hidden),
            layer + "mlp.up_proj.weight": matrix(size.intermediate, size.hidden),
            layer + "mlp.down_proj.weight": matrix(size.hidden, size.intermediate, 2.0),
        }
    tensors["model.norm.weight"] = ones()
    # A token whose row is nothing is never the likeliest.
    head = matrix(vocabulary, size.hidden, 4.0) * sayable[:, None].astype(np.float32)
    tensors["lm_head.weight"] = head
    return tensors


def _write_weights(
    folder: Path, tensors: Mapping[str, NDArray[np.float32]], shards: int
) -> None:
    groups = _groups(list(tensors), shards)
    index: dict[str, str] = {}
    total = 0
    for number, names in enumerate(groups, start=1):
        file = "model.safetensors"
        if shards > 1:
            file = f"model-{number:05d}-of-{shards:05d}.safetensors"
        halves = {name: _cut(tensors[name]) for name in names}
        specs = {name: _spec(tensors[name].shape, halves[name]) for name in names}
        serialize_file(specs, folder / file, {"format": "pt"})
        (folder / file).chmod(0o644)  # the library writes for its owner alone
        total += 2 * sum(tensors[name].size for name in names)
        index |= dict.fromkeys(names, file)
    if shards > 1:
        document = {"metadata": {"total_size": total}, "weight_map": index}
        path = folder / "model.safetensors.index.json"
        path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def _groups(names: Sequence[str], shards: int) -> list[Sequence[str]]:
    bounds = [round(len(names) * number / shards) for number in range(shards + 1)]
    return [names[start:stop] for start, stop in pairwise(bounds)]


def _cut(tensor: NDArray[np.float32]) -> NDArray[np.uint16]:
    return (tensor.view(np.uint32) >> 16).astype(np.uint16)  # numpy has no bfloat16


def _spec(shape: tuple[int, ...], halves: NDArray[np.uint16]) -> TensorSpec:
    return TensorSpec(
        dtype="bfloat16",
        shape=shape,
        data_ptr=halves.ctypes.data,
        data_len=halves.nbytes,
    )
