"""What two configs have different: in meaning, key by key, and in their texts."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import unified_diff
from typing import Any, NamedTuple

from pytest_prime_train.history.cutting import leaves

_THERE = "there"


class Change(NamedTuple):
    """A key that means something else.

    Attributes:
        key: The dotted key.
        before: Its value in the first config; ``None`` where it has none.
        after: Its value in the second.
        from_default: Which of the two is a default of prime-rl: ``""``, ``before``, ``after``
            or ``both``, where the default itself has changed between versions.
    """

    key: str
    before: Any
    after: Any
    from_default: str

    def words(self) -> str:
        """In one line."""
        notes = {"before": " (was the default)", "after": " (is the default)",
                 "both": " (the default changed)"}  # fmt: skip
        return f"{self.key}: {_shown(self.before)} -> {_shown(self.after)}" + notes.get(
            self.from_default, ""
        )


class Side(NamedTuple):
    """One of the two configs.

    Attributes:
        data: What its files and overrides make.
        root: Program of prime-rl.
        version: Version of prime-rl.
    """

    data: Mapping[str, Any]
    root: str
    version: str


def changes(before: Side, after: Side) -> list[Change]:
    """Keys that mean something else in the second config, sorted.

    A key that only one of them writes is compared with what prime-rl takes in the other.
    """
    one, other = _resolved(before), _resolved(after)
    found: list[Change] = []
    written = {key for key, _ in (*leaves(dict(before.data)), *leaves(dict(after.data)))}
    for key in sorted(one.keys | other.keys | written):
        old, new = one.value(key), other.value(key)
        if _same(old, new):
            continue
        defaults = (
            old is not None and not one.has(key),
            new is not None and not other.has(key),
        )
        which = {(True, True): "both", (True, False): "before", (False, True): "after"}
        found.append(Change(key, old, new, which.get(defaults, "")))
    told = {change.key for change in found}
    found += [change for change in _of_versions(before, after) if change.key not in told | written]
    return sorted(found)


class _Resolved:
    """A config with its defaults, by dotted key."""

    def __init__(self, side: Side) -> None:
        from pytest_prime_train.config.resolve import Config
        from pytest_prime_train.schema.bundle import schema_of
        from pytest_prime_train.schema.versions import VERSIONS

        self._config: Config | None = None
        self._written = dict(leaves(dict(side.data)))
        if side.version in VERSIONS and side.root in schema_of(side.version).roots:
            self._config = Config(dict(side.data), side.root, schema_of(side.version))
            for path, value in self._config.leaves():
                self._written.setdefault(".".join(map(str, path)), value)
        self.keys = set(self._written)

    def has(self, key: str) -> bool:
        return key in self._written

    def value(self, key: str) -> Any:
        if key in self._written or self._config is None:
            return _as_leaf(self._written.get(key))
        path = tuple(int(part) if part.isdecimal() else part for part in key.split("."))
        return _as_leaf(self._config.lookup(path))


def _as_leaf(value: Any) -> Any:
    """That a table is there can mean something, such as ``[ckpt]`` without any key."""
    return _THERE if isinstance(value, dict) else value


def _resolved(side: Side) -> _Resolved:
    return _Resolved(side)


def _of_versions(before: Side, after: Side) -> list[Change]:
    """Defaults that differ between the versions, of keys that neither config writes."""
    from pytest_prime_train.migrations.meaning import all_shifts
    from pytest_prime_train.schema.versions import VERSIONS

    if before.root != after.root or not {before.version, after.version} <= set(VERSIONS):
        return []
    first, last = VERSIONS.index(before.version), VERSIONS.index(after.version)
    if first >= last:
        return []
    datas = {version: dict(after.data) for version in VERSIONS[first : last + 1]}
    return [
        Change(".".join(map(str, shift.key)), shift.before, shift.after, "both")
        for shift in all_shifts(datas, before.root, before.version, after.version)
    ]


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def text_diff(before: str, after: str, names: tuple[str, str]) -> str:
    """A unified diff of two texts; empty where they are the same."""
    lines = []
    for line in unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), *names
    ):
        lines.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(lines)
