"""Rules of optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, key, said

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block

_UNCLIPPED = (
    "Without clipping, one bad batch can throw the weights off, and the only sign is a line in "
    "the log at start."
)


@rule(
    "optim-deepep-no-clip",
    name="Gradient clipping that DeepEP switches off",
    part="trainer",
    keys=("model.ep_comm_backend", "optim.max_norm"),
    needs=("ep_comm_backend",),
    since="v0.6.0",
    severity="warning",
    gotcha="deepep-disables-clipping",
    why=_UNCLIPPED,
    recommendation='Set optim.max_norm = "None" to say that it is meant.',
    source="trainer.py TrainerConfig.deepep_disables_grad_clipping",
)
def _deepep_no_clip(trainer: Block) -> Iterator[Problem]:
    if trainer.get("model.ep_comm_backend") != "deepep":
        return
    if trainer.get("optim.max_norm") is not None:
        yield broken(
            trainer,
            ("optim.max_norm", "model.ep_comm_backend"),
            f"{said(trainer, 'model.ep_comm_backend')} switches gradient clipping off, so "
            f"{said(trainer, 'optim.max_norm')} does nothing",
            f'Set {key(trainer, "optim.max_norm")} = "None", or '
            f'{key(trainer, "model.ep_comm_backend")} = "torch" to clip.',
        )


@rule(
    "optim-full-offload-no-clip",
    name="Gradient clipping that full offloading switches off",
    part="trainer",
    keys=("model.full_offload", "optim.max_norm"),
    needs=("full_offload",),
    since="HEAD",
    severity="warning",
    gotcha="full-offload-disables-clipping",
    why=_UNCLIPPED,
    recommendation='Set optim.max_norm = "None" to say that it is meant.',
    source="trainer.py TrainerConfig.full_optimizer_offload_disables_grad_clipping",
)
def _full_offload_no_clip(trainer: Block) -> Iterator[Problem]:
    if trainer.get("model.full_offload") is None or trainer.get("optim.max_norm") is None:
        return
    yield broken(
        trainer,
        ("optim.max_norm", "model.full_offload"),
        f"{key(trainer, 'model.full_offload')} switches gradient clipping off, so "
        f"{said(trainer, 'optim.max_norm')} does nothing",
        f'Set {key(trainer, "optim.max_norm")} = "None", or '
        f"{key(trainer, 'model.full_offload')} = false to clip.",
    )


@rule(
    "optim-full-offload-kind",
    name="Full offloading with an optimizer that cannot run on the CPU",
    part="trainer",
    keys=("model.full_offload", "optim.type"),
    needs=("full_offload",),
    since="HEAD",
    recommendation='Set optim.type = "adamw" or "sign_sgd".',
    source="trainer.py TrainerConfig.full_optimizer_offload_requires_supported_optimizer",
)
def _full_offload_kind(trainer: Block) -> Iterator[Problem]:
    if trainer.get("model.full_offload") is None:
        return
    if trainer.get("optim.type") not in ("adamw", "sign_sgd"):
        yield broken(
            trainer,
            ("optim.type", "model.full_offload"),
            f"{key(trainer, 'model.full_offload')} runs the optimizer on the CPU, which "
            f"{said(trainer, 'optim.type')} cannot",
            f'Set {key(trainer, "optim.type")} = "adamw", or '
            f"{key(trainer, 'model.full_offload')} = false.",
        )


@rule(
    "optim-muon-fsdp-offload",
    name="Muon with FSDP offloading",
    part="trainer",
    keys=("optim.type", "model.fsdp_cpu_offload"),
    needs=("fsdp_cpu_offload",),
    since="v0.2",
    recommendation="Set model.fsdp_cpu_offload = false.",
    source="trainer.py TrainerConfig.validate_opt_and_fsdp_offload",
)
def _muon_fsdp_offload(trainer: Block) -> Iterator[Problem]:
    if trainer.get("model.fsdp_cpu_offload") and trainer.get("optim.type") == "muon":
        yield broken(
            trainer,
            ("optim.type", "model.fsdp_cpu_offload"),
            f"{said(trainer, 'optim.type')} cannot be used with "
            f"{said(trainer, 'model.fsdp_cpu_offload')}",
            f"Set {key(trainer, 'model.fsdp_cpu_offload')} = false, or "
            f'{key(trainer, "optim.type")} = "adamw".',
        )


@rule(
    "trainer-lora-broadcast",
    name="LoRA with a weight transfer that cannot carry it",
    part="trainer",
    roots=("rl", "trainer"),
    keys=("model.lora", "weight_broadcast.type"),
    needs=("lora",),
    since="v0.2",
    recommendation='Set weight_broadcast.type = "filesystem".',
    source="trainer.py TrainerConfig.validate_lora_broadcast",
)
def _lora_broadcast(trainer: Block) -> Iterator[Problem]:
    if trainer.get("model.lora") is None:
        return
    if trainer.get("weight_broadcast.type") in ("nccl", "nixl"):
        yield broken(
            trainer,
            ("weight_broadcast.type", "model.lora"),
            f"{said(trainer, 'weight_broadcast.type')} cannot carry the adapters of LoRA",
            f'Set {key(trainer, "weight_broadcast.type")} = "filesystem".',
        )
