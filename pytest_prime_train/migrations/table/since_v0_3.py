"""What changed with v0.3.0 and v0.4.0."""

from __future__ import annotations

from pytest_prime_train.migrations import training
from pytest_prime_train.migrations.change import Change, meaning, rename, rewrite, value
from pytest_prime_train.schema.versions import NEWEST

_ALL = ("launcher", "trainer", "orchestrator")

CHANGES: tuple[Change, ...] = (
    rewrite(
        "required-tables",
        "v0.3.0",
        "launcher",
        (),
        "trainer, orchestrator",
        "Both [trainer] and [orchestrator] must exist in an rl file, even when empty.",
        training.required_tables,
        dropped=NEWEST,
    ),
    rename(
        "ckpt-keep",
        "v0.3.0",
        _ALL,
        {"ckpt.keep": "ckpt.keep_last"},
        "Checkpoint retention by count is called keep_last now.",
    ),
    rename(
        "orch-lora-name",
        "v0.3.0",
        "orchestrator",
        {"lora_name": "model.lora.name"},
        "The adapter name belongs to the model table.",
        "move",
    ),
    meaning(
        "lora-alpha-default",
        "v0.3.0",
        "trainer",
        "model.lora.alpha",
        16,
        32,
        "The default of alpha changed from 16 to 32.",
    ),
    value(
        "impl-liger",
        "v0.4.0",
        "trainer",
        "model.impl",
        {"liger_kernel": "auto"},
        "The liger_kernel implementation is gone; auto picks one.",
    ),
    value(
        "fused-lm-head-none",
        "v0.4.0",
        "trainer",
        "model.fused_lm_head_chunk_size",
        {"None": "disabled"},
        "Switching chunking off is written as disabled.",
    ),
    rewrite(
        "bench-table",
        "v0.4.0",
        "trainer",
        "bench",
        "bench",
        "Benchmark mode is a table: true is an empty one, false is none.",
        training.bench,
    ),
)
