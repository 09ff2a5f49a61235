"""How many tokens vLLM's KV cache holds, by the kind of attention.

Checked against public start-up logs: to the token for gated-delta hybrids, within 1.5 % for
grouped-query attention, where the log rounds the available memory to 0.01 GiB.
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_prime_train.memory.shapes import InferenceShape
from pytest_prime_train.models.facts import Hybrid, LinearAttention

BLOCK_TOKENS = 16
"""vLLM hands out the cache in blocks of 16 tokens."""

KV_BYTES = {"bf16": 2, "fp16": 2, "float16": 2, "bfloat16": 2, "auto": 2, "fp8": 1}

INDEXER_BYTES = 132
"""Cache of a sparse-attention indexer per token and layer: 128 fp8 keys and one float32 scale."""

DEFAULT_BATCHED_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class KvCache:
    """What a given amount of memory holds.

    Attributes:
        tokens: Tokens, as vLLM logs them.
        max_concurrency: Requests of full length at once.
        bytes_per_token: Bytes that each further token of a long request takes.
        request_bytes: Bytes of one request of full length.
        block_tokens: Tokens per block.
        blocks: Blocks in all; 0 where they differ by layer.
    """

    tokens: int
    max_concurrency: float
    bytes_per_token: float
    request_bytes: float
    block_tokens: int
    blocks: int

    @property
    def starts(self) -> bool:
        """Whether one request of full length fits, without which vLLM refuses to start."""
        return self.max_concurrency >= 1


def kv_bytes(dtype: str) -> int:
    """Bytes of one number in the cache."""
    return 1 if dtype.startswith("fp8") else KV_BYTES.get(dtype, 2)


def bytes_per_token(shape: InferenceShape) -> float:
    """Bytes per token and GPU of the layers whose cache grows with the sequence."""
    facts, width = shape.model, kv_bytes(shape.kv_cache_dtype)
    if facts.mla is not None:
        latent = facts.mla.kv_lora_rank + facts.mla.qk_rope_head_dim
        total = float(facts.layers * latent * width)
        if facts.mla.indexer is not None:
            total += facts.mla.indexer.layers * INDEXER_BYTES
        return total
    kv_heads, head_dim = facts.kv_heads, facts.head_dim
    if facts.global_attention is not None:
        kv_heads, head_dim = facts.global_attention.kv_heads, facts.global_attention.head_dim
    return 2.0 * facts.global_attention_layers * _heads_per_gpu(kv_heads, shape) * head_dim * width


def window_bytes_per_token(shape: InferenceShape) -> float:
    """Bytes per token and GPU of the layers that see only a window."""
    facts = shape.model
    if facts.mla is not None or not facts.window_layers:
        return 0.0
    heads = _heads_per_gpu(facts.kv_heads, shape)
    return 2.0 * facts.window_layers * heads * facts.head_dim * kv_bytes(shape.kv_cache_dtype)


def _heads_per_gpu(kv_heads: int, shape: InferenceShape) -> float:
    """Key heads on each GPU; they are copied when there are more GPUs than heads."""
    return kv_heads / min(shape.tensor_parallel, kv_heads)


def kv_cache(shape: InferenceShape, available_bytes: float) -> KvCache:
    """What the memory available for the cache holds.

    Args:
        shape: The server.
        available_bytes: Memory for the cache on each GPU; the smallest worker decides.
    """
    if shape.model.linear_attention is not None or shape.model.hybrid is not None:
        return _with_states(shape, available_bytes)
    if shape.model.window_layers:
        return _with_windows(shape, available_bytes)
    per_token = bytes_per_token(shape)
    blocks = max(0, int(available_bytes // (per_token * BLOCK_TOKENS)))
    tokens = blocks * BLOCK_TOKENS
    length = max(1, shape.length)
    return KvCache(
        tokens=tokens,
        max_concurrency=tokens / length,
        bytes_per_token=per_token,
        request_bytes=per_token * -(-length // BLOCK_TOKENS) * BLOCK_TOKENS,
        block_tokens=BLOCK_TOKENS,
        blocks=blocks,
    )


def _with_windows(shape: InferenceShape, available_bytes: float) -> KvCache:
    """Window layers keep a window and what one step adds, whatever the request's length."""
    length = max(1, shape.length)
    batched = shape.max_num_batched_tokens or DEFAULT_BATCHED_TOKENS
    window = min(length, (shape.model.sliding_window or length) - 1 + batched)
    full_blocks = -(-length // BLOCK_TOKENS)
    window_blocks = min(full_blocks, -(-window // BLOCK_TOKENS) + 1)
    per_token, per_window_token = bytes_per_token(shape), window_bytes_per_token(shape)
    request = BLOCK_TOKENS * (full_blocks * per_token + window_blocks * per_window_token)
    concurrency = max(0.0, available_bytes) / request
    return KvCache(
        tokens=int(concurrency * length),
        max_concurrency=concurrency,
        bytes_per_token=per_token,
        request_bytes=request,
        block_tokens=BLOCK_TOKENS,
        blocks=0,
    )


def _state_bytes(shape: InferenceShape) -> tuple[float, int, int]:
    """State of one layer and request, layers with a state, layers with attention."""
    facts, tp = shape.model, shape.tensor_parallel
    linear: LinearAttention | None = facts.linear_attention
    if linear is not None:
        keys, values = linear.k_heads * linear.k_dim, linear.v_heads * linear.v_dim
        state = linear.v_heads / tp * linear.k_dim * linear.v_dim * 4
        state += (2 * keys + values) / tp * (linear.conv - 1) * 2
        attention = linear.full_attention_layers
        return state, facts.layers - attention, attention
    hybrid: Hybrid | None = facts.hybrid
    assert hybrid is not None
    inner = hybrid.mamba_heads * hybrid.mamba_head_dim
    state = inner / tp * hybrid.state * 4
    state += (inner + 2 * hybrid.n_groups * hybrid.state) / tp * (hybrid.conv - 1) * 2
    return state, hybrid.pattern.count("M"), max(1, hybrid.pattern.count("*"))


def _with_states(shape: InferenceShape, available_bytes: float) -> KvCache:
    """Layers with a state of fixed size share pages with attention layers: big blocks."""
    facts = shape.model
    width = kv_bytes(shape.kv_cache_dtype)
    state, state_layers, attention_layers = _state_bytes(shape)
    per_layer = 2 * max(1.0, facts.kv_heads / shape.tensor_parallel) * facts.head_dim * width
    block = int(-(-state // per_layer))
    block = -(-block // BLOCK_TOKENS) * BLOCK_TOKENS
    page = attention_layers * block * per_layer
    blocks = max(0, int(available_bytes // page))
    groups = -(-state_layers // attention_layers)
    length = max(1, shape.length)
    each = -(-length // block) + groups * (2 if shape.prefix_caching else 1)
    concurrency = blocks / each
    return KvCache(
        tokens=int(concurrency * length),
        max_concurrency=concurrency,
        bytes_per_token=attention_layers * per_layer,
        request_bytes=each * page,
        block_tokens=block,
        blocks=blocks,
    )
