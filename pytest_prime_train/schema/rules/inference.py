"""Rules of the inference server, of its own program or inside an rl or sft config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, key, said, shown

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block

_SEVERAL_NODES = ("multi_node", "disaggregated")
_SCORERS = frozenset(
    (
        "active-request-scorer",
        "kv-cache-utilization-scorer",
        "latency-scorer",
        "load-aware-scorer",
        "lora-affinity-scorer",
        "precise-prefix-cache-scorer",
        "prefix-cache-scorer",
        "queue-scorer",
        "running-requests-size-scorer",
        "session-affinity-scorer",
        "token-load-scorer",
    )
)
MOST_LORA_RANK = 512
"""The largest rank of an adapter that vLLM serves."""


@rule(
    "inf-multi-node-slurm",
    name="Inference on several nodes without Slurm",
    part="inference",
    keys=("deployment.type", "slurm"),
    needs=("deployment",),
    since="v0.6.0",
    recommendation='Add a slurm table, or set deployment.type = "single_node".',
    source="inference.py InferenceConfig.validate_multi_node_requires_slurm",
)
def _multi_node_slurm(inference: Block) -> Iterator[Problem]:
    if not inference.written("deployment") or inference.get("slurm") is not None:
        return
    if inference.get("deployment.type") in _SEVERAL_NODES:
        # An rl config hands its own slurm table down.
        slurm = "slurm" if inference.config.root == "rl" else key(inference, "slurm")
        yield broken(
            inference,
            ("deployment.type",),
            f"{said(inference, 'deployment.type')} needs Slurm, and there is no table [{slurm}]",
            f'Add [{slurm}], or set {key(inference, "deployment.type")} = "single_node".',
        )


@rule(
    "inf-llmd-routed-experts",
    name="A router that cannot return routed experts",
    part="inference",
    keys=("router.type", "vllm.enable_return_routed_experts"),
    needs=("enable_return_routed_experts",),
    since="v0.8.0",
    recommendation='Set router.type = "vllm-router".',
    source="inference.py InferenceConfig.validate_llmd_no_routed_experts",
)
def _llmd_routed_experts(inference: Block) -> Iterator[Problem]:
    if inference.get("router.type") != "llm-d":
        return
    if inference.get("vllm.enable_return_routed_experts"):
        yield broken(
            inference,
            ("vllm.enable_return_routed_experts", "router.type"),
            f"{said(inference, 'router.type')} cannot return what "
            f"{said(inference, 'vllm.enable_return_routed_experts')} asks for",
            f'Set {key(inference, "router.type")} = "vllm-router", or '
            f"{key(inference, 'vllm.enable_return_routed_experts')} = false.",
        )


@rule(
    "inf-llmd-single-node",
    name="The llm-d router on a single node",
    part="inference",
    keys=("router.type", "deployment.type"),
    needs=("router",),
    since="v0.8.0",
    recommendation='Set router.type = "vllm-router", or a deployment of several nodes.',
    source="inference.py InferenceConfig.validate_router_deployment",
)
def _llmd_single_node(inference: Block) -> Iterator[Problem]:
    if inference.get("router.type") != "llm-d":
        return
    if inference.get("deployment.type") == "single_node":
        yield broken(
            inference,
            ("router.type", "deployment.type"),
            f"{said(inference, 'router.type')} runs on several nodes only, and "
            f"{said(inference, 'deployment.type')}",
            f'Set {key(inference, "router.type")} = "vllm-router", or '
            f'{key(inference, "deployment.type")} = "multi_node".',
        )


@rule(
    "inf-router-required",
    name="Inference on several nodes without a router",
    part="inference",
    keys=("router", "deployment.type"),
    needs=("router",),
    since="v0.8.0",
    recommendation="Remove router, so that its default is used.",
    source="inference.py InferenceConfig.validate_router_deployment",
)
def _router_required(inference: Block) -> Iterator[Problem]:
    if inference.get("router") is None and inference.get("deployment.type") in _SEVERAL_NODES:
        yield broken(
            inference,
            ("router", "deployment.type"),
            f"{said(inference, 'deployment.type')} needs a router before its engines, and "
            f"{said(inference, 'router')}",
            f"Remove {key(inference, 'router')} for its default.",
        )


@rule(
    "inf-llmd-scorers",
    name="A scorer that the llm-d router does not have",
    part="inference.router",
    keys=("type",),
    needs=("scorers", "prefill_scorer_overrides", "decode_scorer_overrides"),
    since="v0.6.0",
    recommendation="Use one of the scorers of llm-d.",
    source="inference.py LlmdRouterConfig.validate_scorers",
)
def _llmd_scorers(router: Block) -> Iterator[Problem]:
    if router.get("type") != "llm-d":
        return
    for table in ("scorers", "prefill_scorer_overrides", "decode_scorer_overrides"):
        for name in router.get(table) or ():
            if name in _SCORERS:
                continue
            from pytest_prime_train.schema.suggest import nearest

            near = nearest(name, sorted(_SCORERS))
            cure = f"Rename it to {near}." if near else f"Use one of {', '.join(sorted(_SCORERS))}."
            yield Problem(
                (*router.path(table), name),
                f"{key(router, table)} names the scorer {shown(name)}, which llm-d does not have",
                cure,
            )


@rule(
    "inf-kv-cpu-tier",
    name="A cache that is offloaded to nowhere",
    part="inference.kv_cache_offload",
    keys=("cpu",),
    needs=("kv_cache_offload",),
    since="v0.6.0",
    recommendation="Add cpu.num_bytes.",
    source="inference.py BaseKVCacheOffloadConfig.valid_tiers",
)
def _kv_cpu_tier(offload: Block) -> Iterator[Problem]:
    if offload.get("cpu") is None:
        yield Problem(
            offload.path("cpu"),
            f"{key(offload, '')} needs memory of the CPU, and {said(offload, 'cpu')}",
            f"Add {key(offload, 'cpu.num_bytes')} = {64 * 2**30}, or as many bytes as are free.",
        )


@rule(
    "inf-kv-prefix-cache",
    name="An offloaded cache without prefix caching",
    part="inference",
    keys=("kv_cache_offload", "vllm.enable_prefix_caching"),
    needs=("kv_cache_offload",),
    since="v0.8.0",
    recommendation="Remove vllm.enable_prefix_caching, which is then switched on.",
    source="inference.py InferenceConfig.auto_setup_kv_cache_offload",
)
def _kv_prefix_cache(inference: Block) -> Iterator[Problem]:
    if inference.get("kv_cache_offload") is None:
        return
    if inference.get("vllm.enable_prefix_caching") is False:
        yield broken(
            inference,
            ("vllm.enable_prefix_caching", "kv_cache_offload"),
            f"{key(inference, 'kv_cache_offload')} keeps prefixes, and "
            f"{said(inference, 'vllm.enable_prefix_caching')}",
            f"Set {key(inference, 'vllm.enable_prefix_caching')} = true.",
        )


@rule(
    "inf-lora-rank-max",
    name="Adapters that vLLM cannot serve",
    part="inference.vllm",
    keys=("max_lora_rank",),
    needs=("max_lora_rank",),
    since="HEAD",
    recommendation=f"Set max_lora_rank to at most {MOST_LORA_RANK}.",
    source="inference.py VllmConfig.auto_setup_max_lora_rank",
)
def _lora_rank_max(vllm: Block) -> Iterator[Problem]:
    rank = vllm.get("max_lora_rank")
    if rank is not None and rank > MOST_LORA_RANK:
        yield broken(
            vllm,
            ("max_lora_rank",),
            f"{said(vllm, 'max_lora_rank')} is above {MOST_LORA_RANK}, the most that vLLM serves",
            f"Set {key(vllm, 'max_lora_rank')} = {MOST_LORA_RANK}.",
        )


@rule(
    "inf-lora-rank-served",
    name="A LoRA rank that training accepts and vLLM cannot serve",
    part="trainer",
    roots=("rl", "sft"),
    keys=("model.lora.rank",),
    needs=("rank",),
    since="HEAD",
    severity="warning",
    why="prime-rl takes the file, hands the rank to the inference server, and that stops at start.",
    recommendation=f"Set model.lora.rank to at most {MOST_LORA_RANK}.",
    source="rl.py RLConfig.auto_setup_lora",
)
def _lora_rank_served(trainer: Block) -> Iterator[Problem]:
    rank = trainer.get("model.lora.rank")
    if rank is not None and rank > MOST_LORA_RANK and trainer.config.inference:
        yield broken(
            trainer,
            ("model.lora.rank",),
            f"{said(trainer, 'model.lora.rank')} is above {MOST_LORA_RANK}, the most that the "
            "inference server can serve",
            f"Set {key(trainer, 'model.lora.rank')} = {MOST_LORA_RANK}.",
        )


@rule(
    "inf-disagg-zero-tp",
    name="Tensor parallelism of no GPU",
    part="inference",
    keys=("deployment.type", "vllm.tensor_parallel_size"),
    needs=("tensor_parallel_size",),
    since="HEAD",
    recommendation="Set vllm.tensor_parallel_size to at least 1.",
    source="inference.py InferenceConfig.auto_setup_disaggregated",
)
def _disagg_zero_tp(inference: Block) -> Iterator[Problem]:
    if inference.get("vllm.tensor_parallel_size") != 0:
        return
    if inference.get("deployment.type") == "disaggregated":
        yield broken(
            inference,
            ("vllm.tensor_parallel_size",),
            f"{said(inference, 'vllm.tensor_parallel_size')} divides the GPUs of a node by zero",
            f"Set {key(inference, 'vllm.tensor_parallel_size')} = 1.",
        )
