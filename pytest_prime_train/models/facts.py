"""The shape of a transformer language model, as far as memory and speed depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

QkNorm: TypeAlias = Literal["head", "full"]
"""``head``: one norm of ``head_dim`` for queries and keys; ``full``: of the whole projection."""


@dataclass(frozen=True, slots=True)
class MoE:
    """The routed experts of a mixture-of-experts model.

    Attributes:
        experts: Experts per layer.
        top_k: Experts that each token visits.
        intermediate: Width of one expert.
        shared_intermediate: Width of the shared experts together; 0 without.
        dense_layers: Leading layers with a dense MLP.
        router_bias: Whether the router has a bias (or a score correction) per expert.
        shared_expert_gate: Whether a gate of one output weighs the shared expert.
        expert_bias: Whether the expert matrices have biases.
        matrices_per_expert: 3 for gated experts, 2 for ungated ones.
        latent: Width the tokens are projected to before the experts; None without.
    """

    experts: int
    top_k: int
    intermediate: int
    shared_intermediate: int = 0
    dense_layers: int = 0
    router_bias: bool = False
    shared_expert_gate: bool = False
    expert_bias: bool = False
    matrices_per_expert: int = 3
    latent: int | None = None


@dataclass(frozen=True, slots=True)
class Indexer:
    """The token selector of sparse attention (DeepSeek-V3.2, GLM-5): ``layers`` have their own."""

    heads: int
    head_dim: int
    topk: int
    layers: int


@dataclass(frozen=True, slots=True)
class Mla:
    """Multi-head latent attention: one compressed latent per token instead of keys and values."""

    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    indexer: Indexer | None = None


@dataclass(frozen=True, slots=True)
class LinearAttention:
    """Gated delta net layers with a state of fixed size, beside ``full_attention_layers``."""

    k_heads: int
    v_heads: int
    k_dim: int
    v_dim: int
    conv: int
    full_attention_layers: int


@dataclass(frozen=True, slots=True)
class Hybrid:
    """A stack of single mixers: M = Mamba-2, * = attention, E = mixture of experts, - = MLP."""

    pattern: str
    mamba_heads: int
    mamba_head_dim: int
    n_groups: int
    state: int
    conv: int


@dataclass(frozen=True, slots=True)
class GlobalAttention:
    """Full-attention layers whose heads differ from those of the window layers (Gemma 4)."""

    layers: int
    kv_heads: int
    head_dim: int
    k_eq_v: bool


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model architecture; the text part only where the checkpoint has a vision part.

    Attributes:
        name: Hub name of the model the facts were read from.
        family: ``model_type`` of its config.json, without suffixes.
        hidden: Width of the residual stream.
        intermediate: Width of the dense MLP; 0 where every layer is a mixture of experts.
        qk_norm: Norm on queries and keys, if any.
        norms_per_layer: Norms of ``hidden`` width in each layer.
        sliding_window: Tokens that a window layer sees; None without window layers.
        full_attention_layers: Layers with full attention where others have a window.
        parallel_dense: Width of a dense MLP beside the experts (Gemma 4).
        full_heads: Query heads of full-attention layers where they differ (Laguna).
        head_gate: Whether each head's output is gated (Laguna).
        vision: Whether the checkpoint has a vision part, which is not counted here.
        counted_params: Exact count of a meta-device load, for a family without a formula.
        published_params: Published number of parameters, to check the formula with.
        source: Where the facts were read.
    """

    name: str
    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    max_positions: int
    attention_bias_qkv: bool = False
    attention_bias_o: bool = False
    qk_norm: QkNorm | None = None
    norms_per_layer: int = 2
    gated_mlp: bool = True
    attn_output_gate: bool = False
    sliding_window: int | None = None
    full_attention_layers: int | None = None
    linear_attention: LinearAttention | None = None
    moe: MoE | None = None
    mla: Mla | None = None
    hybrid: Hybrid | None = None
    global_attention: GlobalAttention | None = None
    parallel_dense: int = 0
    full_heads: int | None = None
    head_gate: bool = False
    sinks: bool = False
    vision: bool = False
    counted_params: int | None = None
    published_params: int | None = None
    source: str = ""

    @property
    def q_width(self) -> int:
        """Width of all query heads together."""
        if self.mla is not None:
            return self.heads * (self.mla.qk_nope_head_dim + self.mla.qk_rope_head_dim)
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together (values likewise); expanded for latent attention."""
        if self.mla is not None:
            return self.q_width
        return self.kv_heads * self.head_dim

    @property
    def attention_layers(self) -> int:
        """Layers with softmax attention, windowed or not."""
        if self.linear_attention is not None:
            return self.linear_attention.full_attention_layers
        if self.hybrid is not None:
            return self.hybrid.pattern.count("*")
        return self.layers

    @property
    def global_attention_layers(self) -> int:
        """Layers whose attention sees the whole sequence."""
        if self.global_attention is not None:
            return self.global_attention.layers
        if self.sliding_window is not None and self.full_attention_layers is not None:
            return self.full_attention_layers
        return self.attention_layers

    @property
    def window_layers(self) -> int:
        """Layers whose attention sees only ``sliding_window`` tokens."""
        return self.attention_layers - self.global_attention_layers

    @property
    def kind(self) -> str:
        """The attention kind in a word: full, window, latent, linear hybrid or mamba hybrid."""
        if self.mla is not None:
            return "latent"
        if self.linear_attention is not None:
            return "linear hybrid"
        if self.hybrid is not None:
            return "mamba hybrid"
        return "window" if self.window_layers else "full"


@dataclass(frozen=True, slots=True)
class Unknown:
    """What cannot be told, and why; never a guess dressed as a fact."""

    reason: str

    def __str__(self) -> str:
        return f"unknown: {self.reason}"
