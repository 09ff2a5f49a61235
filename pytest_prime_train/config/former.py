"""What versions before main did with shared keys and with short or former names of keys.

Loaded only where such a version judges.
"""

from __future__ import annotations

from typing import Any

from pytest_prime_train.findings import KeyPath
from pytest_prime_train.schema.bundle import Schema

_BOTH = ("trainer", "orchestrator")
_OLDEST = ("v0.2", "v0.3.0", "v0.4.0")
OVERWRITING = (*_OLDEST, "v0.5.0")
"""Versions whose shared keys overwrite those of the parts, after both were checked."""


def overwrite(values: dict[str, Any], version: str) -> dict[KeyPath, KeyPath]:
    """Overwrite keys of the parts of an rl config by shared ones, as versions up to v0.5.0 do.

    Args:
        values: Coerced values of the config; changed in place.
        version: The judging version.

    Returns:
        Path of every overwritten value -> the shared key that it came from.
    """
    origins: dict[KeyPath, KeyPath] = {}
    parts = [part for part in (*_BOTH, "inference") if type(values.get(part)) is dict]

    def put(shared: KeyPath, target: KeyPath, value: Any) -> None:
        if target[0] not in parts:
            return
        table = values
        for key in target[:-1]:
            if type(table.get(str(key))) is not dict:
                table[str(key)] = {}
            table = table[str(key)]
        table[str(target[-1])] = value
        origins[target] = shared

    for shared, targets in _overwritten(version):
        value: Any = values
        for key in shared:
            value = value.get(key) if type(value) is dict else None
        if value is None or (value is False and shared == ("wandb", "offline")):
            continue
        for target in targets:
            put(shared, target, value)
    _overwrite_names(values, version, put)
    for block in ("ckpt", "wandb"):
        for part in _BOTH:
            inner = values.get(part)
            if values.get(block) is not None and type(inner) is dict and inner.get(block) is None:
                put((block,), (part, block), {})
    return origins


def _overwritten(version: str) -> list[tuple[KeyPath, tuple[KeyPath, ...]]]:
    old = version in _OLDEST
    rows: list[tuple[KeyPath, tuple[KeyPath, ...]]] = []
    for block, leaves in (
        ("log", ("level", "file", "json_logging")),
        ("ckpt", ("interval", "resume_step", "keep", "keep_last", "keep_interval")),
        ("wandb", ("project", "offline")),
    ):
        rows += [((block, leaf), tuple((part, block, leaf) for part in _BOTH)) for leaf in leaves]
    rows += [((key,), tuple((part, key) for part in _BOTH)) for key in _SCALARS]
    rows.append((("ckpt", "output_dir"), (("trainer", "ckpt", "output_dir"),)))
    rows.append((("output_dir",), (("trainer", "output_dir"),)))
    if old:
        seq_len = (("trainer", "model", "seq_len"), ("orchestrator", "seq_len"))
        rows.append((("seq_len",), seq_len))
        names = tuple((part, "model", "name") for part in (*_BOTH, "inference"))
        rows.append((("model", "name"), names))
    else:
        blocks = tuple((part, "model", "vlm") for part in (*_BOTH, "inference"))
        rows.append((("model", "vlm"), blocks))
    return rows


_SCALARS = ("max_steps", "max_async_level")


def _overwrite_names(values: dict[str, Any], version: str, put: Any) -> None:
    """What is not copied as it is."""
    if isinstance(values.get("output_dir"), str):
        folder = f"{values['output_dir']}/run_default"
        put(("output_dir",), ("orchestrator", "output_dir"), folder)
    wandb = values.get("wandb")
    if type(wandb) is dict and wandb.get("name"):
        shared = version not in _OLDEST and wandb.get("shared", True)
        for part in _BOTH:
            name = wandb["name"] if shared else f"{wandb['name']}-{part}"
            put(("wandb", "name"), (part, "wandb", "name"), name)
    if version in _OLDEST:
        return
    # v0.5.0 leaves these alone where the part has a value of its own.
    if values.get("seq_len") is not None:
        for part, path in (("trainer", ("model", "seq_len")), ("orchestrator", ("seq_len",))):
            inner: Any = values.get(part)
            for key in path:
                inner = inner.get(key) if type(inner) is dict else None
            if inner is None:
                put(("seq_len",), (part, *path), values["seq_len"])
    model = values.get("model")
    if type(model) is dict and model.get("name"):
        put(("model", "name"), ("trainer", "model", "name"), model["name"])
        server = values.get("inference")
        served = server.get("model") if type(server) is dict else None
        own = served.get("name") if type(served) is dict else None
        if own is None:
            put(("model", "name"), ("inference", "model", "name"), model["name"])
            put(("model", "name"), ("orchestrator", "model", "name"), model["name"])
        else:
            put(("inference", "model", "name"), ("orchestrator", "model", "name"), own)


def model_keys(schema: Schema) -> frozenset[str]:
    """Keys of the student's model, which v0.6.0 also takes one level up."""
    if schema.version != "v0.6.0":
        return frozenset()
    student = schema.tables[schema.roots["orchestrator"]][0]["student"][0]
    return frozenset(schema.tables[schema.tables[student[1]][0]["model"][0][1]][0])


def fold(
    data: dict[str, Any], root: str, version: str, model_keys: frozenset[str]
) -> tuple[dict[str, Any], dict[KeyPath, KeyPath]]:
    """Put keys that a version reads under short or former names where they belong.

    Args:
        data: A document, with shared keys copied.
        root: Program that reads it.
        version: The judging version.
        model_keys: Keys of the orchestrator's model, for v0.6.0.

    Returns:
        The document, and path of every key that was moved -> where the file has it.
    """
    moved: dict[KeyPath, KeyPath] = {}
    if version not in ("v0.6.0", "v0.7.0") or root not in ("rl", "orchestrator", "env_server"):
        return data, moved
    prefix: KeyPath = ("orchestrator",) if root == "rl" else ()
    block = data.get("orchestrator") if root == "rl" else data
    if type(block) is not dict:
        return data, moved
    block = dict(block)
    if root == "env_server":
        if version == "v0.7.0" and "env" in block:
            block["env"] = _fold_pool(block["env"], ("env",), ("env",), moved)
        return block, moved
    _fold_train(block, prefix, moved)
    if version == "v0.6.0":
        _fold_student(block, prefix, moved, model_keys)
    else:
        _fold_pools(block, prefix, moved)
    if root == "rl":
        return {**data, "orchestrator": block}, moved
    return block, moved


def _fold_train(block: dict[str, Any], prefix: KeyPath, moved: dict[KeyPath, KeyPath]) -> None:
    """``env`` and ``sampling`` are short for ``train.env`` and ``train.sampling``."""
    train = block.get("train", {})
    names = [name for name in ("env", "sampling") if name in block]
    if not names or type(train) is not dict:
        return
    train = block["train"] = dict(train)
    for name in names:
        value = block.pop(name)
        if name not in train:
            train[name] = value
            moved[(*prefix, "train", name)] = (*prefix, name)


def _fold_student(
    block: dict[str, Any],
    prefix: KeyPath,
    moved: dict[KeyPath, KeyPath],
    model_keys: frozenset[str],
) -> None:
    """``client`` and ``model`` are short for those of the student (v0.6.0)."""
    student = block.get("student")
    target = (*prefix, "student")
    client = block.get("client")
    if type(client) is dict and (student is None or type(student) is dict):
        student = dict(student or {})
        inner = student.get("client", {})
        if type(inner) is dict:
            del block["client"]
            student["client"] = _merge(
                inner, client, (*target, "client"), (*prefix, "client"), moved
            )
    elif client is not None and type(client) is not dict:
        del block["client"]  # prime-rl drops it without a word.
    model = block.get("model")
    if model is not None:
        if student is None:
            del block["model"]
            student = model
            moved[target] = (*prefix, "model")
        elif type(student) is dict and type(model) is dict:
            del block["model"]
            student = _merge(student, model, target, (*prefix, "model"), moved)
    if type(student) is dict:
        flat = {key: value for key, value in student.items() if key in model_keys}
        if flat:
            student = {key: value for key, value in student.items() if key not in model_keys}
            inner = student.get("model", {})
            if type(inner) is dict:
                student["model"] = {**inner, **flat}
                for key in flat:
                    old = moved.pop((*target, key), None)
                    whole = moved.get(target)
                    moved[(*target, "model", key)] = old or (*(whole or target), key)
            else:
                student.update(flat)
    if student is not None:
        block["student"] = student


def _merge(
    into: dict[str, Any],
    other: dict[str, Any],
    target: KeyPath,
    source: KeyPath,
    moved: dict[KeyPath, KeyPath],
) -> dict[str, Any]:
    """Merge tables, the second winning, and note where its keys went."""
    result = dict(into)
    for key, value in other.items():
        present = result.get(key)
        if type(value) is dict and type(present) is dict:
            result[key] = _merge(present, value, (*target, key), (*source, key), moved)
        else:
            result[key] = value
            moved[(*target, key)] = (*source, key)
    return result


def _fold_pools(block: dict[str, Any], prefix: KeyPath, moved: dict[KeyPath, KeyPath]) -> None:
    for part in ("train", "eval"):
        table = block.get(part)
        items = table.get("env") if type(table) is dict else None
        if type(table) is dict and type(items) is list:
            place = (*prefix, part, "env")
            home = moved.get(place, place)
            folded = [
                _fold_pool(item, (*place, number), (*home, number), moved)
                for number, item in enumerate(items)
            ]
            block[part] = {**table, "env": folded}


def _fold_pool(item: Any, place: KeyPath, home: KeyPath, moved: dict[KeyPath, KeyPath]) -> Any:
    """``num_workers`` of an environment is short for a pool of that size (v0.7.0)."""
    if type(item) is not dict or "num_workers" not in item:
        return item
    item = dict(item)
    workers = item.pop("num_workers")
    if "pool" not in item and workers != "auto":
        item["pool"] = {"type": "static", "num_workers": workers}
        moved[(*place, "pool", "num_workers")] = (*home, "num_workers")
    return item
