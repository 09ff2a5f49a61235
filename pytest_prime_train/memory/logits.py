"""The LM head: logits in full, by chunks of the vocabulary, or by chunks of tokens."""

from __future__ import annotations

from pytest_prime_train.memory.constants import (
    CHUNK_BUFFERS,
    HEAD_HIDDEN_TENSORS,
    PLAIN_LOGIT_BYTES,
)
from pytest_prime_train.memory.shapes import DTYPE_BYTES, TrainerShape
from pytest_prime_train.memory.sharding import head_weight_bytes
from pytest_prime_train.memory.versions import traits


def logit_bytes(shape: TrainerShape) -> float:
    """Logits and what is made of them at once."""
    vocab = shape.model.vocab
    if shape.lm_head == "plain":
        return PLAIN_LOGIT_BYTES * shape.tokens * vocab / shape.tp
    entries = min(vocab, shape.vocab_chunk)
    tokens = shape.tokens
    if shape.lm_head == "token chunks":
        tokens = min(tokens, shape.token_chunk)
    return CHUNK_BUFFERS * 4 * tokens * entries / shape.tp


def head_hidden_bytes(shape: TrainerShape) -> float:
    """Residual-wide tensors around the head."""
    return float(HEAD_HIDDEN_TENSORS * 2 * shape.tokens * shape.model.hidden)


def trains_head(shape: TrainerShape) -> bool:
    """Whether the head's weight is trained."""
    return shape.lora_rank is None


def head_gradient_bytes(shape: TrainerShape) -> float:
    """Bf16 gradient of the head's weight, which older code makes even when it is frozen."""
    if trains_head(shape) or traits(shape.version).head_gradient_always:
        return head_weight_bytes(shape)
    return 0.0


def head_reduction_bytes(shape: TrainerShape) -> float:
    """Input of the head gradient's reduction over GPUs."""
    if not trains_head(shape):
        return 0.0
    return head_weight_bytes(shape) / 2 * DTYPE_BYTES[shape.reduce_dtype]
