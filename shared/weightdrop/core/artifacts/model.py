"""What validation learns about a model, and planning works from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the checkpoint.

    Attributes:
        name: As stored.
        dtype: The safetensors name of the type ("BF16", "F8_E4M3", "U8", …).
        shape: Dimensions.
        nbytes: Bytes it takes in the file.
        file: Path of the shard that holds it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    file: str


@dataclass(frozen=True, slots=True)
class Attention:
    """How the layers of a model remember.

    Attributes:
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Width of one head.
        full_layers: Layers whose cache grows with the context.
        windowed_layers: Layers whose cache stops growing at `window`
            (sliding or chunked).
        window: Tokens a windowed layer keeps; 0 without such layers.
        linear_layers: Layers with a fixed state per sequence instead.
        linear_state_bytes: Bytes of that state per sequence and linear layer.
        mla_width: kv_lora_rank + qk_rope_head_dim for multi-head latent
            attention, whose cache is replicated over tensor parallel ranks;
            0 otherwise.
    """

    heads: int
    kv_heads: int
    head_dim: int
    full_layers: int
    windowed_layers: int = 0
    window: int = 0
    linear_layers: int = 0
    linear_state_bytes: int = 0
    mla_width: int = 0


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Everything that planning and naming need to know of a model.

    Attributes:
        architecture: The class vLLM serves it with.
        model_type: Hugging Face's `model_type`.
        base_model: Name from the catalogue, or empty when none matches.
        parameters: Values in the tensors that are served.
        dtype: What vLLM will compute in: "bfloat16", "float16" or "float32".
        quantization: "" or the form the base model is published in ("fp8",
            "mxfp4").
        hidden_size: Width of the residual stream.
        intermediate_size: Width of the (dense or shared) feed-forward block.
        layers: Number of hidden layers.
        vocab_size: Rows of the embedding.
        max_position: Context length the config claims.
        experts: Number of routed experts; 0 for a dense model.
        multimodal: Whether it has a vision or audio tower.
        tied_embeddings: Whether the head shares the embedding's weights.
        attention: How its layers remember.
        tensors: The served tensors.
        experts_per_token: Routed experts a token passes through; 0 when
            dense or unknown.
        expert_intermediate_size: Width of one routed expert's feed-forward
            block; 0 when dense or unknown.
        rotary_values: Values in all distinct rotary tables the engine builds
            (rows times rotary width; a linearly scaled table has
            max_position times factor rows); 0 when unknown, and the planner
            assumes one table of max_position by head_dim.
        image_values_per_token: Pixel values that become one image token; 0
            without a tower or when unknown.
        tool_parser: What reads its tool calls; empty when nothing shows it.
        reasoning_parser: What tells its thinking from its answer; the same.
    """

    architecture: str
    model_type: str
    base_model: str
    parameters: int
    dtype: str
    quantization: str
    hidden_size: int
    intermediate_size: int
    layers: int
    vocab_size: int
    max_position: int
    experts: int
    multimodal: bool
    tied_embeddings: bool
    attention: Attention
    tensors: tuple[Tensor, ...]
    experts_per_token: int = 0
    expert_intermediate_size: int = 0
    rotary_values: int = 0
    image_values_per_token: int = 0
    tool_parser: str = ""
    reasoning_parser: str = ""

    @property
    def weight_bytes(self) -> int:
        """Bytes of all served tensors as stored."""
        return sum(tensor.nbytes for tensor in self.tensors)
