"""Rules that every program has: environment variables, where to resume, numbers nobody checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytest_prime_train.findings import Problem, format_key
from pytest_prime_train.schema.rules.registry import rule
from pytest_prime_train.schema.rules.words import broken, is_written, key, said
from pytest_prime_train.schema.versions import NEWEST

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block

_LAUNCHERS_OWN = (
    "CUDA_VISIBLE_DEVICES",
    "PRL_RUN_ID",
    "PRL_RUN_NAME",
    "WANDB_RUN_ID",
    "WANDB_SHARED_FINISHER",
    "WANDB_SHARED_LABEL",
    "WANDB_SHARED_MODE",
    "WANDB_SHARED_PRIMARY",
)


@rule(
    "all-env-vars-protected",
    name="An environment variable that belongs to the launcher",
    part="env_vars",
    keys=(),
    needs=_LAUNCHERS_OWN,
    since="v0.7.0",
    recommendation="Remove the variable; the launcher sets it.",
    source="shared.py reject_protected_env_vars",
)
def _env_vars_protected(env_vars: Block) -> Iterator[Problem]:
    written = env_vars.config.lookup(env_vars.path())
    since_run_names = ("PRL_RUN_ID", "PRL_RUN_NAME")
    for name in _LAUNCHERS_OWN:
        if name not in written:
            continue
        if name in since_run_names and env_vars.config.version != NEWEST:
            continue  # Older versions do not have these.
        path = (*env_vars.path(), name)
        yield Problem(
            path,
            f"{format_key(path)} is set by the launcher for every process and cannot be set here",
            f"Remove {format_key(path)}.",
        )


@rule(
    "all-resume-step-xor-dir",
    name="Two places to resume from",
    part="resume",
    keys=("step", "dir"),
    needs=("resume",),
    since="HEAD",
    recommendation="Keep resume.step for this run's own checkpoint, or resume.dir for another's.",
    source="shared.py ResumeConfig.validate_step_xor_dir",
)
def _resume_step_xor_dir(resume: Block) -> Iterator[Problem]:
    if resume.get("step") is not None and resume.get("dir") is not None:
        yield broken(
            resume,
            ("step", "dir"),
            f"{said(resume, 'step', 'dir')} exclude each other: the directory's name has its step",
            f"Remove {key(resume, 'step')}.",
        )


@rule(
    "all-resume-dir-name",
    name="A directory to resume from that is no checkpoint of a step",
    part="resume",
    keys=("dir",),
    needs=("resume",),
    since="HEAD",
    recommendation="Name the directory of one step, such as runs/mine/checkpoints/step_50.",
    source="shared.py ResumeConfig.validate_step_xor_dir",
)
def _resume_dir_name(resume: Block) -> Iterator[Problem]:
    directory = resume.get("dir")
    if directory is None:
        return
    from pathlib import PurePosixPath

    name = PurePosixPath(directory).name
    if not (name.startswith("step_") and name[5:].isdecimal()):
        yield broken(
            resume,
            ("dir",),
            f"{said(resume, 'dir')} does not end in step_ and a number",
            f"Write {key(resume, 'dir')} as the directory of one step, such as "
            f'"{directory.rstrip("/") or "checkpoints"}/step_50".',
        )


_LARGEST = 1.7976931348623157e308
# Key and least value.
_UNCHECKED: dict[str, tuple[tuple[str, int], ...]] = {
    "rl": (
        ("max_steps", 1),
        ("seq_len", 1),
        ("trainer.max_steps", 1),
        ("trainer.model.seq_len", 1),
        ("trainer.model.cp", 1),
        ("trainer.model.dp_replicate", 1),
        ("orchestrator.max_steps", 1),
        ("orchestrator.seq_len", 1),
        ("deployment.num_train_gpus", 1),
        ("deployment.num_infer_gpus", 0),
        ("deployment.num_train_nodes", 1),
        ("deployment.gpus_per_node", 1),
        ("inference.vllm.tensor_parallel_size", 1),
    ),
    "sft": (
        ("max_steps", 1),
        ("model.seq_len", 1),
        ("model.cp", 1),
        ("model.dp_replicate", 1),
        ("deployment.num_train_gpus", 1),
        ("deployment.num_infer_gpus", 0),
        ("deployment.gpus_per_node", 1),
        ("inference.vllm.tensor_parallel_size", 1),
    ),
    "trainer": (
        ("max_steps", 1),
        ("model.seq_len", 1),
        ("model.cp", 1),
        ("model.dp_replicate", 1),
    ),
    "orchestrator": (("max_steps", 1), ("seq_len", 1)),
    "inference": (("vllm.tensor_parallel_size", 1),),
}

_UNCHECKED_PATHS = {
    root: tuple((tuple(name.split(".")), name, least) for name, least in rows)
    for root, rows in _UNCHECKED.items()
}


@rule(
    "all-unchecked-ranges",
    name="A number that prime-rl takes and that cannot work",
    part="whole",
    keys=(),
    needs=(
        "cp",
        "dp_replicate",
        "gpu_memory_utilization",
        "gpus_per_node",
        "lr",
        "max_steps",
        "num_infer_gpus",
        "num_train_gpus",
        "num_train_nodes",
        "seq_len",
        "tensor_parallel_size",
    ),
    since="v0.2",
    severity="warning",
    why="prime-rl does not check the number, so the run stops later, on rented machines.",
    recommendation="Write a number that can work.",
    source="trainer.py, rl.py, inference.py: fields without bounds",
)
def _unchecked_ranges(top: Block) -> Iterator[Problem]:
    names = top.config.names
    for path, name, least in _UNCHECKED_PATHS[top.config.root]:
        if path[-1] not in names:
            continue
        value: Any = top.config.values
        for part in path:
            value = value.get(part) if type(value) is dict else None
        # A shared key is told of at its own place.
        if type(value) is int and value < least and top.written(name):
            yield broken(
                top,
                (name,),
                f"{said(top, name)} passes prime-rl's check but cannot work",
                f"Write {key(top, name)} as a whole number of at least {least}.",
            )
    inference = top.config.inference
    share = "gpu_memory_utilization" in names and inference.get("vllm.gpu_memory_utilization")
    if type(share) is float and not 0 < share <= 1:
        yield broken(
            inference,
            ("vllm.gpu_memory_utilization",),
            f"{said(inference, 'vllm.gpu_memory_utilization')} is no share of a GPU's memory",
            f"Write {key(inference, 'vllm.gpu_memory_utilization')} = 0.9, above 0 and at most 1.",
        )
    rate = "lr" in names and top.config.trainer.get("optim.lr")
    if type(rate) is float and not rate <= _LARGEST:
        trainer = top.config.trainer
        if is_written(trainer, "optim.lr"):
            yield broken(
                trainer,
                ("optim.lr",),
                f"{said(trainer, 'optim.lr')} makes every weight not a number at the first step",
                f"Write {key(trainer, 'optim.lr')} = 1e-6.",
            )
