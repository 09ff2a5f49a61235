"""Changes that no error tells of: what a file means at one version and at the next."""

from __future__ import annotations

from typing import Any, NamedTuple

from pytest_prime_train.config.resolve import Config
from pytest_prime_train.findings import KeyPath
from pytest_prime_train.migrations.change import Change
from pytest_prime_train.migrations.changes import meanings_since
from pytest_prime_train.migrations.data import DEFAULTS
from pytest_prime_train.migrations.draft import PARTS
from pytest_prime_train.migrations.words import dotted, show
from pytest_prime_train.schema.versions import VERSIONS

# Defaults that say the same in another form, or that the launcher sets anyway.
_SAME = frozenset(("base_url", "output_dir", "num_examples", "level", "bench", "id"))

# Changes whose values are words for people.
_IN_WORDS = frozenset(
    (
        "clean-reused", "env-ratio-default", "env-server-ports", "infer-nodes-derived",
        "output-dir-semantic", "tool-parser-default", "vlm-opt-in",
    )
)  # fmt: skip


class Shift(NamedTuple):
    """Something that a file does not say, and that is another thing since a version.

    Attributes:
        key: The key, as the version before would have it.
        before: What held at the version before; ``None`` for nothing, ``"on"`` for a block.
        after: What holds since.
        message: What happened, in one sentence.
        since: The version.
        change: Id of the change, where it has one.
    """

    key: KeyPath
    before: Any
    after: Any
    message: str
    since: str
    change: str

    @property
    def is_told(self) -> bool:
        """Whether ``before`` and ``after`` are words for people instead of values."""
        return self.change in _IN_WORDS

    @property
    def old_value(self) -> Any:
        """What to write so that all stays as it was; ``None`` where that cannot be written."""
        if self.before is None:
            return "None"
        if self.before == "on" or isinstance(self.before, list):
            return None
        return self.before


def shifts(config: Config, since: str) -> list[Shift]:
    """What a config that is resolved for the version before means in another way since one.

    Args:
        config: The config, as the version before ``since`` sees it.
        since: A bundled version, but not the first one.
    """
    found: dict[KeyPath, Shift] = {}
    declared = {
        (*prefix, *_split(key)): one
        for one in meanings_since(since)
        for part in one.parts
        for prefix in PARTS.get(config.root, {}).get(part, ())
        for key in one.old
    }
    for pattern, before, after in DEFAULTS.get(since, {}).get(config.root, ()):
        if pattern.rpartition(".")[2] in _SAME:
            continue
        one = declared.pop(_split(pattern), None)
        for path in _expand(config, _split(pattern)):
            if one is not None and one.touches is not None:
                touched = one.touches(config, path)
            else:
                touched = _is_left_out(config, path) and _has_default(config, path, before)
            if touched:
                found[path] = _shift(path, before, after, since, one)
    for pattern_path, one in declared.items():
        for path in _expand(config, pattern_path):
            if path not in found and _applies(config, path, one):
                found[path] = _shift(path, one.before, one.after, since, one)
    return list(found.values())


def _shift(path: KeyPath, before: Any, after: Any, since: str, change: Change | None) -> Shift:
    if change is None:
        message = f"The default of {dotted(path)} changed from {_word(before)} to {_word(after)}."
        return Shift(path, before, after, message, since, "")
    return Shift(path, before, after, change.message, since, change.id)


def _word(value: Any) -> str:
    return "none" if value is None else "on" if value == "on" else show(value)


def _split(key: str) -> KeyPath:
    parts: list[str | int] = []
    for piece in key.split("."):
        parts.append(piece.removesuffix("[]"))
        if piece.endswith("[]"):
            parts.append(-1)
    return tuple(parts)


def _expand(config: Config, pattern: KeyPath) -> list[KeyPath]:
    """The paths of a config that a pattern stands for, in which -1 is every element."""
    paths: list[KeyPath] = [()]
    for part in pattern:
        if part != -1:
            paths = [(*path, part) for path in paths]
            continue
        longer: list[KeyPath] = []
        for path in paths:
            items = config.lookup(path)
            longer += [(*path, number) for number in range(len(items))] if _is_list(items) else []
        paths = longer
    return paths


def _is_list(value: Any) -> bool:
    return type(value) is list


def _is_left_out(config: Config, path: KeyPath) -> bool:
    """Whether a file says nothing about a key that it could have."""
    parent = path[:-1]
    if parent and config.lookup(parent) is None:
        return False
    return config.origin_of(path).kind == "default"


def _has_default(config: Config, path: KeyPath, default: Any) -> bool:
    """Whether a key has this default where it stands, which the type of its table may rule out."""
    value = config.lookup(path)
    return type(value) is dict if default == "on" else bool(value == default)


def _applies(config: Config, path: KeyPath, change: Change) -> bool:
    """Whether a change of meaning that is no change of a default touches a config."""
    if change.touches is not None:
        return change.touches(config, path)
    return _is_left_out(config, path)


def all_shifts(datas: dict[str, dict[str, Any]], root: str, first: str, last: str) -> list[Shift]:
    """What a document means in another way after each step between two versions.

    Args:
        datas: The document as each version reads it.
        root: Program of prime-rl that reads it.
        first: The version to start from.
        last: The version to end with.
    """
    from pytest_prime_train.schema.bundle import schema_of

    found: list[Shift] = []
    for number in range(VERSIONS.index(first) + 1, VERSIONS.index(last) + 1):
        version, before = VERSIONS[number], VERSIONS[number - 1]
        if root in schema_of(before).roots and root in schema_of(version).roots:
            found += shifts(Config(datas[before], root, schema_of(before)), version)
    return found
