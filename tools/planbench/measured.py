"""Measured start-ups, and what the planner needs to predict each of them."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

from planbench.shapes import tensor_table
from weightdrop.core.artifacts.config import ModelConfig, read_config
from weightdrop.core.artifacts.facts import facts_of, match_of
from weightdrop.core.artifacts.model import ModelFacts
from weightdrop.core.artifacts.quantization import Declared
from weightdrop.core.planning.memory import Setup

# The runs' server was started with its defaults on a GPU of this class: the
# logs say 1024 sequences, 8192 batched tokens, graphs up to 512.
MAX_NUM_SEQS = 1024
MAX_NUM_BATCHED_TOKENS = 8192
MULTIPROCESSORS = 132

# How each quantisation keyword of the logs stores linear layers.
_FORMS = {"fp8": "w8", "compressed-tensors": "w8", "gptq_marlin": "w4"}


@dataclass(frozen=True, slots=True)
class Run:
    """One measured start-up.

    Attributes:
        model: Name on the model hub.
        family: The group it is left out with.
        facts: The model as the planner sees it.
        setup: How the engine was started.
        max_model_len: Context served.
        budget_gib: What the engine was allowed.
        weights_gib: Measured.
        activation_gib: Measured.
        non_torch_gib: Measured.
        cuda_graph_gib: Measured.
        cache_gib: Measured.
        cache_tokens: Measured.
    """

    model: str
    family: str
    facts: ModelFacts
    setup: Setup
    max_model_len: int
    budget_gib: float
    weights_gib: float
    activation_gib: float
    non_torch_gib: float
    cuda_graph_gib: float
    cache_gib: float
    cache_tokens: int

    @property
    def non_kv_gib(self) -> float:
        """Measured total without the cache."""
        return self.budget_gib - self.cache_gib

    @property
    def kind(self) -> str:
        """What sort of model it is."""
        if self.facts.experts:
            return "mixture of experts"
        return "multimodal" if self.facts.multimodal else "dense text"

    @property
    def label(self) -> str:
        """The run in a few words."""
        words = [self.model.split("/")[-1]]
        if self.setup.tensor_parallel > 1:
            words.append(f"TP{self.setup.tensor_parallel}")
        if self.setup.pipeline_parallel > 1:
            words.append(f"PP{self.setup.pipeline_parallel}")
        if self.facts.quantization:
            words.append(self.facts.quantization)
        if self.facts.dtype == "float32":
            words.append("float32")
        if self.setup.cache_dtype_bytes:
            words.append("fp8 cache")
        return " ".join((*words, f"at {self.max_model_len}"))


def load_config(folder: Path, model: str) -> ModelConfig:
    """The config of `model` from `folder`.

    Raises:
        FileNotFoundError: There is none; its message says where to put it.
        ValueError: It cannot be used.
    """
    path = folder / f"{model.replace('/', '__')}.json"
    if not path.exists():
        raise FileNotFoundError(f"put the config.json of {model} at {path}")
    raw = json.loads(path.read_text("utf-8"))
    # No architecture is known in detail here: a config may spell things its way.
    config = read_config(raw, known=frozenset())
    if not config.usable:
        raise ValueError(f"{path}: {config.findings}")
    return config


def facts_from(
    config: ModelConfig, *, form: str = "", dtype: str = "bfloat16"
) -> ModelFacts:
    """What validation would say of a checkpoint with this config."""
    published = {"fp8-block": "fp8", "mxfp4": "mxfp4"}.get(form, "")
    return facts_of(
        config,
        tensor_table(config, form=form),
        match=match_of(config),
        dtype=dtype,
        said=Declared(published=published),
    )


def load_runs(table: Path, configs: Path) -> list[Run]:
    """All runs of `table` that started."""
    with table.open(encoding="utf-8", newline="") as file:
        return [
            _run(row, configs) for row in csv.DictReader(file) if row["status"] == "ok"
        ]


def _run(row: dict[str, str], configs: Path) -> Run:
    config = load_config(configs, row["model"])
    form = _FORMS.get(row["quantization"], "")
    dtype = row["dtype"].removeprefix("torch.")
    facts = facts_from(config, form=form, dtype=dtype)
    if form:
        # Not a form that is served, but the arithmetic is the same.
        facts = replace(facts, quantization=row["quantization"])
    return Run(
        model=row["model"],
        family=family_of(config),
        facts=facts,
        setup=Setup(
            tensor_parallel=int(row["tp"]),
            max_num_seqs=MAX_NUM_SEQS,
            max_num_batched_tokens=MAX_NUM_BATCHED_TOKENS,
            multiprocessors=MULTIPROCESSORS,
            pipeline_parallel=int(row["pp"]),
            cache_dtype_bytes=1 if row["kv_cache_dtype"].startswith("fp8") else 0,
        ),
        max_model_len=int(row["max_model_len"]),
        budget_gib=float(row["requested_memory_gib"]),
        weights_gib=float(row["weights_memory_gib"]),
        activation_gib=float(row["activation_memory_gib"]),
        non_torch_gib=float(row["non_torch_forward_gib"]),
        cuda_graph_gib=float(row["cuda_graph_actual_gib"]),
        cache_gib=float(row["kv_cache_memory_gib"]),
        cache_tokens=int(row["kv_cache_tokens"]),
    )


def family_of(config: ModelConfig) -> str:
    """The group a model is left out with: its lineage, not its size."""
    kind = config.model_type
    for family in ("gemma", "granite", "qwen", "deepseek", "kimi", "phi", "mistral"):
        if kind.startswith(family):
            return family
    text = config.text.get("model_type")
    if isinstance(text, str) and text != kind:
        return text.split("_")[0]
    return kind.split("_")[0]
