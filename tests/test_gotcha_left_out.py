"""What the catalogue has and the gotchas have not, each with its reason."""

from __future__ import annotations

import json
from pathlib import Path

from pytest_prime_train.gotchas import all_gotchas

_ASKED_OF_EVERY_FILE = "not declared yet: asks a fact of nearly every file"
_ESTIMATED = "memory-trainer and memory-inference say it, where a GPU is named"
_OPEN = "not declared yet: it is worth a line, and its fact is given by hand alone"
_TABLE = "not declared yet: its fact is a table by environment"

LEFT_OUT = {
    "ckpt-disk-too-small": _ASKED_OF_EVERY_FILE,
    "cp-on-hf-model": "model-incompatible says it, where a GPU is named",
    "curriculum-name-change-breaks-resume": "not declared yet: its fact is a list of names",
    "difficulty-pool-infinite-taskset": _TABLE,
    "env-package-not-installed": _TABLE,
    "eval-infinite-taskset": _TABLE,
    "gpt-oss-reload-bug-old": _OPEN,
    "gpus-idle": _ASKED_OF_EVERY_FILE,
    "gpus-missing": _ASKED_OF_EVERY_FILE,
    "grouped-mm-needs-hopper": _ASKED_OF_EVERY_FILE,
    "inference-does-not-fit": _ESTIMATED,
    "lora-base-in-fp32-does-not-fit": _ESTIMATED,
    "lora-ckpt-holds-the-base": _ASKED_OF_EVERY_FILE,
    "lora-target-unknown-name": "model-incompatible says it, where a GPU is named",
    "model-dir-shadows-hub-id": _ASKED_OF_EVERY_FILE,
    "nccl-p2p-consumer-gpus": _ASKED_OF_EVERY_FILE,
    "one-gpu-machine": _ASKED_OF_EVERY_FILE,
    "optim-offload-host-ram": _ASKED_OF_EVERY_FILE,
    "optim-offload-on-small-model": _ASKED_OF_EVERY_FILE,
    "prime-sandbox-15-min-cap": _OPEN,
    "ready-timeout-shorter-than-vllm": _ASKED_OF_EVERY_FILE,
    "run-dir-has-artifacts": _ASKED_OF_EVERY_FILE,
    "sft-steps-exceed-epochs": _ASKED_OF_EVERY_FILE,
    "startup-weights-wait-too-short": _ASKED_OF_EVERY_FILE,
    "trainer-does-not-fit": _ESTIMATED,
    "two-runs-one-host-ports": _ASKED_OF_EVERY_FILE,
    "vllm-auto-dtype-fp32-checkpoint": _ASKED_OF_EVERY_FILE,
    "wandb-entity-unset": _ASKED_OF_EVERY_FILE,
    "wandb-key-missing": _ASKED_OF_EVERY_FILE,
}
"""Id of an entry that needs facts -> why no gotcha has it."""


def test_every_entry_with_facts_is_declared_or_left_out_for_a_reason(shared: Path) -> None:
    text = shared.joinpath("gotchas/catalogue.json").read_text(encoding="utf-8")
    with_facts = {one["id"] for one in json.loads(text)["gotchas"] if one["needs_facts"]}
    declared = {known.id for known in all_gotchas()}
    assert with_facts - declared == LEFT_OUT.keys()
