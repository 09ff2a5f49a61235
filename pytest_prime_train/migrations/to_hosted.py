"""rl configs, and what they are in the keys of the hosted service."""

from __future__ import annotations

from typing import Any

from pytest_prime_train.config.resolve import Config
from pytest_prime_train.config.tree import Node
from pytest_prime_train.findings import KeyPath, Problem
from pytest_prime_train.migrations.draft import Draft
from pytest_prime_train.migrations.hosted import DEFAULTS, MOVES, SOURCE_MOVES
from pytest_prime_train.migrations.plan import Plan
from pytest_prime_train.migrations.words import dotted, show
from pytest_prime_train.schema.bundle import schema_of
from pytest_prime_train.schema.versions import NEWEST

_TABLES: dict[KeyPath, frozenset[str]] = {
    (): frozenset(
        (
            "name", "model", "loss", "max_steps", "batch_size", "rollouts_per_example",
            "max_inflight_rollouts", "learning_rate", "lora_alpha", "env", "sampling", "eval",
            "wandb", "checkpoints",
        )
    ),
    ("sampling",): frozenset(("max_tokens", "temperature", "extra_body", "enable_thinking")),
    ("eval",): frozenset(
        ("interval", "num_examples", "rollouts_per_example", "skip_first_step", "env", "sampling")
    ),
    ("eval", "sampling"): frozenset(
        ("max_tokens", "temperature", "extra_body", "enable_thinking", "reasoning_effort")
    ),
    ("wandb",): frozenset(("entity", "project", "name")),
    ("checkpoints",): frozenset(("interval", "keep_cloud")),
}  # fmt: skip
_SOURCE_KEYS = frozenset(
    (
        "name", "taskset", "harness", "pool", "retries", "sampling", "group_size",
        "max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens", "multiplex",
    )
)  # fmt: skip
_EVAL_SOURCE_KEYS = _SOURCE_KEYS | {"num_examples"}
_SAMPLING_KEYS = frozenset(("max_tokens", "temperature", "extra_body"))
# Tables that only say which of prime-rl's programs run, and how their parts find each other.
_OF_THE_LAUNCH = frozenset(("inference", "deployment", "slurm", "output_dir", "weight_broadcast"))


def to_hosted(found: Plan) -> Plan:
    """Turn an rl config for the newest version into one of the hosted service.

    Args:
        found: The config as the newest bundled version takes it.
    """
    draft = found.draft
    refusal = _refusal(found)
    if refusal:
        return found._replace(refusals=[Problem((), refusal, id="migration-needs-person")])
    config = Config(found.data, "rl", schema_of(NEWEST))
    draft.change = "to-hosted"
    _defaults(draft, config)
    _inflight(draft)
    _model(draft)
    for new, old in MOVES:
        draft.move(old, new)
    for part in (("env",), ("eval", "env")):
        _sources(draft, part)
    draft.move(("eval", "sampling", "max_completion_tokens"), ("eval", "sampling", "max_tokens"))
    for table, known in _TABLES.items():
        _keep_only(draft, table, known)
    return found._replace(data=draft.tree.data(), refusals=[])


def _refusal(found: Plan) -> str:
    """Why there is no such config; empty where there is one."""
    if found.draft.root != "rl":
        return f"the hosted service takes rl configs, and this is one for {found.draft.root}"
    deployment = found.data.get("deployment")
    if type(deployment) is dict and deployment:
        return (
            "a config with [deployment] is taken by the hosted service as it is, for training on "
            "whole GPUs; remove [deployment] to turn it into a config for adapters"
        )
    if not found.draft.text(("model", "name")):
        return "the hosted service needs a model, and model.name is not set"
    return ""


def _defaults(draft: Draft, config: Config) -> None:
    """Write out what the service would take something else for."""
    for (hosted,), value in DEFAULTS:
        path = next((new for old, new in MOVES if old == (hosted,)), (hosted,))
        if draft.get(path) is not None:
            continue
        ours = config.lookup(path)
        if ours is not None:
            draft.add(path, ours)
            continue
        draft.needs_person(
            f"{dotted(path)} is not set, and the hosted service takes {show(value)} for {hosted}",
            f"Write {hosted}.",
        )
    if draft.get(("trainer", "optim", "lr")) is None:
        ours = config.lookup(("trainer", "optim", "lr"))
        if ours is not None:
            draft.add(("trainer", "optim", "lr"), ours)
    if draft.get(("trainer", "model", "lora")) is None:
        draft.needs_person(
            "this config trains the whole model, and the hosted service trains an adapter",
            "Write lora_alpha, and a learning_rate for adapters, which is about ten times higher.",
        )


def _model(draft: Draft) -> None:
    """The model is a text instead of a table."""
    name, rest = draft.take(("model", "name")), draft.take(("model",))
    if rest is not None:
        _tell_left_out(draft, ("model",), rest)
    if name is not None:
        draft.put(("model",), name)


def _inflight(draft: Draft) -> None:
    """The service has one fixed number of rollouts in flight."""
    table = draft.get(("orchestrator", "concurrency"))
    if table is None or not table.is_table:
        return
    least, most = table.table.get("min_inflight"), table.table.get("max_inflight")
    if least is not None and most is not None and least.value == most.value:
        draft.drop(("orchestrator", "concurrency", "min_inflight"))
    else:
        draft.drop(("orchestrator", "concurrency"))
        draft.note(
            "orchestrator.concurrency was left out: the hosted service has no range of rollouts "
            "in flight",
            "Write max_inflight_rollouts for a fixed number.",
            table.source,
        )


def _sources(draft: Draft, part: KeyPath) -> None:
    listed = draft.get(part)
    known = _SOURCE_KEYS if part == ("env",) else _EVAL_SOURCE_KEYS
    for number in range(len(listed.items) if listed is not None else 0):
        place: KeyPath = (*part, number)
        for new, old in SOURCE_MOVES:
            draft.move((*place, *old), (*place, *new))
        _keep_only(draft, place, known)
        _keep_only(draft, (*place, "sampling"), _SAMPLING_KEYS)


def _keep_only(draft: Draft, table: KeyPath, known: frozenset[str]) -> None:
    """Drop what the service has no key for."""
    node = draft.get(table)
    if node is None or not node.is_table:
        return
    for name in [name for name in node.table if name not in known]:
        left = draft.take((*table, name))
        if left is not None and (*table, name)[0] not in _OF_THE_LAUNCH:
            _tell_left_out(draft, (*table, name), left)


def _tell_left_out(draft: Draft, path: KeyPath, left: Node) -> None:
    for place, shown in _leaves(path, left.data()):
        draft.note(
            f"{dotted(place)}{shown} was left out: the hosted service has no key for it",
            "",
            left.source,
        )


def _leaves(path: KeyPath, value: Any) -> list[tuple[KeyPath, str]]:
    """The values below a key, and each as it is shown."""
    if type(value) is dict:
        return [one for key, item in value.items() for one in _leaves((*path, key), item)]
    return [(path, "" if type(value) is list else f" = {show(value)}")]
