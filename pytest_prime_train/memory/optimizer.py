"""Gradients, optimizer states and the optimizer step."""

from __future__ import annotations

from pytest_prime_train.memory.constants import FOREACH_TEMPORARY
from pytest_prime_train.memory.shapes import DTYPE_BYTES, TrainerShape
from pytest_prime_train.memory.sharding import layer_bytes_gathered, lora_of, trainable_params
from pytest_prime_train.models.params import embedding_params, total_params


def states_per_param(shape: TrainerShape) -> float:
    """Optimizer states per trained parameter, in numbers."""
    if shape.optimizer == "adamw":
        return 2.0
    if shape.optimizer == "sgd":
        return 1.0
    if shape.optimizer == "sign_sgd":
        return 0.0
    # Muon keeps one momentum for matrices, AdamW's two for embedding and head.
    if shape.lora_rank is not None:
        return 1.0
    outside = embedding_params(shape.model) * (1 if shape.model.tied else 2)
    return 1.0 + outside / total_params(shape.model)


def _shard_bytes(shape: TrainerShape) -> float:
    """Trained parameters of one GPU in the optimization dtype."""
    return DTYPE_BYTES[shape.optimization_dtype] * trainable_params(shape) / shape.shards


def gradient_bytes(shape: TrainerShape) -> float:
    """Gradients that stay on the GPU until the optimizer step."""
    if shape.fsdp_cpu_offload or shape.full_offload:
        return 0.0
    return _shard_bytes(shape)


def state_bytes(shape: TrainerShape) -> float:
    """Optimizer states of one GPU's shard, wherever they rest."""
    return states_per_param(shape) * _shard_bytes(shape)


def resident_state_bytes(shape: TrainerShape) -> float:
    """Optimizer states that rest on the GPU between steps."""
    if shape.optim_cpu_offload or shape.fsdp_cpu_offload or shape.full_offload:
        return 0.0
    return state_bytes(shape)


def step_state_bytes(shape: TrainerShape) -> float:
    """Optimizer states on the GPU during the step: offloaded ones all come back for it."""
    if shape.fsdp_cpu_offload or shape.full_offload:
        return 0.0
    return state_bytes(shape)


def step_temporary_bytes(shape: TrainerShape) -> float:
    """What the multi-tensor optimizer step allocates beside its states."""
    if shape.fsdp_cpu_offload or shape.full_offload:
        return 0.0
    return FOREACH_TEMPORARY * _shard_bytes(shape)


def reduction_bytes(shape: TrainerShape) -> float:
    """A layer's gradient in bf16 and its copy in the reduction dtype, for trained parameters."""
    if shape.lora_rank is not None:
        width = 2 + DTYPE_BYTES[shape.reduce_dtype]
        return float(width * lora_of(shape).largest_layer)
    return layer_bytes_gathered(shape) * (1 + DTYPE_BYTES[shape.reduce_dtype] / 2)
