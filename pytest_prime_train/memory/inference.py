"""vLLM's memory on each GPU: budget, weights, profiling run, and what remains for the KV cache."""

from __future__ import annotations

from typing import Final

from pytest_prime_train.memory.kv_cache import kv_cache
from pytest_prime_train.memory.lora import lora_params
from pytest_prime_train.memory.shapes import (
    GIB,
    LORA_TARGETS,
    InferenceEstimate,
    InferenceShape,
)
from pytest_prime_train.models.facts import ModelFacts
from pytest_prime_train.models.params import (
    embedding_params,
    expert_params,
    layer_kinds,
    total_params,
)

WEIGHT_BYTES: Final = {
    "bf16": 2.0,
    "fp16": 2.0,
    "fp32": 4.0,
    "fp8": 1.0 + 4 / (128 * 128),
    "int8": 1.0,
    "int4": 0.5 + 2.5 / 128,
    "nvfp4": 0.5 + 1 / 16,
    "mxfp4": 0.5 + 1 / 32,
}
"""Bytes per quantised parameter with its scales; embeddings, norms and routers stay bf16."""

EXPERTS_ONLY: Final = frozenset({"mxfp4"})
"""Quantisations that only experts get."""

NON_TORCH_BYTES: Final = 0.3 * GIB
"""Context and the like inside vLLM's budget: 0.06 to 0.35 GiB in logs of one GPU."""

NON_TORCH_NCCL_BYTES: Final = 0.1 * GIB
"""More of it with several GPUs: 0.25 GiB in the one log of two."""

VISION_BYTES: Final = 2.5 * GIB
"""Allowance for a vision tower of about 0.6 B parameters and its profiling run."""

LARGE_CARD_GIB: Final = 70.0
"""Cards from this size on get vLLM's larger default of batched tokens."""

SAMPLER_BYTES: Final = 28
"""Per logit of the profiling run's sampler: logits and a copy, sorted values and their 64-bit
indices, softmax and its sum; 1.0 GiB for 256 rows of 152,064, in two logs."""

LARGE_CARD_SEQS: Final = 1024
DEFAULT_SEQS: Final = 256
"""Requests per engine step by default, on large and on other cards."""

BAND_SHARE: Final = 0.10
"""Half band of the available memory, and at least ``BAND_BYTES``."""
BAND_BYTES: Final = 1.0 * GIB


def weights_bytes(shape: InferenceShape) -> float:
    """Weights on each GPU."""
    facts = shape.model
    per_param = WEIGHT_BYTES.get(shape.weights_dtype, 2.0)
    embeddings = embedding_params(facts) * (1 if facts.tied else 2)
    experts = expert_params(facts)
    norms = sum(kind.count * kind.norm_params for kind in layer_kinds(facts)) + facts.hidden
    rest = total_params(facts) - embeddings - experts - norms
    plain = min(2.0, per_param) if shape.weights_dtype != "fp32" else per_param
    dense_bytes = rest * (2.0 if shape.weights_dtype in EXPERTS_ONLY else plain)
    expert_gpus = shape.tensor_parallel * (shape.data_parallel if shape.expert_parallel else 1)
    other = (4.0 if shape.weights_dtype == "fp32" else 2.0) * (embeddings + norms)
    return (dense_bytes + other) / shape.tensor_parallel + per_param * experts / expert_gpus


def lora_bytes(shape: InferenceShape) -> float:
    """Room that vLLM reserves for all adapter slots at their largest rank."""
    if not shape.lora_slots:
        return 0.0
    adapter = lora_params(shape.model, shape.lora_rank, LORA_TARGETS).total
    return 2.0 * shape.lora_slots * adapter / shape.tensor_parallel


def is_large(total_gib: float, card: str = "") -> bool:
    """Whether vLLM takes its larger defaults for a card; it leaves the A100 out."""
    return total_gib >= LARGE_CARD_GIB and "a100" not in card.lower()


def batched_tokens(shape: InferenceShape, *, large: bool) -> int:
    """Tokens per engine step: as set, else vLLM's default for a server on such a card."""
    if shape.max_num_batched_tokens is not None:
        return shape.max_num_batched_tokens
    return 8192 if large else 2048


def activation_bytes(shape: InferenceShape, *, large: bool) -> float:
    """Peak of the profiling run beyond the weights: the widest layer, or the sampler.

    The sampler runs on the first worker only, which is therefore the smallest and decides.
    """
    facts = shape.model
    tokens = batched_tokens(shape, large=large)
    layer = 2.0 * tokens * (2 * facts.hidden + _widest(facts) / shape.tensor_parallel)
    if facts.moe is not None:
        copies = facts.moe.top_k * (facts.moe.latent or facts.hidden)
        inner = facts.moe.top_k * facts.moe.intermediate * facts.moe.matrices_per_expert
        layer = max(
            layer, 2.0 * tokens * (2 * facts.hidden + copies + inner / shape.tensor_parallel)
        )
    default = LARGE_CARD_SEQS if large else DEFAULT_SEQS
    rows = min(shape.max_num_seqs or default, tokens)
    sampler = float(SAMPLER_BYTES * rows * facts.vocab)
    return max(layer, sampler) + (VISION_BYTES if facts.vision else 0.0)


def _widest(facts: ModelFacts) -> int:
    attention = 2 * facts.q_width + 2 * facts.kv_width
    return max((3 if facts.gated_mlp else 2) * facts.intermediate, attention)


def estimate_inference(
    shape: InferenceShape, total_gib: float, card: str = ""
) -> InferenceEstimate:
    """Estimate vLLM's memory on each GPU of a card.

    Args:
        shape: The server.
        total_gib: Memory of the card, all of it: vLLM takes its share of the total.
        card: The card's name, for vLLM's defaults.

    Returns:
        The parts, and what the KV cache holds.
    """
    budget = shape.gpu_memory_utilization * total_gib * GIB
    weights = weights_bytes(shape)
    adapters = lora_bytes(shape)
    large = is_large(total_gib, card)
    activation = activation_bytes(shape, large=large)
    several = shape.tensor_parallel * shape.data_parallel > 1
    non_torch = NON_TORCH_BYTES + (NON_TORCH_NCCL_BYTES if several else 0.0)
    available = budget - weights - adapters - activation - non_torch
    band = max(BAND_SHARE * abs(available), BAND_BYTES)
    cache = kv_cache(shape, max(0.0, available))
    return InferenceEstimate(
        budget_bytes=budget,
        weights_bytes=weights,
        lora_bytes=adapters,
        activation_bytes=activation,
        non_torch_bytes=non_torch,
        available_kv_bytes=available,
        bytes_per_token=cache.bytes_per_token,
        kv_cache_tokens=cache.tokens,
        max_concurrency=cache.max_concurrency,
        low_available_bytes=available - band,
        high_available_bytes=available + band,
        starts=available > 0 and cache.starts,
        assumptions=_assumptions(shape, large=large),
        uncovered=_uncovered(shape),
    )


def _assumptions(shape: InferenceShape, *, large: bool) -> tuple[str, ...]:
    said = [
        f"weights in {shape.weights_dtype}, KV cache in {shape.kv_cache_dtype}",
        f"{batched_tokens(shape, large=large):,} tokens per engine step",
        f"requests of up to {shape.length:,} tokens",
        "nothing else on the card",
    ]
    if not shape.enforce_eager:
        said.append("CUDA graphs (0.5 to 3.5 GiB) come on top of vLLM's budget")
    if shape.lora_slots:
        said.append(f"room for {shape.lora_slots} adapters of rank {shape.lora_rank}")
    return tuple(said)


def _uncovered(shape: InferenceShape) -> tuple[str, ...]:
    facts = shape.model
    parts = {
        "latent attention": facts.mla is not None,
        "Mamba hybrids": facts.hybrid is not None,
        "window attention (newest vLLM's book-keeping)": facts.window_layers > 0,
        "vision parts (an allowance is taken)": facts.vision,
        "adapters": shape.lora_slots > 0,
        "expert parallelism": shape.expert_parallel,
    }
    return tuple(name for name, asked in parts.items() if asked)
