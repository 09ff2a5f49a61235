"""Rules of learning rate schedules and traces against the length of the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_prime_train.findings import Problem
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, key, said

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block

_MOST_TRACED = 9


@rule(
    "trace-needs-max-steps",
    name="A trace of a run without an end",
    part="trainer",
    keys=("trace_path", "max_steps"),
    needs=("trace_path",),
    since="v0.2",
    recommendation="Set max_steps below 10, or remove trace_path.",
    source="trainer.py TrainerConfig.dont_do_massive_traces",
)
def _trace_needs_max_steps(trainer: Block) -> Iterator[Problem]:
    if trainer.get("trace_path") is not None and trainer.get("max_steps") is None:
        yield broken(
            trainer,
            ("trace_path", "max_steps"),
            f"{said(trainer, 'trace_path')} traces every step, and {said(trainer, 'max_steps')}",
            f"Set {key(trainer, 'max_steps')} = {_MOST_TRACED}, or remove "
            f"{key(trainer, 'trace_path')}.",
        )


@rule(
    "trace-max-ten",
    name="A trace of ten steps or more",
    part="trainer",
    keys=("trace_path", "max_steps"),
    needs=("trace_path",),
    since="v0.2",
    recommendation="Set max_steps below 10, or remove trace_path.",
    source="trainer.py TrainerConfig.dont_do_massive_traces",
)
def _trace_max_ten(trainer: Block) -> Iterator[Problem]:
    steps = trainer.get("max_steps")
    if trainer.get("trace_path") is not None and steps is not None and steps > _MOST_TRACED:
        yield broken(
            trainer,
            ("trace_path", "max_steps"),
            f"{said(trainer, 'trace_path')} traces every step, which prime-rl allows for fewer "
            f"than 10, and {said(trainer, 'max_steps')}",
            f"Remove {key(trainer, 'trace_path')}, or set {key(trainer, 'max_steps')} = "
            f"{_MOST_TRACED}.",
        )


@rule(
    "sched-linear-empty",
    name="A linear schedule without a slope",
    part="trainer",
    keys=("scheduler.type", "max_steps"),
    needs=("scheduler",),
    since="HEAD",
    recommendation='Set scheduler.type = "constant".',
    source="trainer.py validate_scheduler",
)
def _linear_empty(trainer: Block) -> Iterator[Problem]:
    if trainer.get("scheduler.type") != "linear":
        return
    if trainer.get("scheduler.warmup_steps") == 0 and trainer.get("scheduler.decay_steps") == 0:
        yield broken(
            trainer,
            ("scheduler.warmup_steps", "scheduler.decay_steps"),
            f"{said(trainer, 'scheduler.warmup_steps', 'scheduler.decay_steps')} leave a linear "
            "schedule nothing to do",
            f"Set {key(trainer, 'scheduler.warmup_steps')} = 10, or use the constant schedule "
            "without both keys.",
        )


@rule(
    "sched-linear-needs-max-steps",
    name="A learning rate that falls towards an end that is not set",
    part="trainer",
    keys=("scheduler.type", "max_steps"),
    needs=("scheduler",),
    since="HEAD",
    recommendation="Set max_steps, or scheduler.decay_steps = 0.",
    source="trainer.py validate_scheduler",
)
def _linear_needs_max_steps(trainer: Block) -> Iterator[Problem]:
    if trainer.get("scheduler.type") != "linear" or trainer.get("max_steps") is not None:
        return
    if trainer.get("scheduler.decay_steps") > 0:
        yield broken(
            trainer,
            ("scheduler.decay_steps", "scheduler.type"),
            f"{said(trainer, 'scheduler.decay_steps')} are the last steps of a run, but "
            f"{said(trainer, 'max_steps')}",
            f"Set {key(trainer, 'max_steps')}, or {key(trainer, 'scheduler.decay_steps')} = 0.",
        )


@rule(
    "sched-linear-fits",
    name="A linear schedule that is longer than the run",
    part="trainer",
    keys=("scheduler.type", "max_steps"),
    needs=("scheduler",),
    since="HEAD",
    recommendation="Make warmup_steps and decay_steps together at most max_steps; each is 10 by "
    "default.",
    source="trainer.py validate_scheduler",
)
def _linear_fits(trainer: Block) -> Iterator[Problem]:
    steps = trainer.get("max_steps")
    if trainer.get("scheduler.type") != "linear" or steps is None:
        return
    warmup, decay = trainer.get("scheduler.warmup_steps"), trainer.get("scheduler.decay_steps")
    if decay > 0 and warmup + decay > steps:
        yield broken(
            trainer,
            ("scheduler.warmup_steps", "scheduler.decay_steps", "max_steps"),
            f"{said(trainer, 'scheduler.warmup_steps', 'scheduler.decay_steps')} do not fit into "
            f"{said(trainer, 'max_steps')}",
            f"Set {key(trainer, 'scheduler.warmup_steps')} and "
            f"{key(trainer, 'scheduler.decay_steps')} to at most {max(steps, 0)} together.",
        )


@rule(
    "sched-cosine-needs-max-steps",
    name="A cosine schedule without an end",
    part="trainer",
    keys=("scheduler.type", "max_steps"),
    needs=("scheduler",),
    since="HEAD",
    recommendation="Set max_steps.",
    source="trainer.py validate_scheduler",
)
def _cosine_needs_max_steps(trainer: Block) -> Iterator[Problem]:
    if trainer.get("scheduler.type") == "cosine" and trainer.get("max_steps") is None:
        yield broken(
            trainer,
            ("scheduler.type", "max_steps"),
            f"{said(trainer, 'scheduler.type')} falls until the last step, but "
            f"{said(trainer, 'max_steps')}",
            f'Set {key(trainer, "max_steps")}, or {key(trainer, "scheduler.type")} = "constant".',
        )


@rule(
    "sched-cosine-warmup",
    name="A warm-up that is longer than the run",
    part="trainer",
    keys=("scheduler.type", "max_steps"),
    needs=("scheduler",),
    since="HEAD",
    recommendation="Set scheduler.warmup_steps below max_steps; it is 10 by default.",
    source="trainer.py validate_scheduler",
)
def _cosine_warmup(trainer: Block) -> Iterator[Problem]:
    steps = trainer.get("max_steps")
    if trainer.get("scheduler.type") != "cosine" or steps is None:
        return
    if trainer.get("scheduler.warmup_steps") >= steps:
        yield broken(
            trainer,
            ("scheduler.warmup_steps", "max_steps", "scheduler.type"),
            f"{said(trainer, 'scheduler.warmup_steps')} leave a cosine schedule nothing of "
            f"{said(trainer, 'max_steps')}",
            f"Set {key(trainer, 'scheduler.warmup_steps')} = {max(steps // 10, 0)}.",
        )
