"""Which share of the parameters rests on each GPU, and what FSDP gathers."""

from __future__ import annotations

from pytest_prime_train.memory.constants import GATHERED_LAYERS
from pytest_prime_train.memory.lora import LoraParams, lora_params
from pytest_prime_train.memory.shapes import DTYPE_BYTES, TrainerShape
from pytest_prime_train.models.params import embedding_params, layer_kinds, total_params

GATHER_BYTES = 2
"""Weights are gathered in bf16 whatever the master weights are."""


def lora_of(shape: TrainerShape) -> LoraParams:
    """Adapter parameters of one slot; all zero when every parameter is trained."""
    if shape.lora_rank is None:
        return LoraParams(0, 0)
    return lora_params(shape.model, shape.lora_rank, shape.lora_targets)


def trainable_params(shape: TrainerShape) -> int:
    """Parameters with gradients and optimizer states, over all GPUs."""
    if shape.lora_rank is not None:
        return lora_of(shape).total
    return total_params(shape.model)


def resident_weight_bytes(shape: TrainerShape) -> float:
    """Master weights that rest on each GPU, adapters of all slots included."""
    if shape.fsdp_cpu_offload:
        return 0.0
    width = 2 if shape.full_offload else DTYPE_BYTES[shape.optimization_dtype]
    held = total_params(shape.model) + shape.lora_slots * lora_of(shape).total
    return width * held / shape.shards


def layer_bytes_gathered(shape: TrainerShape) -> float:
    """Bf16 weights of the largest layer as one GPU gathers it: 1/ep of the experts, 1/tp of all."""
    adapters = shape.lora_slots * lora_of(shape).largest_layer
    largest = max(
        kind.dense_params + kind.expert_params / shape.ep for kind in layer_kinds(shape.model)
    )
    return GATHER_BYTES * (largest + adapters) / shape.tp


def gathered_bytes(shape: TrainerShape) -> float:
    """All gathered layer weights at once."""
    if not shape.reshard_after_forward:
        layers = sum(
            kind.count * (kind.dense_params + kind.expert_params / shape.ep)
            for kind in layer_kinds(shape.model)
        )
        return GATHER_BYTES * layers / shape.tp + layer_bytes_gathered(shape)
    return GATHERED_LAYERS * layer_bytes_gathered(shape)


def head_weight_bytes(shape: TrainerShape) -> float:
    """The gathered LM head: with tied embeddings the root group, else head and last norm."""
    return GATHER_BYTES * embedding_params(shape.model) / shape.tp
