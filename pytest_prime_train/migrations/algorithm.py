"""Changes of what is trained: losses, teachers, advantages, algorithms."""

from __future__ import annotations

from pytest_prime_train.config.tree import Node
from pytest_prime_train.findings import KeyPath
from pytest_prime_train.migrations.draft import Draft
from pytest_prime_train.migrations.words import dotted, show

_ALGORITHMS = {"rl": "grpo", "opd": "opd", "sft": "sft"}
_PENALTIES = {
    "coef": "num_output_tokens_weight",
    "context_coef": "num_input_tokens_weight",
    "turns_coef": "num_turns_weight",
}
# What a frozen model does not have, as nobody trains it.
_NOT_FROZEN = ("lora", "vlm", "trust_remote_code")


def loss_type(draft: Draft, prefix: KeyPath) -> None:
    """The loss of sft follows from the training mode."""
    path = (*prefix, "loss", "type")
    node = draft.get(path)
    if node is None or node.value != "sft" or draft.root == "sft":
        return
    if draft.root == "rl":
        draft.move(path, ("orchestrator", "training_mode"))
        loss = draft.get((*prefix, "loss"))
        # What else a loss says belongs to other types of it.
        if loss is not None and not loss.table:
            draft.drop((*prefix, "loss"))
        return
    draft.drop(path)
    draft.needs_person(
        f'{dotted(path)} = "sft" was left out: the loss follows from the algorithm',
        'Set algo.type = "sft" in the config of the orchestrator.',
        node.source,
    )


def teacher_of_v05(draft: Draft, prefix: KeyPath) -> None:
    """One teacher, whose use the training mode says."""
    mode = (*prefix, "training_mode")
    for old, use in (("teacher_rollout_model", "sft"), ("teacher_model", "opd")):
        path = (*prefix, old)
        node = draft.get(path)
        if node is None:
            continue
        if node.is_none:
            draft.drop(path)
            continue
        draft.move(path, (*prefix, "teacher"))
        if use == "opd" and draft.get(mode) is None:
            draft.needs_person(
                f"{dotted(path)} became the teacher of on-policy distillation, which trains on the "
                "teacher's judgement alone and not on the reward as well",
                f'Set {dotted((*prefix, "algo", "type"))} = "opd", or remove the teacher to train '
                "on the reward.",
                node.source,
                node,
            )
        draft.add(mode, use)
    path = (*prefix, "use_sft_loss")
    node = draft.get(path)
    if node is not None:
        if node.value is True:
            draft.set(node, "sft")
            draft.move(path, mode)
        else:
            draft.drop(path)


def student(draft: Draft, prefix: KeyPath) -> None:
    """What v0.6 called the student is the model again."""
    path = (*prefix, "student")
    node = draft.get(path)
    if node is None:
        model = draft.get((*prefix, "model", "model"))
        if model is not None and model.is_table:
            draft.move((*prefix, "model", "model"), (*prefix, "model"))
        return
    if not node.is_table:
        draft.drop(path)
        return
    inner = node.table.get("model")
    if inner is not None and inner.is_table:
        draft.move((*path, "model"), (*prefix, "model"))
    if node.table or draft.get((*prefix, "model")) is None:
        draft.move(path, (*prefix, "model"))
    else:
        draft.drop(path)


def training_mode(draft: Draft, prefix: KeyPath) -> None:
    """Modes became algorithms, which have their teacher in them."""
    mode = draft.get((*prefix, "training_mode"))
    teacher = draft.get((*prefix, "teacher"))
    name = str(mode.value) if mode is not None else "rl"
    if mode is not None:
        if name in _ALGORITHMS:
            draft.set(mode, _ALGORITHMS[name])
            draft.move((*prefix, "training_mode"), (*prefix, "algo", "type"))
        else:
            draft.drop((*prefix, "training_mode"))
    if teacher is None:
        return
    if teacher.is_none or not teacher.is_table:
        draft.drop((*prefix, "teacher"))
        return
    _flatten(draft, (*prefix, "teacher"), teacher)
    home = ("algo", "sampling", "source") if name == "sft" else ("algo", "teacher")
    draft.move((*prefix, "teacher"), (*prefix, *home))
    if name == "rl":
        draft.add((*prefix, "algo", "type"), "opd")


def _flatten(draft: Draft, path: KeyPath, teacher: Node) -> None:
    """Put the name and the client of a teacher side by side, as a frozen model has them."""
    model = teacher.table.get("model")
    if model is not None and model.is_table:
        for key in _NOT_FROZEN:
            model.table.pop(key, None)
        draft.move((*path, "model"), path)
    for key in _NOT_FROZEN:
        teacher.table.pop(key, None)
    client = teacher.table.get("client")
    if client is not None:
        if client.is_table:
            draft.move((*path, "client"), path)
        else:
            draft.drop((*path, "client"))


def length_shaping(draft: Draft, prefix: KeyPath) -> None:
    """Shaping by length became a penalty, which weighs in another way."""
    path = (*prefix, "advantage", "length_shaping_alpha")
    node = draft.drop(path)
    if node is not None and not node.is_none and node.value:
        draft.needs_person(
            f"{dotted(path)} = {show(node.value)} was left out: the length penalty that took its "
            "place weighs in another way",
            "Choose algo.length_penalty.num_output_tokens_weight, or train without a penalty.",
            node.source,
        )


def advantage(draft: Draft, prefix: KeyPath) -> None:
    """Advantages are part of the algorithm."""
    _advantage(draft, prefix)
    for path in draft.find(prefix, "train.env[]"):
        _advantage(draft, path)


def _advantage(draft: Draft, place: KeyPath) -> None:
    path = (*place, "advantage")
    node = draft.get(path)
    if node is None:
        return
    if node.is_none or not node.is_table:
        draft.drop(path)
        if node.is_none:
            draft.needs_person(
                f'{dotted(path)} = "None" was left out: every algorithm has an advantage of its '
                "own",
                f"Choose {dotted((*place, 'algo', 'type'))}, such as grpo or max_rl.",
                node.source,
            )
        return
    kind = node.table.get("type")
    if kind is not None and kind.value == "custom":
        draft.drop(path)
        imported = node.table.get("import_path")
        named = f" ({imported.value})" if imported is not None else ""
        draft.needs_person(
            f"{dotted(path)} was left out: there are no advantage functions of one's own{named} "
            "any more",
            f"Choose {dotted((*place, 'algo', 'type'))}: grpo, max_rl, opd, opsd, sft or echo.",
            node.source,
        )
        return
    baseline = node.table.pop("length_weighted_baseline", None)
    if baseline is not None and baseline.value is True:
        draft.needs_person(
            f"{dotted(path)}.length_weighted_baseline = true was left out: the baseline is always "
            "the plain mean of the group",
            f"Choose {dotted((*place, 'algo', 'type'))}: grpo or max_rl.",
            baseline.source,
        )
    if kind is not None:
        # Written out, as the file had it; the algorithm of another type keeps its own.
        if draft.get((*place, "algo", "type")) is None and kind.value == "default":
            draft.set(kind, "grpo")
        else:
            node.table.pop("type")
    penalty = node.table.get("length_penalty")
    if penalty is not None:
        _penalty(draft, (*path, "length_penalty"), penalty)
    if node.table:
        draft.move(path, (*place, "algo"))
    else:
        draft.drop(path)


def _penalty(draft: Draft, path: KeyPath, node: Node) -> None:
    if node.is_none:
        return
    if not node.is_table:
        draft.drop(path)
        return
    table = node.table
    kind = table.get("type")
    if kind is not None and kind.value != "linear":
        draft.set(kind, "linear")
    gate = table.pop("gate_by_correctness", None)
    if gate is not None and gate.value is True:
        draft.note(
            f"{dotted(path)}.gate_by_correctness = true was left out: the penalty holds for wrong "
            "answers as well",
            "",
            gate.source,
            node,
        )
    for old, new in _PENALTIES.items():
        if old in table:
            draft.move((*path, old), (*path, new))
    # The old penalty had one term; the others are there by default now.
    for key in ("num_input_tokens_weight", "num_turns_weight"):
        draft.add((*path, key), 0.0)
