"""Runs whose work is lost when they stop early."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import KeyPath, Problem, format_key
from pytest_prime_train.gotchas.registry import gotcha

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Config

_CATEGORY = "checkpointing"
_ROOTS = ("rl", "sft", "trainer")


@gotcha(
    id="ckpt-disabled",
    name="No checkpoints at all",
    severity="warning",
    category=_CATEGORY,
    hours_lost=4.0,
    hours_basis="one spot interruption of a run without checkpoints",
    since="0.1",
    roots=_ROOTS,
    keys=("ckpt", "trainer.ckpt", "max_steps"),
    why="Without a [ckpt] block prime-rl writes no checkpoint, not even on SIGTERM, so a crash, an "
    "out-of-memory kill or a spot interruption throws away the whole run.",
    recommendation="Add [ckpt] with interval = 25 (a tenth of max_steps for short runs) and "
    "keep_last = 2.",
    evidence=(
        "prime-rl docs/training.md, Enabling Checkpoints",
        "prime-rl configs/rl.py: SharedCheckpointConfig, RLConfig.ckpt",
        "prime-rl trainer/rl/train.py and trainer/sft/train.py: every save asks for config.ckpt",
        "prime-rl entrypoints/rl.py: sigterm_handler only ends the processes",
    ),
    confidence="verified-in-source",
    detected_by="never",
)
def ckpt_disabled(config: Config) -> Iterator[Problem]:
    trainer = config.trainer
    if not trainer or trainer.get("ckpt") is not None:
        return
    steps = config.steps
    if (steps is not None and steps <= 20) or _trains_on_fake_data(config):
        return
    cause = "there is no [ckpt]"
    key: KeyPath = ("ckpt",)
    for path in (("ckpt",), trainer.path("ckpt")):
        if config.has_written(path):
            key, cause = path, f'{format_key(path)} is "None"'
    yield Problem(
        key,
        f"{cause}, so no checkpoint is written in {_length(steps)}",
        f"Add [ckpt] with interval = {_interval(steps)} and keep_last = 2.",
    )


@gotcha(
    id="ckpt-only-at-end",
    name="[ckpt] without interval saves only once, at the end",
    severity="warning",
    category=_CATEGORY,
    hours_lost=4.0,
    hours_basis="one spot interruption of a run without checkpoints",
    since="0.1",
    roots=_ROOTS,
    keys=("ckpt.interval", "trainer.ckpt.interval", "max_steps"),
    needs=("ckpt",),
    why="A [ckpt] block without interval looks like protection, but the only checkpoint is written "
    "after the last step: whatever stops the run before that throws it away.",
    recommendation="Set ckpt.interval = 25 (a tenth of max_steps for short runs).",
    evidence=(
        "prime-rl docs/training.md, Enabling Checkpoints",
        "prime-rl configs/trainer.py: CheckpointConfig.interval",
        "prime-rl trainer/rl/train.py: the save after the loop",
    ),
    confidence="verified-in-source",
    detected_by="never",
)
def ckpt_only_at_end(config: Config) -> Iterator[Problem]:
    if not _lacks_interval(config):
        return
    steps = config.steps
    if steps is not None and steps <= 100:
        return
    key = _interval_key(config)
    yield Problem(
        key,
        f"{format_key(key)} is not set, so in {_length(steps)} a checkpoint is written only after "
        "the last step",
        _set_interval(config, key),
    )


@gotcha(
    id="ckpt-never-written-endless-run",
    name="[ckpt] without interval on a run without end",
    severity="error",
    category=_CATEGORY,
    hours_lost=6.0,
    hours_basis="the whole run is lost at the first crash",
    since="0.1",
    roots=_ROOTS,
    keys=("ckpt.interval", "trainer.ckpt.interval", "max_steps"),
    needs=("ckpt",),
    why="Without interval a checkpoint is written only after the last step, and without max_steps "
    "there is no last step: the [ckpt] block does nothing.",
    recommendation="Set ckpt.interval = 25, or max_steps.",
    evidence=(
        "prime-rl configs/trainer.py: CheckpointConfig.interval, TrainerConfig.max_steps",
        "prime-rl trainer/rl/train.py and trainer/sft/train.py: the loop ends at max_steps only, "
        "and the last save comes after it",
    ),
    confidence="verified-in-source",
    detected_by="never",
)
def ckpt_never_written_endless_run(config: Config) -> Iterator[Problem]:
    if config.steps is not None or not _lacks_interval(config):
        return
    key = _interval_key(config)
    yield Problem(
        key,
        f"neither {format_key(key)} nor max_steps is set, so no checkpoint is ever written",
        _set_interval(config, key),
    )


def _lacks_interval(config: Config) -> bool:
    trainer = config.trainer
    return trainer.get("ckpt") is not None and trainer.get("ckpt.interval") is None


def _interval_key(config: Config) -> KeyPath:
    """Where the interval belongs: in the shared block of an rl file, if it has one."""
    if config.written("ckpt"):
        return ("ckpt", "interval")
    return config.trainer.path("ckpt.interval")


def _set_interval(config: Config, key: KeyPath) -> str:
    interval = _interval(config.steps)
    if key[0] == "trainer":
        # The two parts of an rl config have to agree.
        return (
            f"Set trainer.ckpt.interval = {interval} and orchestrator.ckpt.interval = {interval}."
        )
    return f"Set {format_key(key)} = {interval}."


def _interval(steps: int | None) -> int:
    return 25 if steps is None else max(1, min(25, steps // 10))


def _length(steps: int | None) -> str:
    return "a run without max_steps" if steps is None else f"a run of {steps} steps"


def _trains_on_fake_data(config: Config) -> bool:
    """Whether nothing is learned that could be lost: a measurement of speed or memory."""
    trainer = config.trainer
    return trainer.get("data.fake") is not None or (
        config.root == "sft" and trainer.get("data.type") == "fake"
    )
