"""The trainer's peak memory on each GPU: the largest of three phases, with its components.

Layer phase: one layer is recomputed and differentiated while everything saved is alive. Head
phase: logits and their gradient. Optimizer phase: all states are on the GPU, activations gone.
"""

from __future__ import annotations

from collections.abc import Iterable

from pytest_prime_train.memory import activations, logits, optimizer, sharding
from pytest_prime_train.memory.constants import (
    CONTEXT_AND_NCCL_BYTES,
    CONTEXT_BYTES,
    FITTED,
    HIGH_SHARE,
    LOW_SHARE,
    UNCOVERED_SHARE,
    UNCOVERED_SHARES,
    Fitted,
)
from pytest_prime_train.memory.host import host_bytes_per_gpu
from pytest_prime_train.memory.shapes import Component, MemoryEstimate, TrainerShape
from pytest_prime_train.memory.versions import traits


def _resting(shape: TrainerShape) -> list[Component]:
    return [
        Component("weights", sharding.resident_weight_bytes(shape), "master weights of this shard"),
        Component("gradients", optimizer.gradient_bytes(shape), "of trained parameters"),
        Component("optimizer", optimizer.resident_state_bytes(shape), "states at rest"),
    ]


def _layer_phase(shape: TrainerShape, fitted: Fitted) -> list[Component]:
    head = sharding.head_weight_bytes(shape) + logits.head_gradient_bytes(shape)
    if logits.trains_head(shape) and shape.model.tied:
        # The gradient of the embedding waits for the end of the backward pass as well.
        head += sharding.head_weight_bytes(shape)
    work = activations.working_set_bytes(shape, fitted)
    return [
        *_resting(shape),
        Component("activations", activations.saved_bytes_on_gpu(shape), "saved for backward"),
        Component("working set", work, "one layer recomputed and differentiated"),
        Component("gathered weights", sharding.gathered_bytes(shape), "layers in bf16"),
        Component("logits", head, "LM head's weight and gradient"),
        Component("communication", optimizer.reduction_bytes(shape), "gradient reduction"),
    ]


def _head_phase(shape: TrainerShape) -> list[Component]:
    head = logits.logit_bytes(shape) + logits.head_hidden_bytes(shape)
    head += sharding.head_weight_bytes(shape) + logits.head_gradient_bytes(shape)
    reduction = 0.0 if shape.model.tied else logits.head_reduction_bytes(shape)
    return [
        *_resting(shape),
        Component("activations", activations.saved_bytes_on_gpu(shape), "saved for backward"),
        Component("gathered weights", sharding.gathered_bytes(shape), "layers in bf16"),
        Component("logits", head, "logits, LM head's weight and gradient"),
        Component("communication", reduction, "head gradient reduction"),
    ]


def _optimizer_phase(shape: TrainerShape) -> list[Component]:
    weights, gradients, _ = _resting(shape)
    states = optimizer.step_state_bytes(shape) + optimizer.step_temporary_bytes(shape)
    return [weights, gradients, Component("optimizer", states, "all states and the step's own")]


def uncovered_parts(shape: TrainerShape) -> tuple[str, ...]:
    """What of a run no measured run covers, in words; empty when all of it is covered."""
    facts = shape.model
    parts: list[str] = []
    if not traits(shape.version).measured:
        parts.append(f"memory of prime-rl {shape.version}")
    for asked, name in (
        (shape.cp > 1, "context parallelism"),
        (shape.ep > 1, "expert parallelism"),
        (shape.tp > 1, "tensor parallelism"),
        (shape.dp_replicate > 1, "replicated shards"),
        (shape.quantization is not None, f"{shape.quantization} matrix products"),
        (shape.optimization_dtype == "bfloat16", "bf16 optimization"),
        (shape.reduce_dtype == "bfloat16", "bf16 gradient reduction"),
        (shape.ac != "full" or shape.ac_freq > 1, "partial activation checkpointing"),
        (shape.fsdp_cpu_offload, "offloaded weights"),
        (shape.full_offload, "an optimizer on the CPU"),
        (shape.optimizer != "adamw", f"the {shape.optimizer} optimizer"),
        (not shape.compiled, "layers without torch.compile"),
        (not shape.reshard_after_forward, "weights that stay gathered"),
        (shape.micro_batch_size > 1, "several sequences per micro batch"),
        (facts.mla is not None, "latent attention"),
        (facts.linear_attention is not None or facts.hybrid is not None, "hybrid attention"),
        (shape.vision, "vision parts (their weights are not counted)"),
        (facts.counted_params is not None, f"the architecture {facts.family!r}"),
    ):
        if asked:
            parts.append(name)
    return tuple(parts)


def _assumptions(shape: TrainerShape) -> tuple[str, ...]:
    said = [
        f"{shape.model.name} with {shape.implementation} model code, {shape.attention}",
        f"one packed micro batch of {shape.tokens:,} tokens per GPU",
        "balanced routing" if shape.model.moe is not None else "",
        f"activation checkpointing {shape.ac}"
        + (", activations offloaded" if shape.ac_offloading else ""),
        f"LM head by {shape.lm_head}" if shape.lm_head != "plain" else "plain logits",
        "peak as the caching allocator reserves it, without expandable segments",
    ]
    return tuple(item for item in said if item)


def estimate(shape: TrainerShape, fitted: Fitted = FITTED) -> MemoryEstimate:
    """Estimate the trainer's peak memory on each GPU.

    Args:
        shape: The run.
        fitted: Constants of the working set; others than the package's only to check the fit.

    Returns:
        The peak in bytes per GPU with a band and its components.
    """
    phases = {
        "layer": _layer_phase(shape, fitted),
        "head": _head_phase(shape),
        "optimizer": _optimizer_phase(shape),
    }
    sums = {name: sum(part.num_bytes for part in parts) for name, parts in phases.items()}
    phase = max(sums, key=lambda name: sums[name])
    peak = sums[phase]
    uncovered = uncovered_parts(shape)
    low, high = _band(phases.values(), covered=not uncovered)
    if uncovered:
        high += activations.in_flight_bytes(shape) + _routing_slack_bytes(shape)
    return MemoryEstimate(
        peak_bytes=peak,
        low_bytes=low,
        high_bytes=high,
        outside_bytes=CONTEXT_BYTES if shape.num_gpus == 1 else CONTEXT_AND_NCCL_BYTES,
        phase=phase,
        components=tuple(part for part in phases[phase] if part.num_bytes > 0),
        phase_bytes=sums,
        host_bytes_per_gpu=host_bytes_per_gpu(shape),
        assumptions=_assumptions(shape),
        uncovered=uncovered,
    )


def _band(phases: Iterable[list[Component]], *, covered: bool) -> tuple[float, float]:
    """Ends of the band: each phase with its parts at their lowest and at their highest."""
    low = high = 0.0
    for parts in phases:
        least = most = 0.0
        for part in parts:
            below, above = (LOW_SHARE, HIGH_SHARE)
            if not covered:
                below, above = UNCOVERED_SHARES.get(part.name, UNCOVERED_SHARE)
            least += (1 - below) * part.num_bytes
            most += (1 + above) * part.num_bytes
        low, high = max(low, least), max(high, most)
    return low, high


def _routing_slack_bytes(shape: TrainerShape) -> float:
    """With expert parallelism: exchange buffers, and a quarter more tokens than the mean."""
    if shape.ep <= 1 or shape.model.moe is None:
        return 0.0
    moe = shape.model.moe
    copies = shape.tokens * moe.top_k * (moe.latent or shape.model.hidden)
    return 2.0 * 2 * copies * 1.25
