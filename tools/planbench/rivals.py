"""What other tools' published formulas say of the same start-ups.

Each gives GiB on one GPU without the cache. Sources are the tools' own
documentation and code; none of their code is here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planbench.measured import Run
from weightdrop.core.planning.weights import DTYPE_BYTES, GIB

Formula = Callable[[Run], float]


@dataclass(frozen=True, slots=True)
class Rival:
    """One tool's formula.

    Attributes:
        name: The tool.
        formula: In words, per GPU.
        predict: GiB on one GPU without the cache.
    """

    name: str
    formula: str
    predict: Formula


def _weights(run: Run) -> float:
    """Bytes of all tensors once converted, split over all GPUs, in GiB."""
    wide = DTYPE_BYTES[run.facts.dtype]
    total = sum(
        tensor.nbytes // 2 * wide if tensor.dtype in {"BF16", "F16"} else tensor.nbytes
        for tensor in run.facts.tensors
    )
    return total / GIB / run.setup.tensor_parallel / run.setup.pipeline_parallel


def _non_torch(run: Run) -> float:
    """llm-d-planner's constants for vLLM 0.19."""
    if run.setup.tensor_parallel > 1:
        return 2.10
    return 0.07 if run.setup.pipeline_parallel > 1 else 0.27


_CLASS_ACTIVATION = {"dense text": 2.0, "multimodal": 2.5, "mixture of experts": 2.0}


def _llm_d(run: Run) -> float:
    return _weights(run) + _CLASS_ACTIVATION[run.kind] + _non_torch(run)


def _kaito(run: Run) -> float:
    return _weights(run) * 1.02 * 1.05 + 2.3


def _ai_configurator(run: Run) -> float:
    widths = {1: 10, 2: 6, 4: 5, 8: 5}[run.setup.tensor_parallel]
    tokens = run.setup.max_num_batched_tokens
    activation = 2 * tokens * run.facts.hidden_size * widths / GIB
    return _weights(run) + activation


def _first_law(run: Run) -> float:
    facts, setup = run.facts, run.setup
    inner = 3 * facts.intermediate_size / setup.tensor_parallel
    forward = 2 * setup.max_num_batched_tokens * (inner + 6 * facts.hidden_size)
    sampler = 4 * setup.max_num_seqs * facts.vocab_size * 4
    last = setup.pipeline_parallel == 1
    activation = max(sampler if last else 0, forward) / GIB
    if facts.experts:
        activation += 0.35
    return _weights(run) + activation + _non_torch(run)


RIVALS = (
    Rival("hf-mem", "weights", _weights),
    Rival("EleutherAI's rule, accelerate", "1.2 weights", lambda r: 1.2 * _weights(r)),
    Rival("GPUStack", "1.2 weights + 2 GiB", lambda run: 1.2 * _weights(run) + 2.0),
    Rival("KAITO", "1.02 · 1.05 weights + 2.3 GiB", _kaito),
    Rival("AIConfigurator", "weights + 2 · tokens · hidden · c(TP)", _ai_configurator),
    Rival(
        "llm-d-planner",
        "weights + 2.0 or 2.5 GiB by class + 0.27, 0.07 or 2.10 GiB",
        _llm_d,
    ),
    Rival(
        "llm-d-planner's constants with a sampler law",
        "weights + max(4 · sequences · vocabulary · 4 B, "
        "2 B · tokens · (3 I / TP + 6 H)) + 0.35 GiB with experts + constants",
        _first_law,
    ),
)
