"""From a resolved config to the shapes that the estimates take.

Covers the roots rl, sft, trainer and inference. Keys are those of prime-rl main-2026-08-21, with
their names in older versions beside; the resolved config has already filled the version's defaults
and passed shared keys on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pytest_prime_train.memory.gpus import Gpu
from pytest_prime_train.memory.lora import adapted_modules
from pytest_prime_train.memory.shapes import (
    LORA_TARGETS,
    Attention,
    Checkpointing,
    InferenceShape,
    LmHead,
    TrainerShape,
)
from pytest_prime_train.memory.versions import at_least, has_own_code, implementation
from pytest_prime_train.models.facts import ModelFacts, Unknown
from pytest_prime_train.models.find import find

if TYPE_CHECKING:
    from pytest_prime_train.models.compat import Asked

KeyPath = tuple[str | int, ...]
MAX_EP = 8
VLLM_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
NATIVE_DTYPES = {
    "gpt_oss": "mxfp4",
    "deepseek_v3": "fp8",
    "minimax_m2": "fp8",
}
"""Families whose checkpoints on the hub are quantised by their makers."""

SUFFIX_DTYPES = {
    "-fp8": "fp8",
    "-fp8-dynamic": "fp8",
    "-nvfp4": "nvfp4",
    "-awq": "int4",
    "-gptq-int4": "int4",
    "-bf16": "bf16",
}
QUANTIZATION_DTYPES = {
    "fp8": "fp8",
    "awq": "int4",
    "awq_marlin": "int4",
    "gptq": "int4",
    "gptq_marlin": "int4",
    "bitsandbytes": "int4",
    "mxfp4": "mxfp4",
    "modelopt_fp4": "nvfp4",
    "nvfp4": "nvfp4",
}


class BlockLike(Protocol):
    """A part of a resolved config, as ``pytest_prime_train.config.resolve`` gives it."""

    def get(self, key: str) -> Any: ...
    def written(self, key: str) -> bool: ...
    def home(self, key: str) -> KeyPath: ...
    def __bool__(self) -> bool: ...


class ConfigLike(Protocol):
    """A resolved config."""

    @property
    def root(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def trainer(self) -> BlockLike: ...
    @property
    def orchestrator(self) -> BlockLike: ...
    @property
    def inference(self) -> BlockLike: ...
    def get(self, key: str) -> Any: ...
    def written(self, key: str) -> bool: ...


_OLD_SERVER_KEYS = {
    "model": "model.name",
    "max_model_len": "model.max_model_len",
    "dtype": "model.dtype",
    "enforce_eager": "model.enforce_eager",
    "rope_scaling": "model.rope_scaling",
    "tensor_parallel_size": "parallel.tp",
    "data_parallel_size": "parallel.dp",
}
"""Names that vLLM's arguments had before ``[inference.vllm]``, where not at the top."""


class _Server:
    """vLLM's arguments, under the names of whatever version."""

    def __init__(self, config: ConfigLike) -> None:
        self.block = config.inference
        self.current = at_least(config.version, "main-2026-08-21")

    def get(self, argument: str) -> Any:
        value = self.block.get(self.key(argument))
        if value is None and not self.current:
            value = self.block.get(f"vllm_extra.{argument}")
        return value

    def key(self, argument: str) -> str:
        """The key of an argument within the server's part."""
        if self.current:
            return f"vllm.{argument}"
        return _OLD_SERVER_KEYS.get(argument, argument)


@dataclass(frozen=True, slots=True)
class RunShape:
    """What a whole config asks for.

    Attributes:
        root: Which program the config is for.
        trainer: The trainer; None where the config has none or its model is unknown.
        inference: The vLLM server, likewise.
        trainer_prefix: Where the trainer's keys start: ``trainer`` in rl, nothing elsewhere.
        gpus_per_node: GPUs of each node.
        train_nodes: Nodes of the trainer.
        spare_gpus: GPUs of a single node that neither part uses.
        ep_auto: Whether expert parallelism follows the number of GPUs.
        batch_size: Sequences of one optimizer step in sft, which the GPUs must divide.
        tokens_per_step: Most tokens one optimizer step trains on, over all GPUs; None if open.
        max_inflight: Episodes that prime-rl may have under way at once.
        assumptions: What was taken for granted in reading the config.
        unknown: What cannot be told, each as ``unknown: …``.
    """

    root: str
    trainer: TrainerShape | None = None
    inference: InferenceShape | None = None
    trainer_prefix: str = ""
    gpus_per_node: int = 8
    train_nodes: int = 1
    spare_gpus: int = 0
    ep_auto: bool = False
    batch_size: int | None = None
    tokens_per_step: int | None = None
    max_inflight: int | None = None
    assumptions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(slots=True)
class _Notes:
    """Assumptions and unknowns met on the way."""

    assumptions: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def _number(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _optional(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _flag(value: Any, default: bool) -> bool:
    return value if isinstance(value, bool) else default


def _words(value: Any, default: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return default


def read_run(
    config: ConfigLike,
    gpu: Gpu | None = None,
    *,
    num_gpus: int | None = None,
    base: Path | None = None,
    online: bool = False,
    meta: bool = False,
) -> RunShape:
    """Read what a config asks of the GPUs.

    Args:
        config: The resolved config.
        gpu: The card, for ``attn = "auto"``; Hopper is taken without.
        num_gpus: GPUs of the trainer instead of the config's own.
        base: Directory that relative model paths start from.
        online: Whether the Hugging Face hub may be asked.
        meta: Whether unknown architectures may be built on the meta device.
    """
    notes = _Notes()

    def look_up(name: Any) -> ModelFacts | None:
        if not isinstance(name, str) or not name:
            notes.unknown.append("unknown: the config names no model")
            return None
        facts = find(name, base=base, online=online, meta=meta)
        if isinstance(facts, Unknown):
            notes.unknown.append(str(facts))
            return None
        return facts

    plan = _deployment(config, num_gpus, notes)
    trainer = inference = None
    if config.trainer and config.root in ("rl", "sft", "trainer"):
        facts = look_up(config.trainer.get("model.name"))
        if facts is not None:
            trainer = _trainer(config, facts, gpu, plan, notes)
    if config.inference:
        facts = look_up(_served_model(config))
        if facts is not None:
            inference = _inference(config, facts, plan, notes)
    return RunShape(
        root=config.root,
        trainer=trainer,
        inference=inference,
        trainer_prefix="trainer" if config.root == "rl" else "",
        gpus_per_node=plan.gpus_per_node,
        train_nodes=plan.train_nodes,
        spare_gpus=plan.spare_gpus,
        ep_auto=bool(config.trainer) and config.trainer.get("model.ep") == "auto",
        batch_size=_number(config.trainer.get("data.batch_size"), 128)
        if config.root == "sft"
        else None,
        tokens_per_step=_tokens_per_step(config, trainer),
        max_inflight=_optional(config.orchestrator.get("concurrency.max_inflight"))
        if config.orchestrator
        else None,
        assumptions=tuple(notes.assumptions),
        unknown=tuple(dict.fromkeys(notes.unknown)),
    )


def _served_model(config: ConfigLike) -> Any:
    """The model that vLLM serves: in rl the trained one unless the file names another."""
    server = _Server(config)
    if config.root in ("rl", "sft") and not config.inference.written(server.key("model")):
        return config.trainer.get("model.name")
    return server.get("model")


@dataclass(frozen=True, slots=True)
class _Plan:
    """GPUs by role."""

    train_gpus: int
    train_nodes: int
    infer_gpus: int
    infer_replicas: int
    gpus_per_node: int
    spare_gpus: int
    multi_node: bool
    dp_replicate: int | None


def _deployment(config: ConfigLike, num_gpus: int | None, notes: _Notes) -> _Plan:
    per_node = _number(config.get("deployment.gpus_per_node"), 8)
    if config.root == "inference":
        return _inference_deployment(config, per_node)
    if config.root == "trainer":
        if num_gpus is None:
            notes.assumptions.append("one GPU: a trainer config does not tell how many it gets")
        gpus = num_gpus or 1
        return _Plan(gpus, -(-gpus // per_node), 0, 0, per_node, 0, gpus > per_node, None)
    if config.get("deployment.type") == "multi_node":
        nodes = _number(config.get("deployment.num_train_nodes"), 2 if config.root == "sft" else 1)
        infer_nodes = _number(config.get("deployment.num_infer_nodes"), 0)
        if config.root == "rl" and not infer_nodes and config.inference:
            infer_nodes = _number(config.inference.get("deployment.num_nodes"), 1)
        group = _optional(config.get("deployment.nodes_per_fsdp_group"))
        gpus = num_gpus or nodes * per_node
        return _Plan(
            train_gpus=gpus,
            train_nodes=nodes,
            infer_gpus=infer_nodes * per_node,
            infer_replicas=_number(config.get("deployment.num_infer_replicas"), 1),
            gpus_per_node=per_node,
            spare_gpus=0,
            multi_node=True,
            dp_replicate=nodes // group if group else None,
        )
    key = "deployment.num_train_gpus"
    if config.get(key) is None:  # in sft up to v0.8.0
        key = "deployment.num_gpus"
    train = num_gpus or _gpus_of(config, key, "trainer_gpu_ids")
    infer = 0
    if config.inference:
        infer = _gpus_of(config, "deployment.num_infer_gpus", "inference_gpu_ids")
    return _Plan(train, 1, infer, 1, per_node, max(0, per_node - train - infer), False, None)


def _gpus_of(config: ConfigLike, key: str, old_key: str) -> int:
    """GPUs of a role: a number, or in the oldest versions a list of ids."""
    ids = config.get(old_key)
    return len(ids) if isinstance(ids, list) and ids else _number(config.get(key), 1)


def _inference_deployment(config: ConfigLike, per_node: int) -> _Plan:
    server = _Server(config)
    tp = _number(server.get("tensor_parallel_size"), 1)
    dp = _number(server.get("data_parallel_size"), 1)
    kind = config.get("deployment.type")
    nodes = _number(config.get("deployment.num_nodes"), 2) if kind == "multi_node" else 1
    if kind == "disaggregated":
        nodes = _smallest_group(config.inference)
    gpus = tp * dp if nodes == 1 else nodes * per_node
    return _Plan(0, 0, gpus, nodes, per_node, 0, nodes > 1, None)


def _smallest_group(block: BlockLike) -> int:
    """Nodes of the smaller of the prefill and decode engines, which has least room."""
    return min(
        _number(block.get("deployment.prefill_nodes_per_replica"), 1),
        _number(block.get("deployment.decode_nodes_per_replica"), 1),
    )


def _attention(asked: Any, gpu: Gpu | None) -> Attention:
    """The kernel that ``auto`` picks: FA3 on Hopper, FA4 on datacenter Blackwell, else FA2."""
    if asked in ("flash_attention_2", "flash_attention_3", "flash_attention_4"):
        kernel: Attention = asked
        return kernel
    sm = 90 if gpu is None else gpu.sm
    if sm == 100:
        return "flash_attention_4"
    return "flash_attention_3" if 90 <= sm < 100 else "flash_attention_2"


def _checkpointing(block: BlockLike) -> tuple[Checkpointing, int, tuple[str, ...]]:
    if block.get("model.ac") is None:
        # Offloading switches checkpointing back on.
        return ("full" if block.get("model.ac_offloading") is not None else "none"), 1, ("norm",)
    mode: Checkpointing = "selective" if block.get("model.ac.mode") == "selective" else "full"
    targets = _words(block.get("model.ac.targets"), ("norm",))
    return mode, _number(block.get("model.ac.freq"), 1), targets


def _lm_head(config: ConfigLike) -> tuple[LmHead, int]:
    """How logits are made, and the size of a chunk of tokens or of the vocabulary."""
    block, version, sft = config.trainer, config.version, config.root == "sft"
    if not at_least(version, "v0.5.0"):
        entries = block.get("model.fused_lm_head_chunk_size")
        if sft or not at_least(version, "v0.3.0") or entries == "disabled":
            return "plain", 0
        return "vocabulary chunks", _number(entries, 2048)
    tokens = block.get("model.fused_lm_head_token_chunk_size")
    if sft and not at_least(version, "v0.8.0"):
        return "plain", 0
    if isinstance(tokens, int) and not isinstance(tokens, bool):
        return "token chunks", max(1, tokens)
    return ("token chunks", 8192) if tokens == "auto" and not sft else ("plain", 0)


def _trainer(
    config: ConfigLike, facts: ModelFacts, gpu: Gpu | None, plan: _Plan, notes: _Notes
) -> TrainerShape:
    block = config.trainer
    sft = config.root == "sft"
    asked_impl = str(block.get("model.impl") or "auto")
    code = implementation(facts.family, config.version, asked_impl)
    ac, freq, targets = _checkpointing(block)
    head, chunk = _lm_head(config)
    dp_replicate = plan.dp_replicate or _number(block.get("model.dp_replicate"), 1)
    in_flight = _number(block.get("model.ac_offloading.max_inflight_activations"), 5)
    seq_len = _number(block.get("data.seq_len" if sft else "model.seq_len"), 128 if sft else 2048)
    micro = _number(block.get("data.micro_batch_size"), 1) if sft else 1
    quantization = block.get("model.quantization.type")
    if block.get("model.fp8") is True:
        quantization = "fp8"
    shape = TrainerShape(
        model=facts,
        kind="sft" if sft else "rl",
        num_gpus=plan.train_gpus,
        seq_len=seq_len,
        micro_batch_size=micro,
        dp_replicate=dp_replicate,
        cp=_number(block.get("model.cp"), 1),
        ep=_expert_parallel(block.get("model.ep"), facts, plan.train_gpus // dp_replicate, code),
        tp=_number(block.get("model.tp"), 1),
        lora_rank=_optional(block.get("model.lora.rank")),
        lora_slots=_number(block.get("max_concurrent_runs"), 1),
        lora_targets=_words(block.get("model.lora.target_modules"), LORA_TARGETS),
        frozen_router=_flag(block.get("model.freeze_moe_router"), False),
        ac=ac,
        ac_freq=freq,
        ac_targets=targets,
        ac_offloading=block.get("model.ac_offloading") is not None,
        ac_in_flight=in_flight,
        optim_cpu_offload=_flag(block.get("model.optim_cpu_offload"), False),
        fsdp_cpu_offload=_flag(block.get("model.fsdp_cpu_offload"), False),
        full_offload=block.get("model.full_offload") not in (None, False),
        optimizer=_optimizer(block.get("optim.type")),
        optimization_dtype=_dtype(block.get("model.optimization_dtype")),
        reduce_dtype=_dtype(block.get("model.reduce_dtype")),
        compiled=block.get("model.compile") is not None,
        quantization=quantization if isinstance(quantization, str) else None,
        reshard_after_forward=_flag(block.get("model.reshard_after_forward"), True),
        lm_head=head,
        token_chunk=chunk if head == "token chunks" else 8192,
        vocab_chunk=chunk if head == "vocabulary chunks" else 8192,
        attention=_attention(block.get("model.attn"), gpu),
        implementation=code,
        version=config.version,
        vision=facts.vision and block.get("model.vlm") is not None,
    )
    if facts.vision:
        notes.assumptions.append(f"the vision part of {facts.name} is not counted")
    step = _tokens_per_step(config, shape)
    if step is not None:
        each = max(1, step // max(1, shape.tokens * shape.num_gpus))
        shape = replace(shape, micro_batches_per_step=each)
    return shape


def auto_expert_parallel(facts: ModelFacts, shards: int, code: str) -> int:
    """What ``model.ep = "auto"`` becomes: up to eight GPUs of a copy share a mixture's experts."""
    if facts.moe is None or code == "hf":
        return 1
    return max(1, min(shards, MAX_EP))


def _expert_parallel(asked: Any, facts: ModelFacts, island: int, code: str) -> int:
    if isinstance(asked, int) and not isinstance(asked, bool):
        return max(1, asked)
    return auto_expert_parallel(facts, island, code)


def _dtype(asked: Any) -> Literal["float32", "bfloat16"]:
    return "bfloat16" if asked == "bfloat16" else "float32"


def _optimizer(asked: Any) -> Literal["adamw", "sgd", "muon", "sign_sgd"]:
    known: dict[str, Literal["adamw", "sgd", "muon", "sign_sgd"]] = {
        "sgd": "sgd",
        "muon": "muon",
        "sign_sgd": "sign_sgd",
    }
    return known.get(str(asked), "adamw")


def _tokens_per_step(config: ConfigLike, trainer: TrainerShape | None) -> int | None:
    """Most tokens of one optimizer step: sequences are packed, so fewer are possible."""
    if trainer is None:
        return None
    if config.root == "sft":
        return _number(config.trainer.get("data.batch_size"), 128) * trainer.seq_len
    if not config.orchestrator:
        return None
    tokens = _optional(config.orchestrator.get("token_batch_size"))
    if tokens is not None:
        return tokens
    return _number(config.orchestrator.get("batch_size"), 128) * trainer.seq_len


def _weights_dtype(config: ConfigLike, facts: ModelFacts) -> str:
    server = _Server(config)
    quantization = server.get("quantization")
    if isinstance(quantization, str):
        return QUANTIZATION_DTYPES.get(quantization, "bf16")
    name = str(_served_model(config)).lower()
    for suffix, dtype in SUFFIX_DTYPES.items():
        if name.endswith(suffix):
            return dtype
    if server.get("dtype") == "float32":
        return "fp32"
    return NATIVE_DTYPES.get(facts.family, "bf16")


def _inference(config: ConfigLike, facts: ModelFacts, plan: _Plan, notes: _Notes) -> InferenceShape:
    server = _Server(config)
    tp = _number(server.get("tensor_parallel_size"), 1)
    dp = _number(server.get("data_parallel_size"), 1)
    disaggregated = config.inference.get("deployment.type") == "disaggregated"
    if disaggregated:
        # Each engine spreads over its nodes; experts over all of their GPUs.
        dp = max(dp, _smallest_group(config.inference) * plan.gpus_per_node // tp)
    elif config.root == "rl" and plan.infer_gpus and not plan.multi_node:
        # prime-rl fills the inference GPUs with engines.
        dp = max(1, plan.infer_gpus // tp)
    elif plan.multi_node and dp == 1 and not server.get("enable_expert_parallel"):
        dp = max(1, plan.gpus_per_node // tp)
    rank = None
    if config.root == "rl" and config.trainer:
        rank = _optional(config.trainer.get("model.lora.rank"))
    lora = rank is not None or _flag(server.get("enable_lora"), False)
    wanted_rank = rank or _number(server.get("max_lora_rank"), 16)
    prefix = server.get("enable_prefix_caching")
    if prefix is None and facts.kind in ("linear hybrid", "mamba hybrid"):
        notes.assumptions.append("prefix caching on, which takes more room in hybrids")
    utilization = server.get("gpu_memory_utilization")
    return InferenceShape(
        model=facts,
        gpu_memory_utilization=float(utilization)
        if isinstance(utilization, (int, float)) and not isinstance(utilization, bool)
        else 0.9,
        tensor_parallel=tp,
        data_parallel=dp,
        expert_parallel=_flag(server.get("enable_expert_parallel"), False) or disaggregated,
        weights_dtype=_weights_dtype(config, facts),
        kv_cache_dtype=str(server.get("kv_cache_dtype") or "bf16"),
        max_model_len=_optional(server.get("max_model_len")),
        max_num_batched_tokens=_optional(server.get("max_num_batched_tokens")),
        max_num_seqs=_optional(server.get("max_num_seqs")),
        prefix_caching=_flag(prefix, True),
        lora_slots=_number(server.get("max_loras"), 8) if lora else 0,
        lora_rank=next((r for r in VLLM_LORA_RANKS if r >= wanted_rank), wanted_rank),
        replicas=max(1, plan.infer_replicas),
        enforce_eager=_flag(server.get("enforce_eager"), False),
    )


def asked_of(config: ConfigLike, run: RunShape) -> tuple[ModelFacts, Asked] | None:
    """What a config asks of its model, for the compatibility check.

    Returns:
        The model's facts and what is asked; None where neither part's model is known.
    """
    trainer, inference = run.trainer, run.inference
    if trainer is None:
        if inference is None:
            return None
        return inference.model, _asked_of_server(config, inference)
    from pytest_prime_train.models.compat import Asked

    block, facts = config.trainer, trainer.model
    selective = block.get("model.ac.mode") == "selective"
    asked = _asked_of_server(config, inference) if inference is not None else Asked()
    own = has_own_code(facts.family, config.version)
    return facts, replace(
        asked,
        seq_len=trainer.seq_len,
        attn=str(block.get("model.attn") or "auto"),
        impl=str(block.get("model.impl") or "auto"),
        own_code=own,
        own_code_needed=at_least(config.version, "v0.8.0"),
        packed=config.root == "trainer",
        ep=trainer.ep,
        cp=trainer.cp,
        cp_style=str(block.get("model.cp_style") or "ring"),
        lora_targets=trainer.lora_targets if trainer.lora_rank is not None else (),
        adapted=adapted_modules(facts),
        vlm=block.get("model.vlm") is not None,
        ac_targets=trainer.ac_targets if selective else (),
        quantization=trainer.quantization,
        fused_moe=_flag(block.get("model.moe_fused_kernel"), False),
        freeze_router=trainer.frozen_router,
        router_replay=_flag(block.get("enable_router_replay"), False),
        index_cache=block.get("model.index_cache") is not None,
        served=inference.model
        if inference is not None and inference.model.name != facts.name
        else None,
        tokenizer_vocab=_tokenizer_vocab(block.get("tokenizer.name"), facts),
    )


def _asked_of_server(config: ConfigLike, inference: InferenceShape) -> Asked:
    from pytest_prime_train.models.compat import Asked

    server = _Server(config)
    return Asked(
        max_model_len=inference.max_model_len,
        rope_scaling=server.get("rope_scaling") is not None,
        tensor_parallel=inference.tensor_parallel,
        inference_experts=inference.expert_parallel,
    )


def _tokenizer_vocab(name: Any, facts: ModelFacts) -> int | None:
    if not isinstance(name, str) or name == facts.name:
        return None
    other = find(name)
    return other.vocab if isinstance(other, ModelFacts) else None


KEY_OF_FIELD = {
    "seq_len": "model.seq_len",
    "attn": "model.attn",
    "impl": "model.impl",
    "ep": "model.ep",
    "cp": "model.cp",
    "lora_targets": "model.lora.target_modules",
    "vlm": "model.vlm",
    "ac_targets": "model.ac.targets",
    "quantization": "model.quantization",
    "fused_moe": "model.moe_fused_kernel",
    "freeze_router": "model.freeze_moe_router",
    "router_replay": "enable_router_replay",
    "index_cache": "model.index_cache",
    "tokenizer_vocab": "tokenizer.name",
}
"""Trainer keys that the fields of :class:`~pytest_prime_train.models.compat.Asked` come from."""

SERVER_ARGUMENT_OF_FIELD = {
    "max_model_len": "max_model_len",
    "tensor_parallel": "tensor_parallel_size",
    "inference_experts": "enable_expert_parallel",
    "served": "model",
}
"""The same of vLLM's arguments."""


def key_of(config: ConfigLike, field_name: str) -> KeyPath:
    """The key a user should change for a field of what is asked."""
    if field_name in SERVER_ARGUMENT_OF_FIELD:
        key = _Server(config).key(SERVER_ARGUMENT_OF_FIELD[field_name])
        return config.inference.home(key)
    key = KEY_OF_FIELD[field_name]
    if field_name == "seq_len" and config.root == "sft":
        key = "data.seq_len"
    return config.trainer.home(key)
