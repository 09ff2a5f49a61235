"""Old configs that nobody wrote: random keys of a version, in random forms of TOML."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from pytest_prime_train.config.literals import key_literal, literal
from pytest_prime_train.schema.bundle import schema_of
from pytest_prime_train.schema.versions import VERSIONS
from schema_keys import document, keys_of, sample

_ROOTS = ("rl", "rl", "rl", "sft", "orchestrator", "trainer", "inference", "evals", "env_server")


class Made(NamedTuple):
    """A text with the program and the version whose keys it has."""

    version: str
    root: str
    text: str


def make(seed: int) -> Made:
    """The config of a seed."""
    dice = random.Random(seed)
    version = dice.choice(VERSIONS[:-1])
    root = dice.choice(_ROOTS)
    if root not in schema_of(version).roots:
        root = "rl"
    keys = _keys(version, root)
    data: dict[str, Any] = {}
    for key in dice.sample(sorted(keys), min(len(keys), dice.randint(1, 25))):
        if not key.endswith("[]"):
            _merge(data, document(key, sample(*keys[key])))
    writer = _Writer(dice)
    text = writer.table(data, ())
    if dice.random() < 0.2:
        text = text.rstrip("\r\n")
    if dice.random() < 0.2:
        text = f"{writer.comment()}{writer.newline}{text}"
    return Made(version, root, text)


@cache
def _keys(version: str, root: str) -> Any:
    return keys_of(schema_of(version), root)


def _merge(data: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        old = data.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        elif isinstance(old, list) and old and isinstance(old[0], dict):
            if isinstance(value, list) and value and isinstance(value[0], dict):
                _merge(old[0], value[0])
        else:
            data.setdefault(key, value)


class _Writer:
    """Writes tables in forms that a die chooses, with comments that are all different."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.newline = dice.choice(["\n", "\n", "\n", "\r\n"])
        self.comments = 0

    def comment(self) -> str:
        self.comments += 1
        return f"# note {self.comments}"

    def table(self, table: dict[str, Any], path: tuple[str, ...]) -> str:
        lines = ""
        later: list[tuple[str, Any]] = []
        items = list(table.items())
        self.dice.shuffle(items)
        for key, value in items:
            form = self.dice.random()
            if isinstance(value, dict) and form < 0.5:
                later.append((key, value))
            elif isinstance(value, dict) and value and form < 0.65 and _has_leaves(value):
                for parts, leaf in _flat(value, (key,)):
                    lines += self._pair(".".join(map(self._key, parts)), leaf)
            elif _is_array_of_tables(value) and form < 0.7:
                later.append((key, value))
            else:
                lines += self._pair(self._key(key), value)
        for key, value in later:
            lines += self._below(key, value, path)
        return lines

    def _below(self, key: str, value: Any, path: tuple[str, ...]) -> str:
        name = ".".join(map(self._key, (*path, key)))
        if isinstance(value, list):
            return "".join(
                f"{self._above()}[[{name}]]{self._end()}{self.table(item, (*path, key))}"
                for item in value
            )
        body = self.table(value, (*path, key))
        if value and body.lstrip().startswith("[") and self.dice.random() < 0.5:
            return body  # The table is implied by those in it.
        return f"{self._above()}[{name}]{self._end()}{body}"

    def _pair(self, key: str, value: Any) -> str:
        equals = self.dice.choice([" = ", "=", " =  "])
        return f"{self._above()}{key}{equals}{self._value(value)}{self._end()}"

    def _above(self) -> str:
        form = self.dice.random()
        if form < 0.15:
            return self.comment() + self.newline
        if form < 0.2:
            return self.newline
        if form < 0.23:
            return self.newline + self.comment() + self.newline + self.newline
        return ""

    def _end(self) -> str:
        return (f"  {self.comment()}" if self.dice.random() < 0.15 else "") + self.newline

    def _key(self, name: str) -> str:
        return f'"{name}"' if self.dice.random() < 0.05 else key_literal(name)

    def _value(self, value: Any) -> str:
        if isinstance(value, dict):
            pairs = [f"{self._key(key)} = {self._value(item)}" for key, item in value.items()]
            return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
        if isinstance(value, list):
            if value and self.dice.random() < 0.3:
                return self._long_array(value)
            return "[" + ", ".join(map(self._value, value)) + "]"
        return literal(value, self.dice.choice("\"'"))

    def _long_array(self, items: list[Any]) -> str:
        lines = ""
        for item in items:
            note = f" {self.comment()}" if self.dice.random() < 0.3 else ""
            lines += f"  {self._value(item)},{note}{self.newline}"
        return f"[{self.newline}{lines}]"


def _flat(value: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flat(item, (*path, key))
        else:
            yield (*path, key), item


def _has_leaves(value: dict[str, Any]) -> bool:
    return all(not isinstance(leaf, dict) for _, leaf in _flat(value, ()))


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(x, dict) for x in value)
