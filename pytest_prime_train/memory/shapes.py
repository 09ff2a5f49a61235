"""What the estimates take and what they give; bytes per GPU unless the name says otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytest_prime_train.models.facts import ModelFacts

GIB = 2**30

Dtype: TypeAlias = Literal["float32", "bfloat16"]
Attention: TypeAlias = Literal["flash_attention_2", "flash_attention_3", "flash_attention_4"]
Checkpointing: TypeAlias = Literal["none", "selective", "full"]
LmHead: TypeAlias = Literal["plain", "vocabulary chunks", "token chunks"]
Optimizer: TypeAlias = Literal["adamw", "sgd", "muon", "sign_sgd"]
Implementation: TypeAlias = Literal["custom", "hf"]
Verdict: TypeAlias = Literal["fits", "tight", "does-not-fit", "unknown"]

DTYPE_BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2}

LORA_TARGETS = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
    "experts",
    "fc1_latent_proj",
    "fc2_latent_proj",
)
"""prime-rl's default of ``model.lora.target_modules``."""


@dataclass(frozen=True, slots=True)
class TrainerShape:
    """Everything of a training run that its memory and speed depend on.

    Attributes:
        model: The model's facts.
        kind: ``rl`` or ``sft``.
        num_gpus: GPUs of the trainer, all nodes together.
        seq_len: Tokens of one packed sequence.
        micro_batch_size: Sequences per micro batch (1 in rl).
        micro_batches_per_step: Micro batches that each GPU works through per optimizer step.
        dp_replicate: Copies of the sharded model.
        cp: GPUs that share a sequence.
        ep: GPUs that share the experts of a layer.
        tp: GPUs that share each matrix (not in current prime-rl).
        lora_rank: Rank of the adapters; None trains all parameters.
        lora_slots: Adapters kept at once (4 in the measured runs, 1 today).
        lora_targets: Module names with adapters.
        frozen_router: Whether the routers are not trained.
        ac: Activation checkpointing: none, selective or full.
        ac_freq: Every how many layers activations are checkpointed.
        ac_targets: What selective checkpointing recomputes.
        ac_offloading: Whether saved activations rest in host memory.
        ac_in_flight: Offloaded activations that may be on the GPU at once.
        optim_cpu_offload: Whether optimizer states rest in host memory.
        fsdp_cpu_offload: Whether weights, gradients and states rest in host memory.
        full_offload: Whether the optimizer runs on the CPU, with masters there.
        optimization_dtype: Dtype of weights, gradients and states.
        reduce_dtype: Dtype in which gradients are summed over GPUs.
        compiled: Whether layers go through ``torch.compile``.
        quantization: ``fp8`` or ``mxfp8`` matrix products; None for bf16.
        reshard_after_forward: Whether gathered weights are freed between uses.
        lm_head: How logits are made.
        token_chunk: Tokens per chunk of a head by token chunks.
        vocab_chunk: Vocabulary entries per chunk.
        attention: Attention kernel.
        implementation: prime-rl's own model code, or transformers'.
        version: Version of prime-rl, such as ``v0.4.0`` or ``main-2026-08-21``.
        vision: Whether the vision part is trained with.
    """

    model: ModelFacts
    kind: Literal["rl", "sft"] = "rl"
    num_gpus: int = 1
    seq_len: int = 2048
    micro_batch_size: int = 1
    micro_batches_per_step: int = 2
    dp_replicate: int = 1
    cp: int = 1
    ep: int = 1
    tp: int = 1
    lora_rank: int | None = None
    lora_slots: int = 1
    lora_targets: tuple[str, ...] = LORA_TARGETS
    frozen_router: bool = False
    ac: Checkpointing = "full"
    ac_freq: int = 1
    ac_targets: tuple[str, ...] = ("norm",)
    ac_offloading: bool = True
    ac_in_flight: int = 5
    optim_cpu_offload: bool = True
    fsdp_cpu_offload: bool = False
    full_offload: bool = False
    optimizer: Optimizer = "adamw"
    optimization_dtype: Dtype = "float32"
    reduce_dtype: Dtype = "float32"
    compiled: bool = True
    quantization: str | None = None
    reshard_after_forward: bool = True
    lm_head: LmHead = "token chunks"
    token_chunk: int = 8192
    vocab_chunk: int = 8192
    attention: Attention = "flash_attention_3"
    implementation: Implementation = "custom"
    version: str = "main-2026-08-21"
    vision: bool = False

    @property
    def shards(self) -> int:
        """GPUs that one copy of the model is spread over."""
        return max(1, self.num_gpus // self.dp_replicate)

    @property
    def tokens(self) -> int:
        """Tokens per GPU and micro batch."""
        return -(-self.seq_len * self.micro_batch_size // self.cp)


@dataclass(frozen=True, slots=True)
class InferenceShape:
    """Everything of a vLLM server that its memory depends on.

    Attributes:
        model: The model's facts.
        gpu_memory_utilization: Share of a card's memory vLLM may use.
        tensor_parallel: GPUs that share each matrix.
        data_parallel: Engines side by side.
        expert_parallel: Whether experts are spread over all GPUs of all engines.
        weights_dtype: ``bf16``, ``fp8``, ``int4``, ``mxfp4``, ``nvfp4``, ``fp32``.
        kv_cache_dtype: ``bf16`` or ``fp8``.
        max_model_len: Longest request; None for the model's own maximum.
        max_num_batched_tokens: Tokens per engine step; None for vLLM's default.
        max_num_seqs: Requests per engine step; None for vLLM's default.
        prefix_caching: Whether finished prefixes are kept.
        lora_slots: Adapters that vLLM reserves room for; 0 without LoRA.
        lora_rank: Rank that each of them has room for.
        replicas: Independent servers.
        enforce_eager: Whether CUDA graphs are off.
    """

    model: ModelFacts
    gpu_memory_utilization: float = 0.9
    tensor_parallel: int = 1
    data_parallel: int = 1
    expert_parallel: bool = False
    weights_dtype: str = "bf16"
    kv_cache_dtype: str = "bf16"
    max_model_len: int | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    prefix_caching: bool = True
    lora_slots: int = 0
    lora_rank: int = 16
    replicas: int = 1
    enforce_eager: bool = False

    @property
    def length(self) -> int:
        """Longest request in tokens."""
        return self.max_model_len or self.model.max_positions


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a peak: its name, its bytes per GPU and what it is."""

    name: str
    num_bytes: float
    what: str = ""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Peak memory of the trainer on each GPU, as the caching allocator reserves it.

    Attributes:
        peak_bytes: Best estimate.
        low_bytes: Lower end of the band.
        high_bytes: Upper end of the band; a verdict "fits" is given on this.
        outside_bytes: CUDA context and NCCL, which come on top of the three above.
        phase: When the peak is reached: layer, head or optimizer.
        components: What makes up the peak.
        phase_bytes: Peak of each phase.
        host_bytes_per_gpu: Pinned host memory for each GPU.
        assumptions: What was taken for granted.
        uncovered: What no measured run covers.
    """

    peak_bytes: float
    low_bytes: float
    high_bytes: float
    outside_bytes: float
    phase: str
    components: tuple[Component, ...]
    phase_bytes: dict[str, float]
    host_bytes_per_gpu: float = 0.0
    assumptions: tuple[str, ...] = ()
    uncovered: tuple[str, ...] = ()

    @property
    def peak_gib(self) -> float:
        """Best estimate in GiB."""
        return self.peak_bytes / GIB

    @property
    def low_gib(self) -> float:
        """Lower end of the band in GiB."""
        return self.low_bytes / GIB

    @property
    def high_gib(self) -> float:
        """Upper end of the band in GiB."""
        return self.high_bytes / GIB

    @property
    def validated(self) -> bool:
        """Whether measured runs cover every part of the configuration."""
        return not self.uncovered


@dataclass(frozen=True, slots=True)
class Throughput:
    """Speed of the trainer's own step; an rl step also waits for generation.

    Attributes:
        tokens_per_s_per_gpu: Best estimate.
        low: Lower end of the band.
        high: Upper end of the band.
        micro_batch_seconds: Time of one micro batch.
        seconds: What the time of a micro batch goes to.
        uncovered: What no measured run covers.
    """

    tokens_per_s_per_gpu: float
    low: float
    high: float
    micro_batch_seconds: float
    seconds: dict[str, float] = field(default_factory=dict)
    uncovered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InferenceEstimate:
    """Memory of a vLLM server on each GPU.

    Attributes:
        budget_bytes: What ``gpu_memory_utilization`` allows.
        weights_bytes: Weights.
        lora_bytes: Room reserved for adapters.
        activation_bytes: Peak of vLLM's profiling run beyond the weights.
        non_torch_bytes: Context, NCCL and the like inside the budget.
        available_kv_bytes: What remains for the KV cache; negative when the weights do not fit.
        bytes_per_token: KV cache of one token, where it grows with the sequence.
        kv_cache_tokens: Tokens the cache holds, as vLLM logs them; 0 when it cannot start.
        max_concurrency: Requests of full length at once.
        low_available_bytes: Lower end of the band of ``available_kv_bytes``.
        high_available_bytes: Upper end of that band.
        starts: Whether one request of full length fits; vLLM refuses to start otherwise.
        assumptions: What was taken for granted.
        uncovered: What no measured run covers.
    """

    budget_bytes: float
    weights_bytes: float
    lora_bytes: float
    activation_bytes: float
    non_torch_bytes: float
    available_kv_bytes: float
    bytes_per_token: float
    kv_cache_tokens: int
    max_concurrency: float
    low_available_bytes: float
    high_available_bytes: float
    starts: bool
    assumptions: tuple[str, ...] = ()
    uncovered: tuple[str, ...] = ()
