"""How fast vLLM can generate for a trainer: the limits of memory bandwidth and of arithmetic.

No published measurement of prime-rl covers it, so this is an estimate with a wide band
(:data:`BAND`): it says which half of a run waits for the other, not how many tokens per second an
engine logs.
"""

from __future__ import annotations

from pytest_prime_train.memory.gpus import Gpu
from pytest_prime_train.memory.shapes import InferenceEstimate, InferenceShape
from pytest_prime_train.models.params import active_params

BAND = 2.0
"""The real speed may be this many times lower or higher."""

_MOST_REQUESTS = 256
"""vLLM's own limit of requests at once, where the config has none (1,024 on large cards)."""
_BANDWIDTH_SHARE = 0.7
_ARITHMETIC_SHARE = 0.4
_SECONDS_PER_LAYER = 1e-4
"""Launches and, with tensor parallelism, two reductions for each layer of a decoding step."""


def tokens_per_second(
    shape: InferenceShape,
    memory: InferenceEstimate,
    gpu: Gpu,
    *,
    length: int,
    max_inflight: int | None = None,
) -> float | None:
    """Tokens that all engines of a run generate each second.

    Every decoding step reads the weights once and the cache of each request, and multiplies each
    request's token with the active weights; the slower of the two decides.

    Args:
        shape: The server.
        memory: Its memory on the card.
        gpu: The card.
        length: Tokens of a whole sequence; requests are half as long on average.
        max_inflight: Requests that the run has at once at most.

    Returns:
        None where the server does not start, or the card's speed is unknown.
    """
    if not memory.starts or gpu.bf16_tflops is None or memory.kv_cache_tokens <= 0:
        return None
    engines = shape.data_parallel * shape.replicas
    context = max(length / 2, 1.0)
    requests = min(memory.kv_cache_tokens / context, shape.max_num_seqs or _MOST_REQUESTS)
    if max_inflight is not None:
        requests = min(requests, max_inflight / engines)
    requests = max(requests, 1.0)
    read = memory.weights_bytes + requests * context * memory.bytes_per_token
    moved = read / (gpu.bandwidth_gb_s * 1e9 * _BANDWIDTH_SHARE)
    work = 2 * active_params(shape.model) * requests / shape.tensor_parallel
    computed = work / (gpu.bf16_tflops * 1e12 * _ARITHMETIC_SHARE)
    step = max(moved, computed) + _SECONDS_PER_LAYER * shape.model.layers
    return engines * requests / step
