"""The memory model, term by term, against numbers that were measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes.models import dense, seventy, tensor
from weightdrop.core.artifacts.model import Attention, ModelFacts
from weightdrop.core.planning.cache import cache_model
from weightdrop.core.planning.memory import (
    Setup,
    activation_gib,
    captured_sizes,
    cuda_graph_gib,
    unprofiled_gib,
)
from weightdrop.core.planning.tables import packaged_tables
from weightdrop.core.planning.weights import GIB, allocated, weight_table, weights_gib

MEASURED = packaged_tables().engines["0.19.0"]
SERVING = packaged_tables().engine
H100 = Setup(
    tensor_parallel=1,
    max_num_seqs=1024,
    max_num_batched_tokens=8192,
    multiprocessors=132,
)


def weights(model: ModelFacts, ranks: int = 1) -> float:
    """GiB of weights on one of `ranks` GPUs."""
    return weights_gib(
        weight_table(model, MEASURED),
        kv_heads=model.attention.kv_heads,
        tensor_parallel=ranks,
    )


class TestWeights:
    """Bytes of headers to GiB on a GPU."""

    @pytest.mark.parametrize(("ranks", "measured"), [(1, 14.99), (2, 7.51), (4, 3.77)])
    def test_as_measured_for_llama(self, ranks: int, measured: float) -> None:
        """Llama-3.1-8B takes what vLLM logged, on one, two and four GPUs."""
        assert weights(dense(), ranks) == pytest.approx(measured, abs=0.01)

    def test_float32_is_served_in_half(self) -> None:
        """A base stored in float32 takes the room of bfloat16."""
        assert weights(dense(dtype="F32")) == pytest.approx(weights(dense()))

    def test_computing_in_float32_takes_twice(self) -> None:
        """The type computed in decides, not the one stored."""
        served = replace(dense(), dtype="float32")

        assert weights(served) == pytest.approx(29.98, abs=0.01)

    def test_tied_head_is_loaded_once(self) -> None:
        """A stored copy of a tied head takes nothing."""
        tied = replace(dense(), tied_embeddings=True)

        saved = weights(dense()) - weights(tied)

        assert saved == pytest.approx(128256 * 4096 * 2 / GIB, abs=1e-6)

    def test_prediction_layers_are_not_loaded(self) -> None:
        """What lies past the last hidden layer is left out."""
        model = dense()
        extra = tensor("model.layers.32.mlp.up_proj.weight", 14336, 4096)

        assert weights(replace(model, tensors=(*model.tensors, extra))) == weights(
            model
        )

    def test_key_value_heads_are_repeated(self) -> None:
        """Two heads on four ranks: each projection is halved, not quartered."""
        two = dense(kv_heads=2, inner=8192)
        table = weight_table(two, MEASURED)
        repeated = 2 * 128 * 2 * 4096 * 2 * 32 / 4 / GIB

        as_if_more = weights_gib(table, kv_heads=4, tensor_parallel=4)

        assert weights(two, 4) - as_if_more == pytest.approx(repeated)

    def test_float8_scales_stay_float32(self) -> None:
        """A quantised checkpoint's scales are not converted."""
        scale = tensor(
            "model.layers.0.mlp.up_proj.weight_scale_inv", 64, 64, dtype="F32"
        )
        model = dense()
        quantized = replace(model, quantization="fp8", tensors=(*model.tensors, scale))

        more = weights(quantized) - weights(model)

        assert more == pytest.approx(64 * 64 * 4 / GIB)

    def test_allocator_rounds_large_tensors(self) -> None:
        """A rest of up to one MiB of a two MiB step is lost."""
        mib = 2**20

        assert allocated(9.5 * mib) == 9.5 * mib
        assert allocated(31.5 * mib) == 32 * mib
        assert allocated(259 * mib) == 260 * mib
        assert allocated(24.5 * mib) == 24.5 * mib

    def test_latent_attention_copies_its_projection(self) -> None:
        """The absorbed up-projection is held a second time."""
        model = dense()
        latent = tensor("model.layers.0.self_attn.kv_b_proj.weight", 4096, 512)
        more = weights(replace(model, tensors=(*model.tensors, latent))) - weights(
            model
        )

        assert more == pytest.approx(2 * 4096 * 512 * 2 / GIB)


class TestActivations:
    """The peak beside the weights."""

    @pytest.mark.parametrize(
        ("model", "ranks", "measured"),
        [
            (dense(), 1, 1.89),
            (dense(), 4, 1.89),
            (replace(dense(), dtype="float32"), 1, 2.21),
            (dense(inner=11008, kv_heads=32, vocab=32016), 1, 0.77),
            (seventy(), 2, 1.96),
        ],
        ids=["8B", "8B on four", "8B in float32", "CodeLlama-7B", "70B on two"],
    )
    def test_as_measured(self, model: ModelFacts, ranks: int, measured: float) -> None:
        """The law gives what vLLM logged, whichever moment is the peak."""
        setup = replace(H100, tensor_parallel=ranks)

        assert activation_gib(model, setup, MEASURED) == pytest.approx(
            measured, abs=0.02
        )

    def test_experts_keep_their_workspace(self) -> None:
        """Qwen1.5-MoE's two buffers add to the sampler's peak."""
        moe = dense(
            hidden=2048,
            inner=5632,
            layers=24,
            heads=16,
            kv_heads=16,
            vocab=151936,
            experts=60,
            experts_per_token=4,
            expert_intermediate_size=1408,
        )

        assert activation_gib(moe, H100, MEASURED) == pytest.approx(2.47, abs=0.02)

    def test_fewer_sequences_take_less(self) -> None:
        """Sequences admitted move the sampler's peak."""
        few = replace(H100, max_num_seqs=256)

        assert activation_gib(dense(), few, MEASURED) < 1.0

    def test_what_profiling_does_not_see(self) -> None:
        """The newer runner's profile leaves the sampler's copies out."""
        assert unprofiled_gib(dense(), H100, MEASURED) == 0
        assert unprofiled_gib(dense(), H100, SERVING) > 0.5


class TestGraphs:
    """CUDA graphs."""

    def test_sizes_as_logged(self) -> None:
        """Up to 512 the engine captures 51 sizes."""
        assert captured_sizes(512) == 51

    def test_fewer_sequences_capture_less(self) -> None:
        """Twice the sequences is the largest size worth capturing."""
        few = replace(H100, max_num_seqs=16)

        assert cuda_graph_gib(dense(), few, SERVING) < cuda_graph_gib(
            dense(), H100, SERVING
        )

    def test_none_when_eager(self) -> None:
        """Eager mode captures nothing."""
        eager = replace(H100, enforce_eager=True)

        assert cuda_graph_gib(dense(), eager, SERVING) == 0


class TestCache:
    """Bytes of the cache."""

    def tokens(self, attention: Attention, pool: float, length: int = 8192) -> int:
        """Tokens that `pool` GiB hold."""
        model = replace(dense(), attention=attention)
        cache = cache_model(model, H100, block_tokens=16)
        return cache.tokens(pool * GIB, length)

    def test_grouped_queries_as_measured(self) -> None:
        """Llama-3.1-8B's 58.11 GiB hold the tokens that were logged."""
        found = self.tokens(Attention(32, 8, 128, 32), 58.11)

        assert found == pytest.approx(476_016, rel=0.0005)

    def test_latent_as_measured(self) -> None:
        """DeepSeek-V2-Lite's 43.61 GiB hold the tokens that were logged."""
        found = self.tokens(Attention(16, 16, 128, 27, mla_width=576), 43.61)

        assert found == pytest.approx(1_505_552, rel=0.0005)

    def test_groups_as_measured(self) -> None:
        """Gemma-3-4B's 29 windowed layers are padded to six groups of five."""
        found = self.tokens(Attention(8, 4, 256, 5, 29, 1024), 62.51)

        assert found == pytest.approx(468_144, rel=0.002)

    def test_window_stops_growing(self) -> None:
        """A windowed layer takes no more for a longer context."""
        windowed = Attention(32, 8, 128, 0, 32, 4096)
        model = replace(dense(), attention=windowed)
        cache = cache_model(model, H100, block_tokens=16)

        assert cache.sequence_bytes(32768) == cache.sequence_bytes(131072)
        assert cache.sequence_bytes(4096) < cache.sequence_bytes(32768)

    def test_latent_is_whole_on_every_rank(self) -> None:
        """More GPUs do not shrink a latent cache, but one of heads."""
        four = replace(H100, tensor_parallel=4)
        latent = replace(dense(), attention=Attention(32, 32, 128, 32, mla_width=576))

        def growing(model: ModelFacts, setup: Setup) -> int:
            return cache_model(model, setup, block_tokens=16).growing_bytes

        assert growing(latent, four) == growing(latent, H100)
        assert growing(dense(), four) * 4 == growing(dense(), H100)

    def test_states_cost_the_same_at_any_length(self) -> None:
        """Linear attention holds a state per sequence."""
        hybrid = Attention(
            16, 2, 256, 12, linear_layers=36, linear_state_bytes=2_146_304
        )
        cache = cache_model(replace(dense(), attention=hybrid), H100, block_tokens=16)

        assert cache.state_bytes == 36 * 2_146_304
        growth = cache.sequence_bytes(16384) - cache.sequence_bytes(8192)
        assert growth == 8192 * 12 * 2 * 2 * 256 * 2
