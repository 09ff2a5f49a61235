"""Settings that cost memory, or the time that saving memory costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem, format_key
from pytest_prime_train.gotchas.registry import gotcha

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Config

_CATEGORY = "memory"


@gotcha(
    id="fsdp-cpu-offload-with-lora",
    name="FSDP CPU offload together with LoRA",
    severity="warning",
    category=_CATEGORY,
    hours_lost=1.0,
    hours_basis="one run that is stopped and started anew",
    since="0.2",
    roots=("rl", "sft", "trainer"),
    keys=("trainer.model.fsdp_cpu_offload", "trainer.model.lora"),
    needs=("fsdp_cpu_offload",),
    why="LoRA has next to no optimizer state, so offloading saves little, while every layer is "
    "copied over PCIe in every step; 1.65 times more memory was reported, not less.",
    recommendation="Set model.fsdp_cpu_offload = false and save memory by activation "
    "checkpointing ([model.ac] with freq = 1).",
    evidence=(
        "reported: 1.65 times the memory of the same run without offload",
        "prime-rl configs/trainer.py: ModelConfig.fsdp_cpu_offload, LoRAConfig",
    ),
    confidence="reported",
    detected_by="never",
)
def fsdp_cpu_offload_with_lora(config: Config) -> Iterator[Problem]:
    trainer = config.trainer
    if trainer.get("model.fsdp_cpu_offload") is not True or trainer.get("model.lora") is None:
        return
    key = trainer.home("model.fsdp_cpu_offload")
    also = ""
    if trainer.get("model.ac") is None:
        also = f" and {format_key(trainer.path('model.ac.freq'))} = 1"
    yield Problem(
        key,
        f"{format_key(key)} = true offloads a model of which only LoRA of rank "
        f"{trainer.get('model.lora.rank')} is trained",
        f"Set {format_key(key)} = false{also}.",
    )
