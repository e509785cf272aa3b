"""`weightdrop plan`: the documented document, and wishes that are checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from weightdrop.cli.main import run
from weightdrop.local.tiny_model import make_tiny_llama

Plan = Callable[..., tuple[int, str, str]]

DOCUMENTED = {
    "machine_type",
    "accelerator_type",
    "accelerator_count",
    "tensor_parallel_size",
    "max_model_len",
    "hourly_usd",
    "vllm_args",
    "memory",
    "alternatives",
    "explanation",
}
MACHINE = ["--machine-type", "g2-standard-24", "--accelerator-type", "NVIDIA_L4"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model's folder."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    make_tiny_llama(folder)
    return folder


@pytest.fixture
def plan(model: Path, capsys: pytest.CaptureFixture[str]) -> Plan:
    """Runs the command; gives exit status, standard output, standard error."""

    def called(*words: str) -> tuple[int, str, str]:
        code = run(["plan", str(model), "--json", *words])
        written = capsys.readouterr()
        return code, written.out, written.err

    return called


def test_the_document_is_the_documented_one(plan: Plan) -> None:
    """Every key is there, and the arithmetic beside it."""
    code, printed, _ = plan()
    document = json.loads(printed)

    assert code == 0
    assert set(document) >= DOCUMENTED
    assert document["memory"]["budget_gib"] > document["memory"]["weights_gib"]


def test_wishes_are_honoured(plan: Plan) -> None:
    """Machine, region, context and utilisation as asked for."""
    _, printed, _ = plan(
        *MACHINE,
        *["--accelerator-count", "2", "--region", "europe-west4"],
        *["--max-model-len", "512", "--gpu-memory-utilization", "0.5"],
    )
    document = json.loads(printed)

    assert (document["machine_type"], document["region"], 512) == (
        "g2-standard-24",
        "europe-west4",
        document["max_model_len"],
    )
    assert "0.5" in document["vllm_args"]


@pytest.mark.parametrize(
    "words",
    [
        ["--machine-type", "g2-standard-24"],
        [*MACHINE, "--accelerator-count", "3"],
        ["--region", "moon-west1"],
        ["--max-model-len", "99999999"],
    ],
)
def test_wishes_that_cannot_be_are_findings(plan: Plan, words: list[str]) -> None:
    """The answer is no, with what was found and what would fit."""
    code, printed, _ = plan(*words)
    document = json.loads(printed)

    assert (code, document["plan"]) == (1, None)
    errors = [it for it in document["findings"] if it["severity"] == "error"]
    assert all(it["fix"] for it in errors)
    assert errors


def test_tables_of_ones_own_are_used(plan: Plan, tmp_path: Path) -> None:
    """A folder that is not there is said to be, in one sentence."""
    code, printed, words = plan("--tables", str(tmp_path / "none"))

    assert (code, printed) == (2, "")
    assert "does not exist" in words
