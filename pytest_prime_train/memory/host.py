"""Host memory that offloading pins, and checkpoints on disk."""

from __future__ import annotations

from pytest_prime_train.memory.activations import saved_bytes
from pytest_prime_train.memory.optimizer import state_bytes, states_per_param
from pytest_prime_train.memory.shapes import DTYPE_BYTES, TrainerShape
from pytest_prime_train.memory.sharding import lora_of, trainable_params
from pytest_prime_train.models.params import total_params


def host_bytes_per_gpu(shape: TrainerShape) -> float:
    """Pinned host memory for each GPU: offloaded activations, states, weights and gradients."""
    pinned = saved_bytes(shape) if shape.ac_offloading else 0.0
    share = trainable_params(shape) / shape.shards
    if shape.full_offload:
        # Float32 masters, accumulated gradients and states.
        return pinned + (8 + 4 * states_per_param(shape)) * share
    if shape.fsdp_cpu_offload:
        width = DTYPE_BYTES[shape.optimization_dtype]
        return (
            pinned + width * (total_params(shape.model) / shape.shards + share) + state_bytes(shape)
        )
    if shape.optim_cpu_offload:
        return pinned + state_bytes(shape)
    return pinned


def checkpoint_bytes(shape: TrainerShape) -> float:
    """One training checkpoint on disk, all ranks together: weights and optimizer states."""
    width = 4 if shape.full_offload else DTYPE_BYTES[shape.optimization_dtype]
    weights = total_params(shape.model) + shape.lora_slots * lora_of(shape).total
    return width * weights + width * states_per_param(shape) * trainable_params(shape)


def exported_weights_bytes(shape: TrainerShape) -> float:
    """One export of the weights in bf16; of the adapters alone with LoRA."""
    exported = lora_of(shape).total if shape.lora_rank is not None else total_params(shape.model)
    return 2.0 * exported
