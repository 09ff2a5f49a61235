"""Measured constants of the memory model, each with what it means and what it was taken from.

The first four were fitted together on 65 public runs (January and February 2026: seven dense
models and three mixtures of experts on A6000, H100, H200 and B200, one to eight GPUs, LoRA and
full, 16k and 64k tokens). The others were read off single pairs of runs. Nothing else is fitted;
``benchmarks/memory.py --leave-one-out`` fits the first four again without each model in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Fitted:
    """The constants that were fitted together.

    Attributes:
        hidden_tensors: Tensors as wide as the residual stream that live at once while one layer
            is recomputed and differentiated (norm inputs and outputs in float32, residuals,
            gradients), in units of bf16.
        hidden_tensors_hf: As many more in transformers' model code, which fuses less than
            prime-rl's own.
        routed_tensors: Multiple of the routed width ``top_k * (2 hidden + 3 expert width)``: token
            copies before and after the experts, float32 scaling, gradients and, with LoRA, each
            product twice.
        later_code: Growth of the dense working set from mid January to February 2026 (Liger
            kernels gone, grouped matrix products for adapters everywhere).
    """

    hidden_tensors: float = 19.4
    hidden_tensors_hf: float = 8.5
    routed_tensors: float = 3.7
    later_code: float = 1.18


FITTED: Final = Fitted()
"""Fitted on the 65 runs; without a model's own runs the error grows from 2.1 % to 2.9 %."""

PLAIN_LOGIT_BYTES: Final = 18.0
"""Bytes per logit of the plain head: bf16 logits, float32 copy, softmax and its gradient, bf16
gradient, from sft runs of 16,384 tokens."""

CHUNK_BUFFERS: Final = 8.9
"""Float32 buffers of one chunk of logits alive at once in the fused head's backward: 31.8 GiB
against 22.7 GiB with vocabulary chunks of 8192 instead of 2048."""

FOREACH_TEMPORARY: Final = 1.28
"""Temporary of the multi-tensor AdamW step in units of one float32 shard, from the run with
optimizer states on the CPU, whose peak is the optimizer step."""

# --- not fitted: counted in the code, or seen directly ---

GATHERED_LAYERS: Final = 3
"""Layers whose bf16 weights are gathered at once: in use, prefetched, and the copy-in buffer."""

HEAD_HIDDEN_TENSORS: Final = 4
"""Residual-wide bf16 tensors alive in the head: input, its gradient, norm output, norm input."""

TRANSFORMERS_5: Final = 1.5
"""Growth of the working set of transformers' model code with transformers 5 (one run of February
2026: 22.7 GiB where 19.7 was expected; one of May 2026 needs 1.7)."""

UNCOMPILED: Final = 1.25
"""Allowance for layers without torch.compile; not measured."""

CONTEXT_BYTES: Final = 1.2 * 2**30
"""CUDA context of one process, from an out-of-memory message of an H100."""

CONTEXT_AND_NCCL_BYTES: Final = 2.3 * 2**30
"""CUDA context and NCCL buffers, from an out-of-memory message of eight B200."""

LOW_SHARE: Final = 0.10
"""Half band below the estimate for what the measured runs cover: worst of leave-one-model-out."""

HIGH_SHARE: Final = 0.12
"""Half band above it."""

UNCOVERED_SHARES: Final = {
    "working set": (0.5, 0.6),
    "logits": (0.3, 0.4),
}
"""Half bands below and above, of the parts that depend most on code, for runs that no measured
run covers."""

UNCOVERED_SHARE: Final = (0.15, 0.20)
"""The same of all other parts, which are arithmetic on shapes and dtypes."""
