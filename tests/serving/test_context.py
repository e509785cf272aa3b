"""The context on a machine without a GPU: as planned, or what fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightdrop_serving import context

_CACHE = ("--kv-cache-memory-bytes", str(1 << 30))
# Llama-3.1-8B: 32 layers, 8 pairs of heads of 128 numbers, 128 KiB a token.
_LLAMA = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
}
_FITTING = ("--max-model-len", "auto")


def test_a_token_takes_what_its_heads_keep() -> None:
    """The published figure of Llama-3.1-8B, also below `text_config`."""
    assert context.token_bytes(_LLAMA) == 128 << 10
    assert context.token_bytes({"text_config": _LLAMA}) == 128 << 10


@pytest.mark.parametrize(
    "words",
    [
        ("--max-model-len", "8192"),
        ("--max-model-len=8K",),
        ("--max_model_len", "512"),
        ("--max-model-len", "auto"),
        ("--max-model-len", "many"),
        ("--max-model-len",),
    ],
)
def test_what_fits_and_what_is_no_number_stays(words: tuple[str, ...]) -> None:
    """A plan that fits is kept; a wrong word is for vLLM to refuse."""
    assert context.bounded((*_CACHE, *words), _LLAMA) == (*_CACHE, *words)


@pytest.mark.parametrize(
    "words", [(), ("--max-model-len", "8193"), ("--max_model_len=131072",)]
)
def test_what_does_not_fit_is_left_to_vllm(words: tuple[str, ...]) -> None:
    """A longer plan, and the model's own length, become what the cache holds."""
    given = (*words, *_CACHE, "--seed", "1")
    assert context.bounded(given, _LLAMA) == (*_CACHE, "--seed", "1", *_FITTING)


@pytest.mark.parametrize(("length", "stays"), [(8192, True), (131072, False)])
def test_the_models_own_length_is_kept_where_it_fits(
    length: int,
    stays: bool,
) -> None:
    """Nothing is said, and nothing done, about a model that is short enough."""
    config = _LLAMA | {"max_position_embeddings": length}
    assert context.bounded(_CACHE, config) == (
        (*_CACHE,) if stays else (*_CACHE, *_FITTING)
    )


@given(
    st.dictionaries(
        st.sampled_from([*_LLAMA, "head_dim", "text_config"]),
        st.none()
        | st.integers()
        | st.text(max_size=3)
        | st.dictionaries(st.sampled_from([*_LLAMA]), st.integers(), max_size=2),
    )
)
def test_no_config_is_too_odd(config: dict[str, Any]) -> None:
    """Whatever config.json says, there is a command line."""
    words = context.bounded((*_CACHE, "--max-model-len", "131072"), config)
    assert words[-2:] in (_FITTING, ("--max-model-len", "131072"))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 99999])
def test_a_config_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    """What is wrong with it is vLLM's to say."""
    (tmp_path / "config.json").write_text(text)
    assert context.read_config(tmp_path) == {}
