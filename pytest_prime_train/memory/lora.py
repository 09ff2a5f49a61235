"""Adapter parameters, module by module as prime-rl attaches them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pytest_prime_train.models.facts import ModelFacts
from pytest_prime_train.models.params import LayerKind, layer_kinds


@dataclass(frozen=True, slots=True)
class LoraParams:
    """Parameters of one adapter slot: of the whole model and of its largest layer."""

    total: int
    largest_layer: int


@lru_cache(maxsize=256)
def lora_params(facts: ModelFacts, rank: int, targets: tuple[str, ...]) -> LoraParams:
    """Adapter parameters of a model.

    Args:
        facts: The model.
        rank: Rank of the adapters.
        targets: Names of modules that get one; patterns are matched by their last name only.
    """
    wanted = _wanted(targets)
    total = largest = 0
    for kind in layer_kinds(facts):
        each = rank * _widths(facts, kind, wanted)
        total += kind.count * each
        largest = max(largest, each)
    return LoraParams(total, largest)


def _wanted(targets: tuple[str, ...]) -> frozenset[str]:
    return frozenset(target.rstrip("$").rsplit(".", 1)[-1].strip("\\.*^") for target in targets)


def adapted_modules(facts: ModelFacts) -> frozenset[str]:
    """Names of the linear modules and expert groups of a model that can have adapters."""
    names: set[str] = set()
    for kind in layer_kinds(facts):
        names.update(_shapes(facts, kind))
        if kind.ffn == "moe":
            names.add("experts")
    return frozenset(names)


def _widths(facts: ModelFacts, kind: LayerKind, wanted: frozenset[str]) -> int:
    """Sum of input and output widths over the adapted modules of one layer."""
    shapes = _shapes(facts, kind)
    width = sum(into + out for name, (into, out) in shapes.items() if name in wanted)
    if kind.ffn == "moe" and facts.moe is not None and "experts" in wanted:
        inner = facts.moe.latent or facts.hidden
        width += (
            facts.moe.experts * facts.moe.matrices_per_expert * (inner + facts.moe.intermediate)
        )
    return width


def _shapes(facts: ModelFacts, kind: LayerKind) -> dict[str, tuple[int, int]]:
    """Linear modules of one layer: name to input and output width, experts apart."""
    hidden = facts.hidden
    shapes: dict[str, tuple[int, int]] = {}
    if kind.mixer in ("full", "window"):
        shapes.update(_attention_shapes(facts, kind))
    elif kind.mixer == "linear" and facts.linear_attention is not None:
        linear = facts.linear_attention
        keys, values = linear.k_heads * linear.k_dim, linear.v_heads * linear.v_dim
        shapes["in_proj_qkvz"] = (hidden, 2 * keys + 2 * values)
        shapes["in_proj_ba"] = (hidden, 2 * linear.v_heads)
        shapes["out_proj"] = (values, hidden)
    elif kind.mixer == "mamba" and facts.hybrid is not None:
        inner = facts.hybrid.mamba_heads * facts.hybrid.mamba_head_dim
        convolved = inner + 2 * facts.hybrid.n_groups * facts.hybrid.state
        shapes["in_proj"] = (hidden, inner + convolved + facts.hybrid.mamba_heads)
        shapes["out_proj"] = (inner, hidden)
    if kind.ffn == "dense" or facts.parallel_dense:
        inner = facts.intermediate if kind.ffn == "dense" else facts.parallel_dense
        shapes["up_proj"] = (hidden, inner)
        shapes["down_proj"] = (inner, hidden)
        if facts.gated_mlp:
            shapes["gate_proj"] = (hidden, inner)
    elif kind.ffn == "moe" and facts.moe is not None and facts.moe.latent:
        shapes["fc1_latent_proj"] = (hidden, facts.moe.latent)
        shapes["fc2_latent_proj"] = (facts.moe.latent, hidden)
    return shapes


def _attention_shapes(facts: ModelFacts, kind: LayerKind) -> dict[str, tuple[int, int]]:
    hidden = facts.hidden
    if facts.mla is not None:
        mla = facts.mla
        qk = facts.heads * (mla.qk_nope_head_dim + mla.qk_rope_head_dim)
        shapes = {
            "kv_a_proj_with_mqa": (hidden, mla.kv_lora_rank + mla.qk_rope_head_dim),
            "kv_b_proj": (
                mla.kv_lora_rank,
                facts.heads * (mla.qk_nope_head_dim + mla.v_head_dim),
            ),
            "o_proj": (facts.heads * mla.v_head_dim, hidden),
        }
        if mla.q_lora_rank is None:
            shapes["q_proj"] = (hidden, qk)
        else:
            shapes["q_a_proj"] = (hidden, mla.q_lora_rank)
            shapes["q_b_proj"] = (mla.q_lora_rank, qk)
        return shapes
    heads, kv_heads, head_dim = facts.heads, facts.kv_heads, facts.head_dim
    if kind.mixer == "full" and facts.global_attention is not None:
        kv_heads, head_dim = facts.global_attention.kv_heads, facts.global_attention.head_dim
    if kind.mixer == "full" and facts.full_heads is not None:
        heads = facts.full_heads
    q, kv = heads * head_dim, kv_heads * head_dim
    gated = 2 if facts.attn_output_gate else 1
    shapes = {"q_proj": (hidden, gated * q), "k_proj": (hidden, kv), "o_proj": (q, hidden)}
    if not (facts.global_attention is not None and kind.mixer == "full"):
        shapes["v_proj"] = (hidden, kv)
    return shapes
