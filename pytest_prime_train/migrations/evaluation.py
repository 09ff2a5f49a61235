"""Changes of evaluations: those of a training job, and the program that only evaluates."""

from __future__ import annotations

from pytest_prime_train.findings import KeyPath
from pytest_prime_train.migrations import environments
from pytest_prime_train.migrations.draft import Draft
from pytest_prime_train.migrations.words import dotted

_MOVED = (
    ("client", "client"),
    ("sampling", "sampling"),
    ("num_examples", "num_examples"),
    ("rollouts_per_example", "group_size"),
)


def base_model(draft: Draft, prefix: KeyPath) -> None:
    """The switch for the evaluation at the start says the opposite now."""
    path = (*prefix, "eval", "eval_base_model")
    node = draft.get(path)
    if node is None:
        return
    if type(node.value) is bool:
        draft.set(node, not node.value)
        draft.move(path, (*prefix, "eval", "skip_first_step"))
    else:
        draft.drop(path)


def without_empty_block(draft: Draft, prefix: KeyPath) -> None:
    """Evaluations without an environment are none."""
    path = (*prefix, "eval")
    node = draft.get(path)
    if node is None or not node.is_table:
        return
    lists = [node.table[key] for key in ("env", "source") if key in node.table]
    around = any(draft.has_around((*path, key)) for key in ("env", "source"))
    if not around and not any(found.items for found in lists):
        draft.drop(path)
        if node.table.keys() - {"env", "source"}:
            draft.note(
                f"[{dotted(path)}] was left out: it names no environment, and an eval block "
                "without one is refused",
                "",
                node.source,
            )


def restructure(draft: Draft, prefix: KeyPath) -> None:
    """The evaluations of a file of their own have the shape of those of a training job."""
    model = draft.get(("model",))
    if model is not None and model.is_table:
        name = draft.take(("model", "name"))
        draft.drop(("model",))
        if name is not None:
            draft.put(("model",), name)
    draft.drop(("log", "file"))
    draft.drop(("log", "env_worker_logs"))
    wandb = draft.get(("wandb",))
    if wandb is not None:
        draft.drop(("wandb", "id"))
        draft.move(("wandb",), ("monitors", "wandb"))
    for old, new in _MOVED:
        draft.move((old,), ("eval", new))
    limit = draft.get(("max_concurrent",))
    if limit is not None:
        if type(limit.value) is int and limit.value > 0:
            draft.move(("max_concurrent",), ("eval", "concurrency", "max_inflight"))
        else:
            draft.drop(("max_concurrent",))
    draft.drop(("eval", "client", "timeout"))
    client = draft.get(("eval", "client"))
    if client is not None and client.is_table:
        from pytest_prime_train.migrations.serving import one_client

        one_client(draft, ("eval", "client"), client)
    environments.sampling_of_eval(draft, ("eval", "sampling"))
    draft.move(("env",), ("eval", "source"))
    for path in draft.find((), "eval.source[]"):
        draft.move((*path, "rollouts_per_example"), (*path, "group_size"))
        draft.drop((*path, "skip_first"))
        environments.classic(draft, path)
        environments.legacy_to_taskset(draft, path)


def no_successor(draft: Draft, prefix: KeyPath) -> None:
    """Say that nothing took the place of a whole program."""
    draft.needs_person(
        "prime-rl has had no program for synthesizing data since v0.5.0, and none took its place",
        "Remove the file, or keep the prime-rl that it is for.",
        (),
        draft.tree,
    )
