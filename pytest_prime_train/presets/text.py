"""A config as ``prime-train init`` writes it: every choice with the reason for it beside it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from pytest_prime_train.config.literals import literal
from pytest_prime_train.schema.versions import NEWEST

VERSIONS = (NEWEST, "v0.8.0")
"""Versions of prime-rl that configs are written for."""


class Wishes(NamedTuple):
    """What a config is to be about.

    Attributes:
        root: ``rl`` or ``sft``.
        model: Hub name or path.
        task: In ``rl`` the id of the environment's taskset, in ``sft`` the data set.
        train_gpus: Cards of the trainer.
        infer_gpus: Cards of vLLM; 0 in ``sft``.
        seq_len: Tokens of a sequence.
        steps: Optimizer steps of the run.
        run_name: Name of the run.
        output_dir: Where prime-rl writes.
        lora_rank: Rank of the adapter; None to train all weights.
        settings: Further settings by dotted key.
        renderer: Turns messages into tokens; ``""`` for the one that goes with the model.
        version: Version of prime-rl: one of :data:`VERSIONS`.
        made_for: What the numbers were chosen for, in one line.
        evidence: What they rest on.
    """

    root: str
    model: str
    task: str
    train_gpus: int
    infer_gpus: int = 0
    seq_len: int = 4096
    steps: int = 500
    run_name: str = "run"
    output_dir: str = "outputs"
    lora_rank: int | None = None
    settings: Mapping[str, Any] = MappingProxyType({})
    renderer: str = ""
    version: str = NEWEST
    made_for: str = ""
    evidence: str = ""


def config_text(wishes: Wishes) -> str:
    """The config as TOML, in the keys of the version that is asked for."""
    parts = _rl(wishes) if wishes.root == "rl" else _sft(wishes)
    return "\n\n".join([_head(wishes), *parts]) + "\n"


def _head(wishes: Wishes) -> str:
    lines = [f"# {wishes.root} config for prime-rl {wishes.version}, written by prime-train init."]
    lines += [f"# Made for {wishes.made_for}."] if wishes.made_for else []
    lines += [f"# Its settings rest on: {wishes.evidence}."] if wishes.evidence else []
    return "\n".join(lines)


def _interval(steps: int) -> int:
    """Steps between checkpoints: at most 25 of them are lost, and short runs have several."""
    return max(1, min(25, steps // 4))


def _top(wishes: Wishes) -> str:
    lines = [
        "# A run without an end trains, and is paid for, until somebody stops it.",
        f"max_steps = {wishes.steps}",
    ]
    if wishes.root == "rl":
        lines += [
            "# Longest sequence of the trainer and of vLLM, prompt and answer together.",
            f"seq_len = {wishes.seq_len}",
        ]
    if wishes.version == NEWEST:
        lines.append(f"output_dir = {literal(wishes.output_dir)}")
    else:
        own = f"{wishes.output_dir.rstrip('/')}/{wishes.run_name}"
        lines += [
            "# A folder of the run's own, where what resumes it finds its checkpoints alone.",
            f"output_dir = {literal(own)}",
        ]
    return "\n".join(lines)


def _common(wishes: Wishes) -> list[str]:
    newest = wishes.version == NEWEST
    gpus = "num_train_gpus" if newest or wishes.root == "rl" else "num_gpus"
    deployment = ["[deployment]", f"{gpus} = {wishes.train_gpus}"]
    run = (
        "# Only a run with a name is found again by what resumes it.\n"
        f"[run]\nname = {literal(wishes.run_name)}"
    )
    if wishes.root == "rl":
        deployment.append(f"num_infer_gpus = {wishes.infer_gpus}")
    total = wishes.train_gpus + wishes.infer_gpus
    if total > 8:
        deployment.append(f"gpus_per_node = {total}")
    interval = _interval(wishes.steps)
    return [
        _top(wishes),
        *([run] if newest else []),
        _named_model(wishes),
        "\n".join(deployment),
        "# Without an interval only the last step is saved; without keep_last the disk fills up,\n"
        "# and with one checkpoint a damaged one leaves nothing.\n"
        f"[ckpt]\ninterval = {interval}\nkeep_last = 2",
        "# What a run did can be told afterwards only from what was logged.\n"
        f"[{'monitors.wandb' if newest else 'wandb'}]\nproject = {literal(wishes.run_name)}\n"
        f"name = {literal(wishes.run_name)}",
    ]


def _rl(wishes: Wishes) -> list[str]:
    answer = max(wishes.seq_len * 3 // 4, 1)
    task = literal(wishes.task)
    rate = "1e-5" if wishes.lora_rank else "2e-6"
    size = "an adapter needs more than full weights" if wishes.lora_rank else "full weights"
    return [
        *_common(wishes),
        *_model(wishes, "trainer.model"),
        f"# For {size}.\n[trainer.optim]\nlr = {rate}",
        "# Whole groups make up a batch, and each of the trainer's GPUs gets its share.\n"
        f"[orchestrator]\nbatch_size = {_batch(wishes)}\ngroup_size = 8",
        "# Shorter than seq_len, so that the prompt fits as well.\n"
        f"[orchestrator.train.sampling]\nmax_completion_tokens = {answer}",
        *_renderer(wishes, "orchestrator.renderer"),
        f"[[orchestrator.train.source]]\nname = {task}",
        "# Its further keys belong to the environment's own package.\n"
        f"[orchestrator.train.source.env.taskset]\nid = {task}",
        '[orchestrator.train.source.env.agent.harness]\nid = "null"',
        "# In the orchestrator's own process; an environment with tools needs a sandbox here.\n"
        '[orchestrator.train.source.env.agent.runtime]\ntype = "subprocess"',
        "# Memory for longer sequences than the trainer takes would be lost to the KV cache.\n"
        f"[inference.{'vllm' if wishes.version == NEWEST else 'model'}]\n"
        f"max_model_len = {wishes.seq_len}"
        + "".join(
            f"\n{key.removeprefix('inference.vllm.')} = {literal(value)}"
            for key, value in wishes.settings.items()
            if key.startswith("inference.vllm.")
        ),
    ]


def _renderer(wishes: Wishes, table: str) -> list[str]:
    if not wishes.renderer:
        return []
    return [
        "# No renderer goes with the model by itself.\n"
        f"[{table}]\nname = {literal(wishes.renderer)}"
    ]


def _sft(wishes: Wishes) -> list[str]:
    rate = "1e-4" if wishes.lora_rank else "1e-5"
    size = "an adapter" if wishes.lora_rank else "full weights"
    return [
        *_common(wishes),
        *_model(wishes, "model"),
        "# Sequences are packed up to seq_len; longer ones are cut.\n"
        f"[data]\nname = {literal(wishes.task)}\nseq_len = {wishes.seq_len}\n"
        f"batch_size = {_batch(wishes)}",
        f"# For {size}.\n[optim]\nlr = {rate}",
        *_renderer(wishes, "renderer"),
    ]


def _batch(wishes: Wishes) -> int:
    """The multiple of the trainer's GPUs, and of groups of 8, that is nearest above the usual."""
    each = wishes.train_gpus * 8
    return -(-64 // each) * each if wishes.root == "sft" else -(-128 // each) * each


_WHY = "# The model fits the card, or is spread over so many of them, only with these.\n"


def _named_model(wishes: Wishes) -> str:
    """The model, with the trainer's settings where both are one table."""
    lines = f"[model]\nname = {literal(wishes.model)}"
    keys = _keys_of(wishes, "model") if wishes.root == "sft" else {}
    return f"{_WHY}{lines}\n{_body(keys)}" if keys else lines


def _model(wishes: Wishes, table: str) -> list[str]:
    """Settings of the trainer's memory."""
    parts = []
    keys = _keys_of(wishes, table) if wishes.root == "rl" else {}
    if keys:
        parts.append(f"{_WHY}[{table}]\n{_body(keys)}")
    if wishes.lora_rank:
        parts.append(
            "# An adapter is trained: gradients and states of all weights would not fit.\n"
            f"[{table}.lora]\nrank = {wishes.lora_rank}\nalpha = {2.0 * wishes.lora_rank}"
        )
    return parts


def _keys_of(wishes: Wishes, table: str) -> dict[str, Any]:
    prefix = f"{table}."
    return {
        key.removeprefix(prefix): value
        for key, value in wishes.settings.items()
        if key.startswith(prefix)
    }


def _body(keys: dict[str, Any]) -> str:
    return "\n".join(f"{key} = {literal(value)}" for key, value in keys.items())
