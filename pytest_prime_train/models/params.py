"""Counting parameters from a model's shape: whole model, per layer, experts apart, LoRA.

Counts agree with the published number of elements of the checkpoints, tied heads once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from pytest_prime_train.models.facts import LinearAttention, Mla, ModelFacts, MoE

Mixer: TypeAlias = Literal["full", "window", "linear", "mamba", "none"]
Ffn: TypeAlias = Literal["dense", "moe", "none"]


@dataclass(frozen=True, slots=True)
class LayerKind:
    """``count`` layers of the same make.

    Attributes:
        count: How many layers.
        mixer: What mixes tokens.
        ffn: What follows it.
        mixer_params: Parameters of the mixer.
        ffn_params: Parameters of the MLP, router and shared experts, without routed experts.
        expert_params: Parameters of all routed experts.
        active_expert_params: Parameters of the routed experts that one token visits.
        norm_params: Parameters of the norms.
    """

    count: int
    mixer: Mixer
    ffn: Ffn
    mixer_params: int
    ffn_params: int
    expert_params: int
    active_expert_params: int
    norm_params: int

    @property
    def params(self) -> int:
        """All parameters of one such layer."""
        return self.dense_params + self.expert_params

    @property
    def dense_params(self) -> int:
        """Parameters of one such layer without the routed experts."""
        return self.mixer_params + self.ffn_params + self.norm_params

    @property
    def active_params(self) -> int:
        """Parameters of one such layer that a token uses."""
        return self.dense_params + self.active_expert_params


@lru_cache(maxsize=256)
def layer_kinds(facts: ModelFacts) -> tuple[LayerKind, ...]:
    """The model's layers, those of the same make together."""
    if facts.counted_params is not None:
        return _counted_kinds(facts, facts.counted_params)
    if facts.hybrid is not None:
        return _hybrid_kinds(facts)
    kinds: list[LayerKind] = []
    dense_first = facts.moe.dense_layers if facts.moe is not None else facts.layers
    full, other = facts.global_attention_layers, facts.layers - facts.global_attention_layers
    other_mixer: Mixer = "linear" if facts.linear_attention is not None else "window"
    # Leading dense layers are counted among the layers that are not full attention first; where
    # the two kinds of layer differ in size the order does not change any sum.
    dense_other = min(dense_first, other)
    for mixer, ffn, count in (
        (other_mixer, "dense", dense_other),
        ("full", "dense", dense_first - dense_other),
        (other_mixer, "moe", other - dense_other),
        ("full", "moe", full - (dense_first - dense_other)),
    ):
        if count > 0:
            kinds.append(_kind(facts, count, mixer, ffn))  # type: ignore[arg-type]
    return tuple(kinds)


def _kind(facts: ModelFacts, count: int, mixer: Mixer, ffn: Ffn) -> LayerKind:
    ffn_params = 0
    experts = active = 0
    if ffn == "dense":
        ffn_params = _mlp(facts.hidden, facts.intermediate, gated=facts.gated_mlp)
    elif ffn == "moe" and facts.moe is not None:
        ffn_params, experts, active = _moe(facts, facts.moe)
    return LayerKind(
        count=count,
        mixer=mixer,
        ffn=ffn,
        mixer_params=_mixer(facts, mixer),
        ffn_params=ffn_params,
        expert_params=experts,
        active_expert_params=active,
        norm_params=facts.norms_per_layer * facts.hidden,
    )


def _counted_kinds(facts: ModelFacts, counted: int) -> tuple[LayerKind, ...]:
    """Layers of a model that was only counted: all alike."""
    embeddings = embedding_params(facts) * (1 if facts.tied else 2)
    each = max(0, counted - embeddings - facts.hidden) // facts.layers
    return (LayerKind(facts.layers, "full", "dense", each, 0, 0, 0, 0),)


def _hybrid_kinds(facts: ModelFacts) -> tuple[LayerKind, ...]:
    assert facts.hybrid is not None
    plan: tuple[tuple[str, Mixer, Ffn], ...] = (
        ("M", "mamba", "none"),
        ("*", "full", "none"),
        ("E", "none", "moe"),
        ("-", "none", "dense"),
    )
    pattern = facts.hybrid.pattern
    return tuple(
        _kind(facts, pattern.count(letter), mixer, ffn)
        for letter, mixer, ffn in plan
        if letter in pattern
    )


def _mlp(hidden: int, width: int, *, gated: bool) -> int:
    return (3 if gated else 2) * hidden * width


def _moe(facts: ModelFacts, moe: MoE) -> tuple[int, int, int]:
    """Router and shared parameters, all expert parameters, those one token visits."""
    hidden = facts.hidden
    width = moe.latent or hidden
    one = moe.matrices_per_expert * width * moe.intermediate
    if moe.expert_bias:
        one += (moe.matrices_per_expert - 1) * moe.intermediate + width
    fixed = hidden * moe.experts + (moe.experts if moe.router_bias else 0)
    fixed += moe.matrices_per_expert * hidden * moe.shared_intermediate
    fixed += hidden if moe.shared_expert_gate else 0
    fixed += 2 * hidden * moe.latent if moe.latent else 0
    if facts.parallel_dense:
        # Gemma 4 scales the router's input (hidden) and each expert's output (one per expert).
        fixed += _mlp(hidden, facts.parallel_dense, gated=True) + hidden + moe.experts
    return fixed, moe.experts * one, moe.top_k * one


def _mixer(facts: ModelFacts, mixer: Mixer) -> int:
    if mixer == "linear":
        assert facts.linear_attention is not None
        return _gated_delta_net(facts.hidden, facts.linear_attention)
    if mixer == "mamba":
        return _mamba(facts)
    if mixer == "none":
        return 0
    if facts.mla is not None:
        return _latent_attention(facts, facts.mla)
    heads, kv_heads, head_dim, values = facts.heads, facts.kv_heads, facts.head_dim, 1
    if mixer == "full" and facts.global_attention is not None:
        kv_heads = facts.global_attention.kv_heads
        head_dim = facts.global_attention.head_dim
        values = 0 if facts.global_attention.k_eq_v else 1
    if mixer == "full" and facts.full_heads is not None:
        heads = facts.full_heads
    return _softmax_attention(facts, heads, kv_heads, head_dim, values)


def _softmax_attention(
    facts: ModelFacts, heads: int, kv_heads: int, head_dim: int, values: int
) -> int:
    hidden, q, kv = facts.hidden, heads * head_dim, kv_heads * head_dim
    count = hidden * q * (2 if facts.attn_output_gate else 1) + hidden * kv * (1 + values)
    count += q * hidden
    count += q + 2 * kv if facts.attention_bias_qkv else 0
    count += hidden if facts.attention_bias_o else 0
    count += {"head": 2 * head_dim, "full": q + kv, None: 0}[facts.qk_norm]
    count += heads if facts.sinks else 0
    count += hidden * heads if facts.head_gate else 0
    return count


def _latent_attention(facts: ModelFacts, mla: Mla) -> int:
    hidden, heads = facts.hidden, facts.heads
    qk = mla.qk_nope_head_dim + mla.qk_rope_head_dim
    if mla.q_lora_rank is None:
        count = hidden * heads * qk
    else:
        count = hidden * mla.q_lora_rank + mla.q_lora_rank + mla.q_lora_rank * heads * qk
    count += hidden * (mla.kv_lora_rank + mla.qk_rope_head_dim) + mla.kv_lora_rank
    count += mla.kv_lora_rank * heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    return count + heads * mla.v_head_dim * hidden


def _indexers(facts: ModelFacts) -> int:
    """The token selectors of all layers that have one."""
    if facts.mla is None or facts.mla.indexer is None:
        return 0
    index = facts.mla.indexer
    queries = (facts.mla.q_lora_rank or facts.hidden) * index.heads * index.head_dim
    keys = facts.hidden * index.head_dim + 2 * index.head_dim
    return index.layers * (queries + keys + facts.hidden * index.heads)


def _gated_delta_net(hidden: int, linear: LinearAttention) -> int:
    keys, values = linear.k_heads * linear.k_dim, linear.v_heads * linear.v_dim
    count = hidden * (2 * keys + 2 * values) + hidden * 2 * linear.v_heads
    count += (2 * keys + values) * linear.conv
    return count + 2 * linear.v_heads + linear.v_dim + values * hidden


def _mamba(facts: ModelFacts) -> int:
    assert facts.hybrid is not None
    hybrid = facts.hybrid
    inner = hybrid.mamba_heads * hybrid.mamba_head_dim
    conv_width = inner + 2 * hybrid.n_groups * hybrid.state
    count = facts.hidden * (inner + conv_width + hybrid.mamba_heads)
    count += conv_width * (hybrid.conv + 1) + 3 * hybrid.mamba_heads
    return count + inner + inner * facts.hidden


def embedding_params(facts: ModelFacts) -> int:
    """Elements of the token embedding, which the LM head has as well."""
    return facts.vocab * facts.hidden


@lru_cache(maxsize=256)
def total_params(facts: ModelFacts) -> int:
    """All parameters, tied heads counted once."""
    if facts.counted_params is not None:
        return facts.counted_params
    layers = sum(kind.count * kind.params for kind in layer_kinds(facts))
    embeddings = embedding_params(facts) * (1 if facts.tied else 2)
    return layers + _indexers(facts) + embeddings + facts.hidden


@lru_cache(maxsize=256)
def expert_params(facts: ModelFacts) -> int:
    """Parameters of the routed experts of all layers."""
    return sum(kind.count * kind.expert_params for kind in layer_kinds(facts))


@lru_cache(maxsize=256)
def active_params(facts: ModelFacts) -> int:
    """Parameters that one token uses, with embedding and LM head."""
    layers = sum(kind.count * kind.active_params for kind in layer_kinds(facts))
    embeddings = embedding_params(facts) * (1 if facts.tied else 2)
    return layers + _indexers(facts) + embeddings + facts.hidden


@lru_cache(maxsize=256)
def active_matmul_params(facts: ModelFacts) -> int:
    """Parameters of the matrix products of all layers that one token passes, without the head."""
    return sum(kind.count * (kind.active_params - kind.norm_params) for kind in layer_kinds(facts))


@lru_cache(maxsize=256)
def largest_layer(facts: ModelFacts) -> LayerKind:
    """The layer with the most parameters, which FSDP gathers as a whole."""
    return max(layer_kinds(facts), key=lambda kind: kind.params)
