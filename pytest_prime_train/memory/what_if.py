"""The smallest changes that make a run fit, each verified by the estimate, cheapest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeAlias

from pytest_prime_train.memory.from_config import RunShape, auto_expert_parallel
from pytest_prime_train.memory.gpus import Gpu
from pytest_prime_train.memory.inference import estimate_inference
from pytest_prime_train.memory.shapes import (
    GIB,
    InferenceShape,
    TrainerShape,
    Verdict,
)
from pytest_prime_train.memory.throughput import estimate_speed
from pytest_prime_train.memory.trainer import estimate
from pytest_prime_train.memory.verdict import inference_verdict, trainer_verdict
from pytest_prime_train.memory.versions import has_own_code

Value: TypeAlias = "bool | int | float | str | dict[str, int]"

SMALL_CHUNK = 1024
SEQ_STEP = 1024
MOST_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class Edit:
    """One key and the value to write: an empty dict is an empty table."""

    key: str
    value: Value

    def __str__(self) -> str:
        if isinstance(self.value, bool):
            return f"{self.key} = {str(self.value).lower()}"
        if isinstance(self.value, str):
            return f'{self.key} = "{self.value}"'
        return f"[{self.key}]" if isinstance(self.value, dict) else f"{self.key} = {self.value}"


@dataclass(frozen=True, slots=True)
class Fix:
    """A set of edits after which the run fits.

    Attributes:
        edits: What to write, in the keys of main-2026-08-21.
        verdict: Verdict afterwards: ``fits``, or ``tight`` where nothing does better.
        peak_gib: Peak per GPU afterwards.
        high_gib: Upper end of its band.
        slowdown: Share of the tokens per second and GPU that it costs; below 0 where it gains.
        changes_training: Whether it changes what is trained, not only where it is kept.
        extra_gpus: GPUs it needs beyond the config's own.
    """

    edits: tuple[Edit, ...]
    verdict: Verdict
    peak_gib: float
    high_gib: float
    slowdown: float
    changes_training: bool = False
    extra_gpus: int = 0

    def __str__(self) -> str:
        return ", ".join(map(str, self.edits))


@dataclass(frozen=True, slots=True)
class _Step:
    """One candidate change of the trainer."""

    name: str
    edits: tuple[Edit, ...]
    apply: Callable[[TrainerShape], TrainerShape]
    changes_training: bool = False
    extra_gpus: int = 0


def _prefixed(run: RunShape, key: str) -> str:
    return f"{run.trainer_prefix}.{key}" if run.trainer_prefix else key


def _storage_steps(run: RunShape, shape: TrainerShape) -> Iterator[_Step]:
    """Changes of where and for how long things are kept."""

    def key(name: str) -> str:
        return _prefixed(run, name)

    if shape.ac != "full" or shape.ac_freq > 1:
        edits = [Edit(key("model.ac.mode"), "full")]
        if shape.ac_freq > 1:
            edits.append(Edit(key("model.ac.freq"), 1))
        yield _Step("ac", tuple(edits), lambda s: replace(s, ac="full", ac_freq=1))
    if not shape.ac_offloading:
        yield _Step(
            "ac_offloading",
            (Edit(key("model.ac_offloading"), {}),),
            lambda s: replace(s, ac_offloading=True, ac=s.ac if s.ac != "none" else "full"),
        )
    if shape.lm_head != "token chunks" or shape.token_chunk > SMALL_CHUNK:
        yield _Step(
            "chunk",
            (Edit(key("model.fused_lm_head_token_chunk_size"), SMALL_CHUNK),),
            lambda s: replace(s, lm_head="token chunks", token_chunk=SMALL_CHUNK),
        )
    if not shape.reshard_after_forward:
        yield _Step(
            "reshard",
            (Edit(key("model.reshard_after_forward"), True),),
            lambda s: replace(s, reshard_after_forward=True),
        )
    if shape.micro_batch_size > 1 and run.root == "sft":
        yield _Step(
            "micro",
            (Edit("data.micro_batch_size", 1),),
            lambda s: replace(s, micro_batch_size=1),
        )
    if shape.model.moe is not None and shape.ep == 1 and shape.implementation == "custom":
        most = min(shape.shards, 8)
        while most > 1 and shape.model.moe.experts % most:
            most -= 1
        if most > 1:
            yield _Step("ep", (Edit(key("model.ep"), most),), lambda s: replace(s, ep=most))
    yield from _offload_steps(shape, key)


def _offload_steps(shape: TrainerShape, key: Callable[[str], str]) -> Iterator[_Step]:
    offloaded = shape.optim_cpu_offload or shape.full_offload or shape.fsdp_cpu_offload
    if not offloaded:
        yield _Step(
            "offload",
            (Edit(key("model.optim_cpu_offload"), True),),
            lambda s: replace(s, optim_cpu_offload=True),
        )
    if not shape.full_offload and shape.optimizer in ("adamw", "sign_sgd"):
        edits = [Edit(key("model.full_offload"), True)]
        edits += [Edit(key("model.optim_cpu_offload"), False)] if shape.optim_cpu_offload else []
        edits += [Edit(key("model.fsdp_cpu_offload"), False)] if shape.fsdp_cpu_offload else []
        yield _Step(
            "offload",
            tuple(edits),
            lambda s: replace(
                s, full_offload=True, optim_cpu_offload=False, fsdp_cpu_offload=False
            ),
        )
    if not shape.fsdp_cpu_offload and not shape.full_offload and shape.optimizer != "muon":
        edits = [Edit(key("model.fsdp_cpu_offload"), True)]
        edits += [Edit(key("model.optim_cpu_offload"), False)] if shape.optim_cpu_offload else []
        yield _Step(
            "offload",
            tuple(edits),
            lambda s: replace(s, fsdp_cpu_offload=True, optim_cpu_offload=False),
        )


def _spread_steps(run: RunShape, shape: TrainerShape) -> Iterator[_Step]:
    """Changes of how many GPUs share the work."""
    if shape.dp_replicate > 1:
        yield _Step(
            "replicate",
            (Edit(_prefixed(run, "model.dp_replicate"), 1),),
            lambda s: _spread(run, s, dp_replicate=1),
        )
    own_code = has_own_code(shape.model.family, shape.version)
    if shape.implementation == "custom" and own_code and shape.cp == 1:
        for cp in (2, 4, 8):
            divides = shape.shards % cp == 0 and shape.seq_len % (2 * cp) == 0
            if divides and (shape.ep == 1 or shape.ep % cp == 0) and shape.micro_batch_size == 1:
                yield _Step(
                    "cp",
                    (Edit(_prefixed(run, "model.cp"), cp),),
                    lambda s, cp=cp: replace(s, cp=cp),  # type: ignore[misc]
                )
    if run.root in ("rl", "sft"):
        yield from _gpu_steps(run, shape)


def _gpu_steps(run: RunShape, shape: TrainerShape) -> Iterator[_Step]:
    if run.train_nodes > 1:
        key, counts = "deployment.num_train_nodes", [2 * run.train_nodes, 4 * run.train_nodes]
        each = run.gpus_per_node
    else:
        key, each = "deployment.num_train_gpus", 1
        counts = list(range(shape.num_gpus + 1, shape.num_gpus + run.spare_gpus + 1))
    for count in counts:
        gpus = count * each
        if gpus <= shape.num_gpus or not _divides(run, shape, gpus):
            continue
        yield _Step(
            "gpus",
            (Edit(key, count),),
            lambda s, gpus=gpus: _spread(run, s, num_gpus=gpus),  # type: ignore[misc]
            extra_gpus=gpus - shape.num_gpus,
        )


def _divides(run: RunShape, shape: TrainerShape, gpus: int) -> bool:
    """Whether prime-rl can spread the model and its batch over that many GPUs."""
    if gpus % (shape.dp_replicate * shape.cp):
        return False
    ep = _spread(run, shape, num_gpus=gpus).ep
    moe = shape.model.moe
    if ep > 1 and (gpus // shape.dp_replicate % ep or (moe is not None and moe.experts % ep)):
        return False
    if run.batch_size is None:
        return True
    return run.batch_size * shape.cp % (gpus * shape.micro_batch_size) == 0


def _spread(
    run: RunShape,
    shape: TrainerShape,
    *,
    num_gpus: int | None = None,
    dp_replicate: int | None = None,
) -> TrainerShape:
    """The same run on other GPUs; expert parallelism follows where it is left to prime-rl."""
    changed = replace(
        shape,
        num_gpus=num_gpus or shape.num_gpus,
        dp_replicate=dp_replicate or shape.dp_replicate,
    )
    if not run.ep_auto:
        return changed
    ep = auto_expert_parallel(changed.model, changed.shards, changed.implementation)
    return replace(changed, ep=ep)


def _training_steps(run: RunShape, shape: TrainerShape) -> Iterator[_Step]:
    """Changes of what is trained: adapters, coarser numbers."""
    if shape.lora_rank is None:
        yield _Step(
            "lora",
            (Edit(_prefixed(run, "model.lora.rank"), 16),),
            lambda s: replace(s, lora_rank=16),
            changes_training=True,
        )
    if shape.optimization_dtype == "float32" and not shape.full_offload:
        yield _Step(
            "dtype",
            (Edit(_prefixed(run, "model.optimization_dtype"), "bfloat16"),),
            lambda s: replace(s, optimization_dtype="bfloat16"),
            changes_training=True,
        )


def _seq_len_key(run: RunShape) -> str:
    return {"rl": "seq_len", "sft": "data.seq_len"}.get(run.root, "model.seq_len")


def _fitting_seq_len(shape: TrainerShape, usable_gib: float) -> int | None:
    """The longest sequence that fits, in steps of 1024 tokens; None when not even one step does."""
    low, high = 0, shape.seq_len // SEQ_STEP
    while low < high:
        middle = (low + high + 1) // 2
        trial = replace(shape, seq_len=middle * SEQ_STEP)
        if trainer_verdict(estimate(trial), usable_gib) == "fits":
            low = middle
        else:
            high = middle - 1
    return low * SEQ_STEP or None


def what_would_fit(run: RunShape, gpu: Gpu, *, most: int = 8) -> list[Fix]:
    """Changes after which the trainer fits, the cheapest first.

    Args:
        run: The run as the config has it.
        gpu: The card.
        most: How many to give at most.

    Returns:
        Single changes that suffice, or pairs and triples where none does; changes of what is
        trained come last. Empty when the trainer fits already or nothing helps.
    """
    shape = run.trainer
    if shape is None or trainer_verdict(estimate(shape), gpu.usable_gib) == "fits":
        return []
    keeps = [*_storage_steps(run, shape), *_spread_steps(run, shape)]
    steps = [*keeps, *_training_steps(run, shape)]
    found: list[Fix] = []
    for size in range(1, MOST_AT_ONCE + 1):
        for chosen in combinations(steps if size < MOST_AT_ONCE else keeps, size):
            if len({step.name for step in chosen}) < size:
                continue
            fix = _try(shape, chosen, gpu)
            if fix is not None:
                found.append(fix)
        if any(not fix.changes_training for fix in found):
            break
    shorter = _fitting_seq_len(shape, gpu.usable_gib)
    if shorter is not None and shorter < shape.seq_len:
        edit = Edit(_seq_len_key(run), shorter)
        step = _Step("seq_len", (edit,), lambda s: replace(s, seq_len=shorter), True)
        fix = _try(shape, (step,), gpu)
        if fix is not None:
            found.append(fix)
    found.sort(
        key=lambda fix: (
            fix.changes_training,
            fix.extra_gpus > 0,
            round(fix.slowdown, 3),
            len(fix.edits),
            fix.extra_gpus,
            str(fix),
        )
    )
    return found[:most]


def _try(shape: TrainerShape, steps: tuple[_Step, ...], gpu: Gpu) -> Fix | None:
    """The change if it makes the trainer fit."""
    changed = shape
    for step in steps:
        changed = step.apply(changed)
    memory = estimate(changed)
    verdict = trainer_verdict(memory, gpu.usable_gib)
    if verdict != "fits":
        return None
    return Fix(
        edits=tuple(edit for step in steps for edit in step.edits),
        verdict=verdict,
        peak_gib=memory.peak_gib,
        high_gib=memory.high_gib,
        slowdown=_slowdown(shape, changed, gpu),
        changes_training=any(step.changes_training for step in steps),
        extra_gpus=sum(step.extra_gpus for step in steps),
    )


def _slowdown(before: TrainerShape, after: TrainerShape, gpu: Gpu) -> float:
    old, new = estimate_speed(before, gpu), estimate_speed(after, gpu)
    if old is None or new is None:
        return 0.0
    return 1 - new.tokens_per_s_per_gpu / old.tokens_per_s_per_gpu


def what_would_serve(run: RunShape, gpu: Gpu) -> list[Fix]:
    """Changes after which vLLM starts, the smallest first; empty when it starts already."""
    shape = run.inference
    if shape is None or _serves(shape, gpu) == "fits":
        return []
    prefix = "" if run.root == "inference" else "inference."
    trials: list[tuple[tuple[Edit, ...], InferenceShape, bool]] = []
    needed = run.trainer.seq_len if run.trainer is not None else None
    if needed is not None and needed < shape.length:
        trials.append(
            (
                (Edit(f"{prefix}vllm.max_model_len", needed),),
                replace(shape, max_model_len=needed),
                False,
            )
        )
    for share in (0.92, 0.95):
        if shape.gpu_memory_utilization < share:
            trials.append(
                (
                    (Edit(f"{prefix}vllm.gpu_memory_utilization", share),),
                    replace(shape, gpu_memory_utilization=share),
                    False,
                )
            )
    gpus = shape.tensor_parallel * shape.data_parallel
    for tp in (2, 4, 8):
        if shape.tensor_parallel < tp <= gpus and not shape.model.heads % tp:
            trials.append(
                (
                    (Edit(f"{prefix}vllm.tensor_parallel_size", tp),),
                    replace(shape, tensor_parallel=tp, data_parallel=max(1, gpus // tp)),
                    False,
                )
            )
    if shape.lora_slots > 1:
        trials.append(((Edit(f"{prefix}vllm.max_loras", 1),), replace(shape, lora_slots=1), False))
    if not shape.kv_cache_dtype.startswith("fp8"):
        trials.append(
            (
                (Edit(f"{prefix}vllm.kv_cache_dtype", "fp8"),),
                replace(shape, kv_cache_dtype="fp8"),
                True,
            )
        )
    found = []
    for edits, changed, coarser in trials:
        verdict = _serves(changed, gpu)
        if verdict == "fits":
            whole = estimate_inference(changed, gpu.usable_gib, gpu.id)
            used = (whole.budget_bytes - whole.available_kv_bytes) / GIB
            found.append(Fix(edits, verdict, used, used, 0.0, changes_training=coarser))
    return found


def _serves(shape: InferenceShape, gpu: Gpu) -> Verdict:
    return inference_verdict(estimate_inference(shape, gpu.usable_gib, gpu.id))
