"""Tiny random models of any class that transformers has, and what they should say.

transformers takes seconds to import, so that every function here does it itself.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from weightdrop.local.tiny_model import make_tiny_llama

_SPREAD: Final = 0.08  # of random weights: far enough apart for no ties among tokens
_TIED: Final = 0.1  # of them, where the head is the embedding
_SHORTEST_WORD: Final = 4  # characters of a token that may be said, space included
_COPIED: Final = ("tokenizer.json", "special_tokens_map.json", "tokenizer_config.json")

_TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}MARK{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

Config = dict[str, Any]


@dataclass(frozen=True)
class Pictures:
    """What a model that looks at pictures has besides.

    Attributes:
        processor: Name of transformers' class.
        image_processor: The same.
        settings: Of the image processor.
        options: Of the processor.
        tokens: Added to the tokenizer; those with a name become its attributes.
        indexes: Members of config.json that hold the number of a token.
        mark: Stands for a picture in a conversation.
        plain: Further tokens.
        shown: Whether vLLM's CPU build can look at one.
    """

    processor: str
    image_processor: str
    settings: Config
    options: Config
    tokens: Mapping[str, str]
    indexes: Mapping[str, str]
    mark: str
    plain: tuple[str, ...] = ()
    shown: bool = True


@dataclass(frozen=True)
class Recipe:
    """How to make a tiny model.

    Attributes:
        config: Name of transformers' config class.
        options: What the config is made with.
        stored: Type the weights are saved in.
        vocabulary: Rows of the embedding; 0 for as many as there are tokens.
        patch: Changes config.json after it was saved.
        calls: Tokens that its tool calls are written with.
        marks: What else its chat template shows of them.
        pictures: What it needs to look at pictures.
    """

    config: str
    options: Config = field(default_factory=dict)
    stored: str = "float32"
    vocabulary: int = 0
    patch: Callable[[Config], None] = lambda _: None
    pictures: Pictures | None = None
    calls: tuple[str, ...] = ()
    marks: str = ""


def make(recipe: Recipe, folder: Path) -> None:
    """Write the model into `folder`: weights in shards, tokenizer, config last."""
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    tokenizer = _tokenizer(folder, recipe)
    rows = recipe.vocabulary or len(tokenizer)
    config = getattr(transformers, recipe.config)(**_options(recipe, tokenizer, rows))
    kind = "ImageTextToText" if recipe.pictures else "CausalLM"
    torch.manual_seed(0)
    model = getattr(transformers, f"AutoModelFor{kind}").from_config(config)
    _fill(model, tokenizer)
    model.to(getattr(torch, recipe.stored))
    model.save_pretrained(folder, max_shard_size="1MB")
    if recipe.pictures:
        _save_processor(recipe.pictures, tokenizer, folder)
    path = folder / "config.json"
    document = json.loads(path.read_text("utf-8"))
    recipe.patch(document)
    path.write_text(json.dumps(document, indent=2), "utf-8")


def _tokenizer(folder: Path, recipe: Recipe) -> Any:
    """The tiny Llama's own, with what a recipe adds; its files are in `folder`."""
    import transformers  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as base:
        make_tiny_llama(Path(base))
        folder.mkdir(parents=True, exist_ok=True)
        for name in _COPIED:
            (folder / name).write_bytes((Path(base) / name).read_bytes())
    pictures = recipe.pictures
    if pictures is None:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        if recipe.calls:
            tokenizer.add_tokens(list(recipe.calls))
            tokenizer.chat_template += f"{{# {recipe.calls} {recipe.marks} #}}"
            tokenizer.save_pretrained(folder)
        return tokenizer
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder, extra_special_tokens=dict(pictures.tokens)
    )
    tokenizer.add_tokens([*pictures.plain, *pictures.tokens.values()])
    tokenizer.chat_template = _TEMPLATE.replace("MARK", pictures.mark)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _options(recipe: Recipe, tokenizer: Any, rows: int) -> Config:
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    if recipe.pictures is None:
        return {"vocab_size": rows, **ends, **recipe.options}
    text = {"vocab_size": rows, **ends, **recipe.options["text_config"]}
    numbers = {
        name: tokenizer.convert_tokens_to_ids(token)
        for name, token in recipe.pictures.indexes.items()
    }
    return {**recipe.options, **numbers, "text_config": text}


def _fill(model: Any, tokenizer: Any) -> None:
    """Random weights; only whole words can be said."""
    import torch  # noqa: PLC0415

    head = model.get_output_embeddings().weight
    words = tokenizer.get_vocab().items()
    sayable = torch.zeros(head.shape[0], 1)
    for token, number in words:
        sayable[number] = token.startswith("Ġ") and len(token) >= _SHORTEST_WORD
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, _SPREAD)
        if head is model.get_input_embeddings().weight:
            # Small, or the model repeats what was said; nothing would be no prompt.
            head.mul_(_TIED * (sayable + _TIED))
        else:
            head.mul_(sayable)  # a token whose row is nothing is never the likeliest


def _save_processor(pictures: Pictures, tokenizer: Any, folder: Path) -> None:
    import transformers  # noqa: PLC0415

    images = getattr(transformers, pictures.image_processor)(**pictures.settings)
    processor = getattr(transformers, pictures.processor)
    processor(
        image_processor=images, tokenizer=tokenizer, **pictures.options
    ).save_pretrained(folder)
    # Where those who published the base models have it.
    (folder / "preprocessor_config.json").write_text(images.to_json_string(), "utf-8")


@dataclass(frozen=True)
class Reference:
    """A model as transformers runs it in float32.

    Attributes:
        tokenizer: Its tokenizer.
        model: Its network.
    """

    tokenizer: Any
    model: Any

    @classmethod
    def load(cls, folder: Path) -> Reference:
        """Read what `make` wrote, or any other model."""
        import torch  # noqa: PLC0415
        import transformers  # noqa: PLC0415

        config = transformers.AutoConfig.from_pretrained(folder)
        kind = "ImageTextToText" if hasattr(config, "vision_config") else "CausalLM"
        loader = getattr(transformers, f"AutoModelFor{kind}")
        return cls(
            transformers.AutoTokenizer.from_pretrained(folder),
            loader.from_pretrained(folder, dtype=torch.float32),
        )

    def says(self, prompt: str, tokens: int) -> str:
        """What it generates greedily."""
        import torch  # noqa: PLC0415

        given = self.tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            ids = self.model.generate(
                **given, do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens
            )
        new = ids[0][given["input_ids"].shape[1] :]
        return str(self.tokenizer.decode(new, skip_special_tokens=True))

    def distance(self, prompt: str, chosen: list[int]) -> float:
        """How far from the best the least likely token of `chosen` is here.

        Every token is judged after those before it, so that one choice between two
        that are nearly as likely does not count for all that follow. In standard
        deviations of the scores of all tokens that can be said: 0 is the best, and
        one drawn at random lies about 3 below.
        """
        import torch  # noqa: PLC0415

        given = self.tokenizer(prompt)["input_ids"]
        with torch.no_grad():
            scores = self.model(torch.tensor([given + chosen])).logits[0].float()
        worst = 0.0
        for place, token in enumerate(chosen, start=len(given) - 1):
            row = scores[place]
            spread = row[row != 0].std()
            worst = max(worst, float((row.max() - row[token]) / spread))
        return worst
