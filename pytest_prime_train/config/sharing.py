"""Shared top-level keys of an rl config and the places prime-rl copies them to.

Each version has a table of its own. Up to v0.5.0 a shared value overwrites the value of a part
after both were checked. Since v0.6.0 it fills a key that is absent before the parts are checked,
it never overwrites, and two values that differ are refused; values are compared as written,
before any coercion. Versions also read keys under short or former names (``fold``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pytest_prime_train.findings import KeyPath
from pytest_prime_train.schema.versions import NEWEST

_BOTH = ("trainer", "orchestrator")
_PARTS = ("trainer", "orchestrator", "inference")
_Rows = tuple[tuple[str, tuple[str, ...]], ...]
_Paths = tuple[tuple[KeyPath, tuple[KeyPath, ...]], ...]


def _split(rows: _Rows) -> _Paths:
    return tuple(
        (tuple(shared.split(".")), tuple(tuple(target.split(".")) for target in targets))
        for shared, targets in rows
    )


def _in_both(block: str, *leaves: str) -> _Rows:
    return tuple(
        (f"{block}.{leaf}", tuple(f"{part}.{block}.{leaf}" for part in _BOTH)) for leaf in leaves
    )


def _presence(*blocks: str) -> _Rows:
    return tuple((block, tuple(f"{part}.{block}" for part in _BOTH)) for block in blocks)


class Table(NamedTuple):
    """How one version fills keys that are absent.

    Attributes:
        leaves: Shared key -> the keys that it fills, in prime-rl's order.
        presence: Blocks that, written at the top, switch on the block in the parts.
        none_presence: Whether ``"None"`` for such a block is copied as well.
        chat_template: Key of the trainer -> key of the server that it fills.
        output_dir: Whether the shared output folder fills those of the parts.
    """

    leaves: _Paths
    presence: _Paths
    none_presence: bool
    chat_template: tuple[KeyPath, KeyPath]
    output_dir: bool


def _newest() -> Table:
    return Table(
        _split(
            (
                (
                    "model.name",
                    ("trainer.model.name", "inference.vllm.model", "orchestrator.model.name"),
                ),
                ("model.vlm", ("trainer.model.vlm", "orchestrator.model.vlm")),
                *(
                    (f"log.{leaf}", tuple(f"{block}.log.{leaf}" for block in _PARTS))
                    for leaf in ("level", "json_logging")
                ),
                ("ckpt.output_dir", ("trainer.ckpt.output_dir",)),
                *_in_both("ckpt", "interval", "keep_last", "keep_interval"),
                *_in_both(
                    "monitors.wandb", "project", "entity", "name", "group", "tags", "offline"
                ),
                *_in_both("monitors.file", "path"),
                ("monitors.prime.name", ("orchestrator.monitors.prime.name",)),
                *_in_both("tokenizer", "name", "trust_remote_code"),
                (
                    "tokenizer.chat_template",
                    (
                        *(f"{block}.tokenizer.chat_template" for block in _BOTH),
                        "inference.vllm.chat_template",
                    ),
                ),
                ("rollout_transport", tuple(f"{block}.rollout_transport" for block in _BOTH)),
                ("max_steps", tuple(f"{block}.max_steps" for block in _BOTH)),
                ("seq_len", ("trainer.model.seq_len", "orchestrator.seq_len")),
                ("slurm", ("inference.slurm",)),
            )
        ),
        _split(
            (
                *_presence("ckpt", "monitors.wandb", "monitors.file"),
                ("monitors.prime", ("orchestrator.monitors.prime",)),
            )
        ),
        True,
        (
            ("trainer", "tokenizer", "chat_template"),
            ("inference", "vllm", "chat_template"),
        ),
        False,
    )


def _since_v0_6(version: str) -> Table:
    """The tables of v0.6.0 to v0.8.0, which differ in a few rows only."""
    has_monitor = version == "v0.8.0"
    model: tuple[str, ...] = ("trainer.model.name", "inference.model.name")
    vlm: tuple[str, ...] = ("trainer.model.vlm", "inference.model.vlm")
    return Table(
        _split(
            (
                ("model.name", (*model, "orchestrator.model.name")),
                ("model.vlm", (*vlm, "orchestrator.model.vlm")),
                *(
                    (f"log.{leaf}", tuple(f"{block}.log.{leaf}" for block in _PARTS))
                    for leaf in ("level", "json_logging")
                ),
                ("ckpt.output_dir", ("trainer.ckpt.output_dir",)),
                *_in_both("ckpt", "interval", "resume_step", "keep_last", "keep_interval"),
                *_in_both("wandb", "project", "entity", "name", "group", "tags", "offline"),
                *(_in_both("file_monitor", "filename") if has_monitor else ()),
                *_in_both("tokenizer", "name", "trust_remote_code"),
                (
                    "tokenizer.chat_template",
                    (
                        *(f"{block}.tokenizer.chat_template" for block in _BOTH),
                        "inference.model.chat_template",
                    ),
                ),
                *(_presence("rollout_transport") if has_monitor else ()),
                ("max_steps", tuple(f"{block}.max_steps" for block in _BOTH)),
                ("seq_len", ("trainer.model.seq_len", "orchestrator.seq_len")),
                ("slurm", ("inference.slurm",)),
            )
        ),
        _split(_presence("ckpt", "wandb", *(("file_monitor",) if has_monitor else ()))),
        False,
        (
            ("trainer", "tokenizer", "chat_template"),
            ("inference", "model", "chat_template"),
        ),
        True,
    )


# Where v0.6.0 also looks for a value that contradicts a shared one.
_SECOND_NAMES: dict[KeyPath, KeyPath] = {
    ("orchestrator", "model", leaf): ("orchestrator", "student", "model", leaf)
    for leaf in ("name", "vlm")
}
_tables: dict[str, Table] = {}


def _table(version: str) -> Table | None:
    """The version's table; ``None`` for versions that overwrite."""
    table = _tables.get(version)
    if table is None:
        if version == NEWEST:
            table = _newest()
        elif version in ("v0.6.0", "v0.7.0", "v0.8.0"):
            table = _since_v0_6(version)
        else:
            return None
        _tables[version] = table
    return table


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


def share(document: dict[str, Any], version: str = NEWEST) -> Shared:
    """Copy shared keys to where this version copies them before it checks the parts."""
    table = _table(version)
    if table is None:
        return Shared(document, {}, [])
    data = dict(document)
    for block in _PARTS:
        if type(data.get(block)) is dict:
            data[block] = _copy_tables(data[block])
    origins: dict[KeyPath, KeyPath] = {}
    conflicts: list[tuple[KeyPath, KeyPath]] = []
    for shared, targets in table.leaves:
        if shared[0] not in document:
            continue
        value = _get(data, shared)
        if value is None:
            continue
        if version == "v0.6.0":
            second = [_SECOND_NAMES[target] for target in targets if target in _SECOND_NAMES]
            conflicts += [
                (shared, name) for name in second if _get(data, name) not in (None, value)
            ]
        for target in targets:
            present = _get(data, target)
            # 1 and true are equal for Python but not for a reader of the file.
            if present is not None and present != value:
                conflicts.append((shared, target))
            elif present is None and _fill(data, target, value):
                origins[target] = shared
    if table.output_dir and data.get("output_dir") is not None:
        _share_output_dir(data, origins, conflicts)
    source, target = table.chat_template
    template = _get(data, source)
    if template is not None and _fill(data, target, template):
        origins[target] = origins.get(source, source)
    for shared, targets in table.presence:
        if shared[0] not in document:
            continue
        value = _get(data, shared)
        if type(value) is dict or (table.none_presence and value == "None"):
            for target in targets:
                _fill(data, target, {} if type(value) is dict else value)
                if _get(document, target) is None:
                    origins[target] = shared
    return Shared(data, origins, conflicts)


def _share_output_dir(
    data: dict[str, Any],
    origins: dict[KeyPath, KeyPath],
    conflicts: list[tuple[KeyPath, KeyPath]],
) -> None:
    folder = data["output_dir"]
    for target, value in (
        (("trainer", "output_dir"), folder),
        (("orchestrator", "output_dir"), f"{folder}/run_default"),
    ):
        present = _get(data, target)
        if present is not None and present != value:
            conflicts.append((("output_dir",), target))
        elif present is None and _fill(data, target, value):
            origins[target] = ("output_dir",)


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
