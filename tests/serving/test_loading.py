"""What the loader hands to vLLM: every tensor, under the name that vLLM knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weightdrop.core.artifacts import towers
from weightdrop.core.artifacts.config import read_config
from weightdrop.core.artifacts.shapes import KNOWN, expected_tensors
from weightdrop_serving.model import EXPECTED
from weightdrop_serving.spelling import speller

_GEMMA3 = "Gemma3ForConditionalGeneration"
_PUBLISHED = Path(__file__).parents[1] / "data" / "models" / "published"


def _tower() -> set[str]:
    """The names of Gemma 3 4B's vision tower, as published and as vLLM has them."""
    document = json.loads((_PUBLISHED / "google__gemma-3-4b-it.json").read_text())
    config = read_config(document, known=KNOWN)
    return {name for name in towers.siglip(config) if name.startswith("vision_tower.")}


class TestSpelling:
    """Gemma 3's tower, as transformers 5 saves it."""

    @pytest.mark.parametrize("stem", ["", "model."])
    def test_both_spellings_become_the_one_that_vllm_knows(self, stem: str) -> None:
        """Every tensor of the tower, and what is spelled so already."""
        spelled = speller(_GEMMA3)
        known = {stem + name for name in _tower()}
        newer = {name.replace(".vision_model.", ".", 1) for name in known}

        assert len(known) > 400
        assert {spelled(name) for name in newer} == known
        assert {spelled(name) for name in known} == known

    def test_the_deploying_side_accepts_what_is_renamed_here(self) -> None:
        """A folder that `check` accepts is a folder that loads."""
        document = json.loads((_PUBLISHED / "google__gemma-3-4b-it.json").read_text())
        expected = expected_tensors(read_config(document, known=KNOWN))
        assert expected is not None
        for name in _tower():
            newer = name.replace(".vision_model.", ".", 1)
            for stored in (newer, f"model.{newer}"):
                assert expected.canonical(stored) == name

    @pytest.mark.parametrize(
        "name",
        [
            "language_model.model.embed_tokens.weight",
            "model.language_model.vision_tower.embeddings.weight",
            "vision_tower.embeddings_of_mine.weight",
            "multi_modal_projector.mm_soft_emb_norm.weight",
        ],
    )
    def test_other_names_stay(self, name: str) -> None:
        """Nothing but the tower's own parts is renamed."""
        assert speller(_GEMMA3)(name) == name

    def test_other_models_are_left_alone(self) -> None:
        """A tower of another model keeps its names."""
        name = "vision_tower.embeddings.patch_embedding.weight"
        assert speller("LlavaForConditionalGeneration")(name) == name


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("architecture", "dtype", "names"),
    [
        (
            "GptOssForCausalLM",
            "uint8",  # MXFP4: two values to a byte, and exponents
            [
                f"model.layers.0.mlp.experts.{part}_{kind}"
                for part in ("gate_up_proj", "down_proj")
                for kind in ("blocks", "scales")
            ],
        ),
        (
            "DeepseekV3ForCausalLM",
            "float8_e4m3fn",
            ["model.layers.3.mlp.experts.0.up_proj.weight"],
        ),
        (
            "DeepseekV3ForCausalLM",
            "float32",
            ["model.layers.3.mlp.experts.0.up_proj.weight_scale_inv"],
        ),
        (_GEMMA3, "bfloat16", ["vision_tower.embeddings.patch_embedding.weight"]),
    ],
)
def test_every_byte_reaches_the_engine(
    architecture: str, dtype: str, names: list[str], tmp_path: Path
) -> None:
    """Names spelled, types and bytes as stored, quantised ones among them."""
    import torch  # noqa: PLC0415  # seconds that other tests should not pay
    from safetensors.torch import save_file  # noqa: PLC0415
    from vllm.config.load import LoadConfig  # noqa: PLC0415

    from weightdrop_serving.loader import _loader_class  # noqa: PLC0415

    kind = getattr(torch, dtype)
    stored = {
        name: torch.arange(64 + at).to(torch.uint8).view(torch.uint8).clone()
        for at, name in enumerate(names)
    }
    if dtype != "uint8":
        stored = {name: x[:64].view(kind) for name, x in stored.items()}
    save_file(stored, tmp_path / "model.safetensors")
    (tmp_path / EXPECTED).write_text("model.safetensors\n")
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    loader_class = _loader_class()
    loader = loader_class(LoadConfig(load_format="weightdrop"))

    source = loader_class.Source(str(tmp_path), revision=None)
    found = dict(loader._get_weights_iterator(source))

    spelled = speller(architecture)
    assert set(found) == {spelled(name) for name in names}
    for name, tensor in stored.items():
        handed = found[spelled(name)]
        assert handed.dtype is kind
        assert torch.equal(handed.view(torch.uint8), tensor.view(torch.uint8))
