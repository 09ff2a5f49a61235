"""Activations: what each layer keeps for the backward pass, and what one layer needs at work."""

from __future__ import annotations

from functools import lru_cache

from pytest_prime_train.memory.constants import (
    FITTED,
    TRANSFORMERS_5,
    UNCOMPILED,
    Fitted,
)
from pytest_prime_train.memory.shapes import TrainerShape
from pytest_prime_train.memory.versions import traits
from pytest_prime_train.models.facts import ModelFacts
from pytest_prime_train.models.params import LayerKind, layer_kinds

ACTIVATION_BYTES = 2
"""Activations are bf16; tensors in float32 count as two."""

_DELTA_CHUNK_TOKENS = 64
_MAMBA_CHUNK_TOKENS = 256


def mixer_width(facts: ModelFacts, kind: LayerKind) -> int:
    """Width of all tensors that mixing tokens keeps, per token: projections, values, output."""
    if kind.mixer == "none":
        return 0
    if kind.mixer == "linear" and facts.linear_attention is not None:
        linear = facts.linear_attention
        keys, values = linear.k_heads * linear.k_dim, linear.v_heads * linear.v_dim
        states = linear.v_heads * linear.k_dim * linear.v_dim // _DELTA_CHUNK_TOKENS
        return 2 * (2 * keys + 2 * values) + values + states
    if kind.mixer == "mamba" and facts.hybrid is not None:
        hybrid = facts.hybrid
        inner = hybrid.mamba_heads * hybrid.mamba_head_dim
        convolved = inner + 2 * hybrid.n_groups * hybrid.state
        states = inner * hybrid.state // _MAMBA_CHUNK_TOKENS
        return 2 * (inner + convolved) + inner + states
    if facts.mla is not None:
        values = facts.heads * facts.mla.v_head_dim
        latents = (facts.mla.q_lora_rank or 0) + facts.mla.kv_lora_rank
        return 2 * facts.q_width + 2 * values + latents
    heads, kv_heads, head_dim = facts.heads, facts.kv_heads, facts.head_dim
    if kind.mixer == "full" and facts.global_attention is not None:
        kv_heads, head_dim = facts.global_attention.kv_heads, facts.global_attention.head_dim
    if kind.mixer == "full" and facts.full_heads is not None:
        heads = facts.full_heads
    gate = heads * head_dim if facts.attn_output_gate else 0
    return 2 * heads * head_dim + 2 * kv_heads * head_dim + gate


def dense_ffn_width(facts: ModelFacts, kind: LayerKind) -> int:
    """Width of all tensors that a dense or shared MLP keeps, per token."""
    if kind.ffn == "dense":
        return (3 if facts.gated_mlp else 2) * facts.intermediate
    if kind.ffn == "moe" and facts.moe is not None:
        return 3 * (facts.moe.shared_intermediate + facts.parallel_dense)
    return 0


def routed_width(facts: ModelFacts, kind: LayerKind) -> int:
    """Width of what the routed experts keep, per token: ``top_k`` copies of it."""
    if kind.ffn != "moe" or facts.moe is None:
        return 0
    inner = facts.moe.latent or facts.hidden
    return facts.moe.top_k * (2 * inner + facts.moe.matrices_per_expert * facts.moe.intermediate)


@lru_cache(maxsize=256)
def _layer_widths(facts: ModelFacts) -> tuple[tuple[int, int], ...]:
    """Per kind of layer: width of what mixer and dense MLP keep, width of what experts keep."""
    return tuple(
        (mixer_width(facts, kind) + dense_ffn_width(facts, kind), routed_width(facts, kind))
        for kind in layer_kinds(facts)
    )


def working_set_bytes(shape: TrainerShape, fitted: Fitted = FITTED) -> float:
    """Tensors alive while one layer is recomputed and differentiated."""
    code = traits(shape.version)
    hidden_tensors = fitted.hidden_tensors
    growth = fitted.later_code if code.later_code else 1.0
    if shape.implementation == "hf":
        hidden_tensors += fitted.hidden_tensors_hf
        growth *= TRANSFORMERS_5 if code.transformers_5 else 1.0
    if not shape.compiled:
        growth *= UNCOMPILED
    residual = hidden_tensors * shape.model.hidden
    widest = max(
        (residual + dense) * growth + fitted.routed_tensors * routed
        for dense, routed in _layer_widths(shape.model)
    )
    ring = 2 * shape.model.kv_width * shape.seq_len if shape.cp > 1 else 0
    return ACTIVATION_BYTES * (shape.tokens * widest / shape.tp + ring)


def _kept_widths(facts: ModelFacts, kind: LayerKind, targets: tuple[str, ...]) -> int:
    """What a layer keeps per token besides its input, given what is recomputed."""
    norms = 2 * facts.hidden
    kept = 0
    if "norm" not in targets:
        kept += norms
    if "attn_proj" not in targets and "linear_attn" not in targets:
        kept += mixer_width(facts, kind)
    elif kind.mixer != "none":
        kept += facts.q_width
    if "mlp" not in targets or kind.ffn == "moe":
        kept += dense_ffn_width(facts, kind)
    if "routed_experts" not in targets:
        kept += routed_width(facts, kind)
    return kept + 2 * facts.hidden


def saved_bytes(shape: TrainerShape) -> float:
    """Activations kept from the forward for the backward pass, wherever they rest.

    Every layer keeps its input. A layer without checkpointing keeps all else as well, a selectively
    checkpointed one what its targets do not recompute.
    """
    facts = shape.model
    inputs = facts.hidden * facts.layers
    kinds = layer_kinds(facts)
    everything = sum(kind.count * _kept_widths(facts, kind, ()) for kind in kinds)
    if shape.ac == "none":
        inside = float(everything)
    else:
        targets = shape.ac_targets
        partly = 0
        if shape.ac == "selective":
            partly = sum(kind.count * _kept_widths(facts, kind, targets) for kind in kinds)
        checkpointed = -(-facts.layers // max(1, shape.ac_freq)) / facts.layers
        inside = partly * checkpointed + everything * (1 - checkpointed)
    return ACTIVATION_BYTES * shape.tokens * (inputs + inside / shape.tp)


def saved_bytes_on_gpu(shape: TrainerShape) -> float:
    """What of the saved activations stays on the GPU: nothing to speak of when offloaded."""
    return 0.0 if shape.ac_offloading else saved_bytes(shape)


def in_flight_bytes(shape: TrainerShape) -> float:
    """Offloaded activations that may be on the GPU while they are copied."""
    if not shape.ac_offloading:
        return 0.0
    each = ACTIVATION_BYTES * shape.tokens * shape.model.hidden
    return min(saved_bytes(shape), float(shape.ac_in_flight * each))
