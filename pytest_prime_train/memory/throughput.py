"""Speed of the trainer: time of a micro batch from work, bytes moved and launches.

No single utilisation figure: measured runs range from 2 to 67 % of a card's peak. The constants
below were fitted on 59 public runs with grouped matrix products (leave one model out: median
error 3.4 %, 98 % within 15 %).
"""

from __future__ import annotations

from typing import Final

from pytest_prime_train.memory.activations import (
    dense_ffn_width,
    mixer_width,
    routed_width,
)
from pytest_prime_train.memory.gpus import Gpu
from pytest_prime_train.memory.shapes import Throughput, TrainerShape
from pytest_prime_train.memory.trainer import uncovered_parts
from pytest_prime_train.models.params import (
    active_matmul_params,
    embedding_params,
    layer_kinds,
    total_params,
)

MATMUL: Final = 2.14
"""Time of matrix products over work at peak, element-wise kernels of a layer included."""

ATTENTION_3: Final = 1.38
"""Time of FlashAttention 3 on Hopper over causal work at peak."""

ATTENTION_2: Final = 1.28
"""Time of FlashAttention 2 over causal work at peak, on cards it was written for."""

ATTENTION_2_DATACENTER: Final = 2.61
"""The same on Hopper and on Blackwell, where it is no faster: over work at Hopper's peak."""

ATTENTION_4: Final = 1.78
"""Time of FlashAttention 4 on Blackwell over causal work at peak."""

ROUTED_PASSES: Final = 61.6
"""Passes over what the routed experts keep, at effective bandwidth."""

LORA_PASSES: Final = 29.7
"""Passes over what the adapted modules keep, added by adapters."""

HEAD_PASSES: Final = 191.0
"""Passes over float32 logits in the head by vocabulary chunks, which waits for the GPU."""

HEAD_PASSES_BLACKWELL: Final = 1.94
"""How many times more of those it takes on Blackwell, where waiting weighs more."""

TOKEN_CHUNK_SHARE: Final = 0.26
"""Share of those passes in the head by token chunks (one pair of runs)."""

PLAIN_PASSES: Final = 25.7
"""Passes over float32 logits of the plain head."""

LAUNCH_SECONDS: Final = 5.9e-3
"""Launches and gaps per layer and micro batch."""

LORA_LAUNCH_SECONDS: Final = 2.1e-3
"""Added by adapters."""

HOPPER_TFLOPS: Final = 989.4
REDUCTION_BYTES_PER_S: Final = 4e11
"""Assumed speed of gradient reduction within a node."""

EFFECTIVE_BANDWIDTH: Final = {"H200-141GB-SXM": 0.83, "B200-180GB-SXM": 0.75}
"""Share of the nominal bandwidth that these kernels reach where it is below that on H100."""

MEASURED_GPUS: Final = frozenset(
    {"A6000-48GB", "H100-80GB-SXM", "H200-141GB-SXM", "B200-180GB-SXM"}
)

BAND_SHARE: Final = 0.18
UNCOVERED_BAND_SHARE: Final = 0.40
PARTIAL_COST: Final = {"none": 0.0, "selective": 0.4, "full": 1.0}
"""Share of a forward pass that activation checkpointing repeats."""

ACTIVATION_OFFLOAD_COST: Final = 1.03
"""Slowdown by offloading activations: 3 % in two pairs of runs."""

HOST_BYTES_PER_S: Final = 5e10
"""Assumed memory bandwidth of the host per GPU, which an optimizer on the CPU lives on."""

TRANSFER_BYTES_PER_S: Final = 2.5e10
"""Assumed speed of copies between host and GPU, per GPU."""


def _matmul_seconds(shape: TrainerShape, peak: float) -> float:
    """Matrix products of all layers and of the head, forward, recomputation and backward."""
    repeated = PARTIAL_COST[shape.ac] / max(1, shape.ac_freq)
    trained = 4 if shape.lora_rank is None else 2
    per_param = 2 * (1 + repeated) + trained
    work = per_param * active_matmul_params(shape.model) * shape.tokens
    head = 6 if shape.lm_head == "plain" else 8
    work += head * embedding_params(shape.model) * shape.tokens
    speedup = 1.4 if shape.quantization is not None else 1.0
    return MATMUL * work / shape.tp / peak / speedup


def attention_work(shape: TrainerShape) -> float:
    """Floating-point operations of causal attention in one micro batch, all passes."""
    facts = shape.model
    length = shape.seq_len
    rows = shape.tokens / length
    pairs = facts.global_attention_layers * length * length / 2
    if facts.window_layers:
        window = min(facts.sliding_window or length, length)
        pairs += facts.window_layers * length * window
    passes = 3.5 + PARTIAL_COST[shape.ac] / max(1, shape.ac_freq)
    return 4 * facts.q_width * pairs * rows * passes / shape.tp


def _attention_seconds(shape: TrainerShape, gpu: Gpu, peak: float) -> float:
    work = attention_work(shape)
    if shape.attention == "flash_attention_4":
        return ATTENTION_4 * work / peak
    if shape.attention == "flash_attention_3":
        return ATTENTION_3 * work / peak
    if gpu.sm in (90, 100, 103):
        return ATTENTION_2_DATACENTER * work / (HOPPER_TFLOPS * 1e12)
    return ATTENTION_2 * work / peak


def _moved_seconds(shape: TrainerShape, bandwidth: float) -> float:
    """Passes over wide tensors that experts and adapters add."""
    facts = shape.model
    moved = 0.0
    for kind in layer_kinds(facts):
        moved += ROUTED_PASSES * kind.count * routed_width(facts, kind)
        if shape.lora_rank is not None:
            width = 2 * facts.hidden + mixer_width(facts, kind) + dense_ffn_width(facts, kind)
            moved += LORA_PASSES * kind.count * width
    return 2 * shape.tokens * moved / shape.tp / bandwidth


def _head_seconds(shape: TrainerShape, gpu: Gpu, bandwidth: float) -> float:
    logits = 4.0 * shape.tokens * shape.model.vocab / shape.tp
    if shape.lm_head == "plain":
        return PLAIN_PASSES * logits / bandwidth
    passes = HEAD_PASSES
    if shape.lm_head == "token chunks":
        passes *= TOKEN_CHUNK_SHARE
    elif gpu.sm >= 100:
        passes *= HEAD_PASSES_BLACKWELL
    return passes * logits / bandwidth


def _step_seconds(shape: TrainerShape, bandwidth: float) -> float:
    """The optimizer step: states read and written, and fetched where they are offloaded."""
    if shape.lora_rank is not None:
        return 0.0
    held = total_params(shape.model) / shape.shards
    seconds = 32 * held / bandwidth
    if shape.optim_cpu_offload:
        seconds += 16 * held / TRANSFER_BYTES_PER_S
    if shape.full_offload:
        # Gradients down, weights up; masters, gradients and states read and written.
        seconds += 4 * held / TRANSFER_BYTES_PER_S + 28 * held / HOST_BYTES_PER_S
    if shape.fsdp_cpu_offload:
        seconds += 16 * held / TRANSFER_BYTES_PER_S
    return seconds


def estimate_speed(shape: TrainerShape, gpu: Gpu) -> Throughput | None:
    """Estimate the trainer's tokens per second on one card.

    Args:
        shape: The run.
        gpu: The card.

    Returns:
        The speed with a band; None for a card that cannot train in bf16.
    """
    if gpu.bf16_tflops is None or not gpu.bf16:
        return None
    peak = gpu.bf16_tflops * 1e12
    bandwidth = gpu.bandwidth_gb_s * 1e9 * EFFECTIVE_BANDWIDTH.get(gpu.id, 1.0)
    launches = LAUNCH_SECONDS + (LORA_LAUNCH_SECONDS if shape.lora_rank is not None else 0.0)
    reduced = 4 * total_params(shape.model) if shape.lora_rank is None and shape.shards > 1 else 0
    seconds = {
        "matrix products": _matmul_seconds(shape, peak),
        "attention": _attention_seconds(shape, gpu, peak),
        "experts and adapters": _moved_seconds(shape, bandwidth),
        "head": _head_seconds(shape, gpu, bandwidth),
        "launches": launches * shape.model.layers,
        "reduction": reduced / REDUCTION_BYTES_PER_S,
        "optimizer": _step_seconds(shape, bandwidth) / max(1, shape.micro_batches_per_step),
    }
    if shape.ac_offloading:
        seconds["activation offload"] = (ACTIVATION_OFFLOAD_COST - 1) * sum(seconds.values())
    if shape.fsdp_cpu_offload:
        weights = 4 * total_params(shape.model) / shape.shards
        seconds["weights from the host"] = 2 * weights / TRANSFER_BYTES_PER_S
    total = sum(seconds.values())
    speed = shape.tokens / total
    uncovered = list(uncovered_parts(shape))
    if gpu.id not in MEASURED_GPUS:
        uncovered.append(f"the speed of {gpu.id}")
    band = UNCOVERED_BAND_SHARE if uncovered else BAND_SHARE
    return Throughput(
        tokens_per_s_per_gpu=speed,
        low=speed * (1 - band),
        high=speed * (1 + band),
        micro_batch_seconds=total,
        seconds=seconds,
        uncovered=tuple(uncovered),
    )
