"""Rules of an rl config about how weights, adapters and routing get to the inference server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, key, said

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block


def broadcast_type(block: Block) -> str:
    """How weights are sent: as written, or as prime-rl chooses by itself.

    Args:
        block: The whole of an rl or sft config.
    """
    written = block.get("weight_broadcast.type")
    if written is not None:
        return str(written)
    lora = block.config.trainer.get("model.lora") is not None
    return "filesystem" if lora or not block.config.inference else "nccl"


@rule(
    "rl-broadcast-lora",
    name="LoRA with a weight transfer that cannot carry it",
    part="rl",
    keys=("weight_broadcast.type", "trainer.model.lora"),
    needs=("weight_broadcast",),
    since="v0.7.0",
    recommendation='Set weight_broadcast.type = "filesystem".',
    source="rl.py RLConfig.auto_setup_weight_broadcast",
)
def _broadcast_lora(rl: Block) -> Iterator[Problem]:
    if rl.get("trainer.model.lora") is not None and broadcast_type(rl) != "filesystem":
        yield broken(
            rl,
            ("weight_broadcast.type", "trainer.model.lora"),
            f"{said(rl, 'weight_broadcast.type')} cannot carry the adapters of "
            f"{key(rl, 'trainer.model.lora')}",
            'Set weight_broadcast.type = "filesystem".',
        )


@rule(
    "rl-quantized-transfer",
    name="Weights that cannot be quantized on their way",
    part="rl",
    keys=("weight_broadcast", "trainer.model.impl"),
    needs=("quantize_in_weight_transfer",),
    since="v0.7.0",
    recommendation='Set trainer.model.impl = "custom", beside an inference table.',
    source="rl.py RLConfig.validate_quantize_in_weight_transfer",
)
def _quantized_transfer(rl: Block) -> Iterator[Problem]:
    quantize = "weight_broadcast.quantize_in_weight_transfer"
    if not rl.get(quantize):
        return
    if rl.get("inference") is None:
        yield broken(
            rl,
            (quantize,),
            f"{said(rl, quantize)} needs a table [inference], and there is none",
            f"Add [inference], or set {quantize} = false.",
        )
    if rl.get("trainer.model.impl") != "custom":
        yield broken(
            rl,
            ("trainer.model.impl", quantize),
            f'{said(rl, quantize)} needs trainer.model.impl = "custom", but '
            f"{said(rl, 'trainer.model.impl')}",
            f'Set trainer.model.impl = "custom", or {quantize} = false.',
        )


@rule(
    "rl-eplb-needs-quant",
    name="Balanced experts without quantized transfer",
    part="rl",
    keys=("inference.vllm.enable_eplb", "weight_broadcast"),
    needs=("enable_eplb",),
    since="HEAD",
    recommendation='Set weight_broadcast.type = "nccl" and quantize_in_weight_transfer = true.',
    source="rl.py RLConfig.validate_eplb_requires_quantized_weight_transfer",
)
def _eplb_needs_quant(rl: Block) -> Iterator[Problem]:
    eplb, quantize = "inference.vllm.enable_eplb", "weight_broadcast.quantize_in_weight_transfer"
    if rl.get(eplb) and not (broadcast_type(rl) == "nccl" and rl.get(quantize)):
        yield broken(
            rl,
            (eplb, quantize),
            f"{said(rl, eplb)} moves experts about, which only quantized transfer by nccl follows",
            f'Set weight_broadcast.type = "nccl" and {quantize} = true, or {eplb} = false.',
        )


@rule(
    "rl-lora-rank-equal",
    name="Two ranks of one adapter",
    part="rl",
    keys=("orchestrator.model.lora.rank", "trainer.model.lora.rank"),
    needs=("rank",),
    since="v0.8.0",
    recommendation="Remove orchestrator.model.lora.rank; it follows the trainer's.",
    source="rl.py RLConfig.auto_setup_lora",
)
def _lora_rank_equal(rl: Block) -> Iterator[Problem]:
    yield from _lora_differs(rl, "rank")


@rule(
    "rl-lora-alpha-equal",
    name="Two scales of one adapter",
    part="rl",
    keys=("orchestrator.model.lora.alpha", "trainer.model.lora.alpha"),
    needs=("alpha",),
    since="v0.8.0",
    recommendation="Remove orchestrator.model.lora.alpha; it follows the trainer's.",
    source="rl.py RLConfig.auto_setup_lora",
)
def _lora_alpha_equal(rl: Block) -> Iterator[Problem]:
    yield from _lora_differs(rl, "alpha")


def _lora_differs(rl: Block, leaf: str) -> Iterator[Problem]:
    asks, trains = f"orchestrator.model.lora.{leaf}", f"trainer.model.lora.{leaf}"
    if rl.get("trainer.model.lora") is None or rl.get(asks) is None:
        return
    if rl.get(asks) != rl.get(trains):
        yield broken(
            rl,
            (asks, trains),
            f"{said(rl, asks)} is not {said(rl, trains)}",
            f"Remove {asks}; it follows the trainer's.",
        )


@rule(
    "rl-lora-no-inference",
    name="LoRA with a server that prime-rl does not start",
    part="rl",
    keys=("trainer.model.lora", "inference"),
    needs=("lora",),
    since="v0.2",
    severity="warning",
    gotcha="lora-external-server-flags",
    why="A server without adapters refuses the first one that the trainer sends.",
    recommendation="Start the server with --enable-lora and --max-lora-rank.",
    source="rl.py RLConfig.auto_setup_lora",
)
def _lora_no_inference(rl: Block) -> Iterator[Problem]:
    if rl.get("trainer.model.lora") is not None and rl.get("inference") is None:
        rank = rl.get("trainer.model.lora.rank")
        yield broken(
            rl,
            ("trainer.model.lora",),
            f"{key(rl, 'trainer.model.lora')} needs an inference server that takes adapters, and "
            "there is no table [inference]",
            f"Start the server with --enable-lora --max-lora-rank {rank}, or add [inference].",
        )


@rule(
    "rl-router-replay-auto",
    name="Router replay that the inference server does not know of",
    part="rl",
    keys=("trainer.enable_router_replay",),
    needs=("enable_router_replay",),
    since="v0.6.0",
    severity="warning",
    why="A server that does not return the routing stops the trainer at its first batch.",
    recommendation="Set inference.vllm.enable_return_routed_experts = true.",
    source="rl.py RLConfig.auto_setup_router_replay",
)
def _router_replay_auto(rl: Block) -> Iterator[Problem]:
    replay, returns = "trainer.enable_router_replay", "inference.vllm.enable_return_routed_experts"
    if not rl.get(replay):
        return
    if rl.get("inference") is None:
        yield broken(
            rl,
            (replay,),
            f"{said(rl, replay)} needs an inference server that returns the routing, and there "
            "is no table [inference]",
            "Start the server with --enable-return-routed-experts, or add [inference].",
        )
    # prime-rl says this of the default too, which nobody has to change.
    elif rl.get(returns) is False and rl.written(returns):
        yield broken(
            rl,
            (returns, replay),
            f"{said(rl, returns)} is overruled by {said(rl, replay)}",
            f"Set {returns} = true.",
        )


@rule(
    "rl-router-replay-llmd",
    name="Router replay with a router that drops the routing",
    part="rl",
    keys=("trainer.enable_router_replay", "inference.router.type"),
    needs=("enable_router_replay",),
    since="v0.8.0",
    recommendation='Set inference.router.type = "vllm-router".',
    source="rl.py RLConfig.validate_llmd_no_routed_experts",
)
def _router_replay_llmd(rl: Block) -> Iterator[Problem]:
    replay, router = "trainer.enable_router_replay", "inference.router.type"
    if rl.get(replay) and rl.get(router) == "llm-d":
        yield broken(
            rl,
            (router, replay),
            f"{said(rl, router)} cannot return the routing that {said(rl, replay)} needs",
            f'Set {router} = "vllm-router", or {replay} = false.',
        )


@rule(
    "rl-router-replay-kv-offload",
    name="Router replay with an offloaded cache",
    part="rl",
    keys=("trainer.enable_router_replay", "inference.kv_cache_offload"),
    needs=("enable_router_replay",),
    since="v0.6.0",
    recommendation="Remove inference.kv_cache_offload.",
    source="rl.py RLConfig.validate_router_replay_without_kv_offload",
)
def _router_replay_kv_offload(rl: Block) -> Iterator[Problem]:
    replay, offload = "trainer.enable_router_replay", "inference.kv_cache_offload"
    if rl.get(replay) and rl.get(offload) is not None:
        yield broken(
            rl,
            (offload, replay),
            f"what [{offload}] keeps has no routing, which {said(rl, replay)} needs",
            f"Remove [{offload}], or set {replay} = false.",
        )


@rule(
    "rl-mooncake-slurm",
    name="Mooncake without Slurm",
    part="rl",
    keys=("inference.kv_cache_offload", "slurm"),
    needs=("kv_cache_offload",),
    since="v0.6.0",
    recommendation='Set inference.kv_cache_offload.type = "native", or add a slurm table.',
    source="rl.py RLConfig.validate_mooncake_offload_requires_slurm",
)
def _mooncake_slurm(rl: Block) -> Iterator[Problem]:
    kind = "inference.kv_cache_offload.type"
    if rl.get(kind) == "mooncake" and rl.get("slurm") is None:
        yield broken(
            rl,
            (kind,),
            f"{said(rl, kind)} is started by Slurm, and there is no table [slurm]",
            f'Set {kind} = "native", or add [slurm].',
        )
