"""Changes of the launcher's and the trainer's keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_prime_train.config.tree import Node
from pytest_prime_train.findings import KeyPath
from pytest_prime_train.migrations.draft import Draft
from pytest_prime_train.migrations.words import dotted, show
from pytest_prime_train.schema.versions import NEWEST

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Config

_OPEN = frozenset(("args", "extra_body", "extra_env_kwargs", "headers", "kwargs", "vllm_extra"))


def kebab_keys(draft: Draft, prefix: KeyPath) -> None:
    """Write keys with underscores, which versions up to v0.4 read with hyphens as well."""
    if prefix:
        return  # Keys of the parts are met on the way from the top.
    from pytest_prime_train.schema.lifetimes import dotted as pattern
    from pytest_prime_train.schema.lifetimes import versions_of

    for path, node in list(draft.tree.walk()):
        if not node.is_table or not _OPEN.isdisjoint(path):
            continue
        for key in list(node.table):
            name = key.replace("-", "_")
            if name != key and versions_of(draft.root, pattern((*path, name))):
                draft.move((*path, key), (*path, name))


def toml_files(draft: Draft, prefix: KeyPath) -> None:
    """Files that belong together are named at the start of a run, not in one of them."""
    for block in ((), ("ckpt",), ("log",), ("model",), ("wandb",), ("weight_broadcast",)):
        path = (*prefix, *block, "toml_files")
        node = draft.drop(path)
        if node is None or node.is_none or node.value == []:
            continue
        names = node.value if type(node.value) is list else [node.value]
        files = " ".join(f"@ {name}" for name in names)
        below = ".".join(str(part) for part in (*prefix, *block))
        line = f"--{below} {files}" if below else f"{files} @ this file"
        draft.needs_person(
            f"{dotted(path)} = {show(node.value)} was left out: a file cannot pull in others",
            f"Name the files when the run is started, in this order: {line}.",
            node.source,
        )


def clean(draft: Draft, prefix: KeyPath) -> None:
    """Drop the switch of v0.4, unless the file has keys of the time when the name came back."""
    node = draft.get(("clean",))
    if node is None:
        return
    if draft.newest == NEWEST:
        draft.note(
            f"clean = {show(node.value)} was left as it is: it wipes the run directory, which is "
            "what the newer keys of this file mean by it",
            "Remove clean where it came from v0.4 or before.",
            node.source,
            node,
        )
        return
    draft.drop(("clean",))
    if node.value is not True:
        draft.note(
            f"clean = {show(node.value)} was left out: nothing is removed at a start unless "
            "clean = true is set, which wipes the whole run directory now",
            "",
            node.source,
        )


def gpu_ids(draft: Draft, prefix: KeyPath) -> None:
    """Replace lists of GPU ids by their lengths."""
    if draft.root != "rl":
        return
    taken = 0
    for old, new in (
        ("inference_gpu_ids", "num_infer_gpus"),
        ("trainer_gpu_ids", "num_train_gpus"),
        ("teacher_gpu_ids", "num_teacher_gpus"),
    ):
        node = draft.get((old,))
        if node is None:
            taken += old != "teacher_gpu_ids"
            continue
        if node.is_none or type(node.value) is not list:
            draft.drop((old,))
            continue
        ids = node.value
        if ids != list(range(taken, taken + len(ids))):
            draft.note(
                f"{old} = {show(ids)} is {len(ids)} GPUs now, of prime-rl's choice: inference "
                "has the first ones, the trainer those after them",
                "Set CUDA_VISIBLE_DEVICES where only these GPUs may be used.",
                node.source,
                node,
            )
        taken += len(ids)
        draft.set(node, len(ids))
        draft.move((old,), ("deployment", new))


def fused_lm_head(draft: Draft, prefix: KeyPath) -> None:
    """Chunks of the vocabulary became chunks of tokens, whose sizes are other ones."""
    path = (*prefix, "model", "fused_lm_head_chunk_size")
    node = draft.get(path)
    if node is None:
        return
    if node.is_none or node.value == "disabled":
        draft.set(node, "disabled")
        draft.move(path, (*prefix, "model", "fused_lm_head_token_chunk_size"))
        return
    draft.drop(path)
    if node.value != "auto":
        draft.note(
            f"{dotted(path)} = {show(node.value)} was left out, because chunks are of tokens now "
            "and not of vocabulary rows",
            "",
            node.source,
        )


def ac_targets(draft: Draft, prefix: KeyPath) -> None:
    """The target of activation checkpointing called mamba is part of another."""
    node = draft.get((*prefix, "model", "ac", "targets"))
    if node is not None and type(node.value) is list and "mamba" in node.value:
        names = ["linear_attn" if name == "mamba" else name for name in node.value]
        draft.set(node, list(dict.fromkeys(names)))


def experimental(draft: Draft, prefix: KeyPath) -> None:
    """Drop the table of experiments, of which one became a key of its own."""
    path = (*prefix, "experimental")
    if draft.get(path) is None:
        return
    trainer = draft.places("trainer")
    if trainer and trainer[0] == prefix:
        token_export = (*path, "token_export")
        if draft.get(token_export) is not None:
            draft.move(token_export, (*prefix, "enable_token_export"))
    draft.drop(path)


def runs_without_offload(draft: Draft, prefix: KeyPath) -> None:
    """Write the old default out for a trainer of several runs, which later versions do not have."""
    runs = draft.get((*prefix, "max_concurrent_runs"))
    if runs is not None and type(runs.value) is int and runs.value > 1 and draft.target != NEWEST:
        draft.add((*prefix, "model", "optim_cpu_offload"), False)


def fp8(draft: Draft, prefix: KeyPath) -> None:
    """The switch became a table with a type."""
    path = (*prefix, "model", "fp8")
    node = draft.get(path)
    if node is None:
        return
    if node.value is True:
        draft.set(node, "fp8")
        draft.move(path, (*prefix, "model", "quantization", "type"))
    else:
        draft.drop(path)


def vlm_impl(draft: Draft, prefix: KeyPath) -> None:
    """Vision models have one implementation."""
    vision = draft.get((*prefix, "model", "vlm"))
    if vision is None and draft.root == "rl":
        vision = draft.get(("model", "vlm"))
    if vision is None or vision.is_none:
        return
    path = (*prefix, "model", "impl")
    node = draft.get(path)
    if node is None:
        draft.add(path, "custom")
    elif node.value == "auto":
        draft.set(node, "custom")
    elif node.value != "custom":
        old = node.value
        draft.set(node, "custom")
        draft.needs_person(
            f"{dotted(path)} = {show(old)} became {show('custom')}, the only implementation for "
            "vision models",
            "Try a few steps, as the implementation computes in another way.",
            node.source,
            node,
        )


def resume(draft: Draft, prefix: KeyPath) -> None:
    """The step to resume from became a block of its own, one for all parts."""
    path = (*prefix, "ckpt", "resume_step")
    node = draft.get(path)
    if node is None:
        return
    home: KeyPath = () if draft.root in ("rl", "sft") else prefix
    step = node.value
    if type(step) is int and step > 0:
        draft.move(path, (*home, "resume", "step"))
        return
    draft.drop(path)
    if type(step) is int and step == -1:
        block = Node(None, None, {})
        block.near = node.source
        draft.put((*home, "resume"), block)


def output_dir_of_parts(draft: Draft, prefix: KeyPath) -> None:
    """The parts of an rl config have the launcher's directory."""
    if draft.root != "rl":
        return
    path = (*prefix, "output_dir")
    node = draft.drop(path)
    if node is None or type(node.value) is not str:
        return
    shared = draft.text(("output_dir",)) or "outputs"
    if node.value.rstrip("/") not in (shared.rstrip("/"), f"{shared.rstrip('/')}/run_default"):
        draft.note(
            f"{dotted(path)} = {show(node.value)} was left out: the parts write below "
            f"output_dir = {show(shared)}",
            "Write output_dir at the top of the file where the run is to be kept elsewhere.",
            node.source,
        )


def ckpt_weights(draft: Draft, prefix: KeyPath) -> None:
    """The trainer writes no weights for export any more."""
    ckpt = (*prefix, "ckpt")
    draft.drop((*ckpt, "weights"))
    draft.drop((*ckpt, "skip_gather_master_weights"))
    only = draft.drop((*ckpt, "weights_only"))
    if only is not None and only.value is True:
        draft.needs_person(
            f"{dotted(ckpt)}.weights_only = true was left out: checkpoints are always whole, and "
            "the trainer writes no weights for export",
            "Set ckpt.skip_optimizer where checkpoints take too much space, or remove [ckpt].",
            only.source,
            draft.get(ckpt),
        )


def lr_per_run(draft: Draft, prefix: KeyPath) -> None:
    """The learning rate of a run among many is that of its trainer."""
    path = (*prefix, "optim")
    node = draft.get(path)
    if node is None:
        return
    rate = node.table.get("lr")
    if draft.root == "rl":
        if rate is not None and draft.get(("trainer", "optim", "lr")) is None:
            draft.move((*path, "lr"), ("trainer", "optim", "lr"))
        draft.drop(path)
        return
    draft.drop(path)
    if rate is not None:
        draft.note(
            f"{dotted(path)}.lr = {show(rate.value)} was left out: a trainer has one run, and its "
            "learning rate",
            f"Write optim.lr = {show(rate.value)} into the trainer's config.",
            rate.source,
        )


def sft_deployment(draft: Draft, prefix: KeyPath) -> None:
    """GPUs and nodes of sft have the names that rl has."""
    for old, new in (("num_gpus", "num_train_gpus"), ("num_nodes", "num_train_nodes")):
        draft.move((*prefix, "deployment", old), (*prefix, "deployment", new))


def required_tables(draft: Draft, prefix: KeyPath) -> None:
    """An rl config has both of its parts, even when they are empty."""
    if draft.root == "rl":
        for name in ("trainer", "orchestrator"):
            if not draft.has_around((name,)):
                draft.add((name,), {})


def bench(draft: Draft, prefix: KeyPath) -> None:
    """The switch of benchmarks became a table."""
    node = draft.get((*prefix, "bench"))
    if node is None or type(node.value) is not bool:
        return
    if node.value:
        block = Node(None, None, {})
        block.near = node.source
        draft.drop((*prefix, "bench"))
        draft.put((*prefix, "bench"), block)
    else:
        draft.drop((*prefix, "bench"))


def always(config: Config, path: KeyPath) -> bool:
    """Every config is touched."""
    return True


def is_written(config: Config, path: KeyPath) -> bool:
    """Configs that write the key are touched."""
    return config.has_written(path)


def has_no_transport(config: Config, path: KeyPath) -> bool:
    """Configs are touched that leave the transport of weights to prime-rl."""
    if config.root != "rl":
        return False
    places = (("weight_broadcast",), ("trainer", "weight_broadcast"))
    return not any(config.has_written((*place, "type")) for place in places)


def has_several(config: Config, path: KeyPath) -> bool:
    """Configs are touched that draw from several environments without saying how much of each."""
    items = config.lookup(path[:-2])
    return isinstance(items, list) and len(items) > 1 and not config.has_written(path)


def has_several_nodes(config: Config, path: KeyPath) -> bool:
    """Configs of several nodes are touched that leave their number to prime-rl."""
    return config.get("deployment.type") == "multi_node" and not config.has_written(path)


def trains_vision_model(config: Config, path: KeyPath) -> bool:
    """Configs are touched whose model sees, by its name, and that say nothing about that."""
    name = str(config.trainer.get("model.name") or "")
    return "-vl-" in f"{name.lower()}-" and not config.has_written(path)
