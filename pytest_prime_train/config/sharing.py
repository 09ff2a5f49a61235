"""Shared top-level keys of an rl config and the places prime-rl copies them to.

Source: ``propagate_shared_fields`` of prime-rl at 559b44772, read and compared with its own
verdict on the mutants. A shared value fills a key that is absent; it never overwrites, and two
values that differ are refused. Values are compared as written, before any coercion.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pytest_prime_train.findings import KeyPath

_BOTH = ("trainer", "orchestrator")

# Leaves first, whole blocks that may be empty last, as prime-rl does it.
_LEAVES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("model.name", ("trainer.model.name", "inference.vllm.model", "orchestrator.model.name")),
    ("model.vlm", ("trainer.model.vlm", "orchestrator.model.vlm")),
    *(
        (f"log.{leaf}", tuple(f"{block}.log.{leaf}" for block in (*_BOTH, "inference")))
        for leaf in ("level", "json_logging")
    ),
    ("ckpt.output_dir", ("trainer.ckpt.output_dir",)),
    *(
        (f"ckpt.{leaf}", tuple(f"{block}.ckpt.{leaf}" for block in _BOTH))
        for leaf in ("interval", "keep_last", "keep_interval")
    ),
    *(
        (f"monitors.wandb.{leaf}", tuple(f"{block}.monitors.wandb.{leaf}" for block in _BOTH))
        for leaf in ("project", "entity", "name", "group", "tags", "offline")
    ),
    ("monitors.file.path", tuple(f"{block}.monitors.file.path" for block in _BOTH)),
    ("monitors.prime.name", ("orchestrator.monitors.prime.name",)),
    ("tokenizer.name", tuple(f"{block}.tokenizer.name" for block in _BOTH)),
    (
        "tokenizer.trust_remote_code",
        tuple(f"{block}.tokenizer.trust_remote_code" for block in _BOTH),
    ),
    (
        "tokenizer.chat_template",
        (*(f"{block}.tokenizer.chat_template" for block in _BOTH), "inference.vllm.chat_template"),
    ),
    ("rollout_transport", tuple(f"{block}.rollout_transport" for block in _BOTH)),
    ("max_steps", tuple(f"{block}.max_steps" for block in _BOTH)),
    ("seq_len", ("trainer.model.seq_len", "orchestrator.seq_len")),
    ("slurm", ("inference.slurm",)),
)
_CHAT_TEMPLATE = ("trainer.tokenizer.chat_template", "inference.vllm.chat_template")
_PRESENCE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ckpt", tuple(f"{block}.ckpt" for block in _BOTH)),
    ("monitors.wandb", tuple(f"{block}.monitors.wandb" for block in _BOTH)),
    ("monitors.file", tuple(f"{block}.monitors.file" for block in _BOTH)),
    ("monitors.prime", ("orchestrator.monitors.prime",)),
)


def _split(
    rows: tuple[tuple[str, tuple[str, ...]], ...],
) -> tuple[tuple[KeyPath, tuple[KeyPath, ...]], ...]:
    return tuple(
        (tuple(shared.split(".")), tuple(tuple(target.split(".")) for target in targets))
        for shared, targets in rows
    )


_LEAF_PATHS = _split(_LEAVES)
_PRESENCE_PATHS = _split(_PRESENCE)
_CHAT_FROM, _CHAT_TO = (tuple(key.split(".")) for key in _CHAT_TEMPLATE)


class Shared(NamedTuple):
    """An rl document after sharing.

    Attributes:
        data: The document with the copied values; the original is not changed.
        origins: Path of every copied value -> the shared key that it came from.
        conflicts: (shared key, other key) pairs whose values differ.
    """

    data: dict[str, Any]
    origins: dict[KeyPath, KeyPath]
    conflicts: list[tuple[KeyPath, KeyPath]]


def share(document: dict[str, Any]) -> Shared:
    """Copy shared keys to where prime-rl copies them."""
    data = dict(document)
    for block in ("trainer", "orchestrator", "inference"):
        if type(data.get(block)) is dict:
            data[block] = _copy_tables(data[block])
    origins: dict[KeyPath, KeyPath] = {}
    conflicts: list[tuple[KeyPath, KeyPath]] = []
    for shared, targets in _LEAF_PATHS:
        if shared[0] not in document:
            continue
        value = _get(data, shared)
        if value is None:
            continue
        for target in targets:
            present = _get(data, target)
            # 1 and true are equal for Python but not for a reader of the file.
            if present is not None and present != value:
                conflicts.append((shared, target))
            elif present is None and _fill(data, target, value):
                origins[target] = shared
    template = _get(data, _CHAT_FROM)
    if template is not None and _fill(data, _CHAT_TO, template):
        origins[_CHAT_TO] = origins.get(_CHAT_FROM, _CHAT_FROM)
    for shared, targets in _PRESENCE_PATHS:
        if shared[0] not in document:
            continue
        value = _get(data, shared)
        if type(value) is dict or value == "None":
            for target in targets:
                _fill(data, target, {} if type(value) is dict else value)
                if _get(document, target) is None:
                    origins[target] = shared
    return Shared(data, origins, conflicts)


def _copy_tables(table: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _copy_tables(value) if type(value) is dict else value for key, value in table.items()
    }


def _get(data: Any, path: KeyPath) -> Any:
    for part in path:
        if type(data) is not dict or part not in data:
            return None
        data = data[part]
    return data


def _fill(data: dict[str, Any], path: KeyPath, value: Any) -> bool:
    """Set an absent key of a block that is there; whether it was set."""
    if type(data.get(str(path[0]))) is not dict:
        return False
    table: Any = data
    for part in path[:-1]:
        if type(table) is not dict:
            return False
        table = table.setdefault(part, {})
    if type(table) is not dict or path[-1] in table:
        return False
    table[path[-1]] = value
    return True
