"""``case.toml`` beside the configs of a folder: under which circumstances they are to be judged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from pytest_prime_train.facts.names import checked, read_table
from pytest_prime_train.findings import UsageError
from pytest_prime_train.reports import Options

CASE = "case.toml"
"""Name of the file."""

_KEYS = ("root", "version", "facts", "files")


class Case(NamedTuple):
    """What a ``case.toml`` says.

    Attributes:
        root: Program that reads the configs; ``None`` recognises each.
        version: Version of prime-rl that judges; ``None`` for the one that is settled.
        facts: Facts besides the configs.
        files: The configs, as they can be opened; without ``files`` all others of the folder.
    """

    root: str | None
    version: str | None
    facts: Mapping[str, Any]
    files: tuple[str, ...]

    def options(self, options: Options = Options()) -> Options:
        """Options to judge under; those that are given win over the file."""
        return options._replace(
            root=options.root or self.root,
            version=options.version or self.version,
            facts={**self.facts, **options.facts},
        )


def read_fixture(folder: str) -> Case:
    """What the ``case.toml`` of a folder says; a folder without one has no circumstances.

    Raises:
        UsageError: The folder or its ``case.toml`` cannot be read, or that says what it cannot.
    """
    path = os.path.join(folder, CASE)
    if os.path.isfile(path):
        return read_case(path)
    return Case(None, None, {}, _configs(folder))


def read_case(path: str) -> Case:
    """What a ``case.toml`` says.

    Raises:
        UsageError: It cannot be read, or says what it cannot.
    """
    table = read_table(path)
    for key in table:
        if key not in _KEYS:
            from pytest_prime_train.schema.suggest import did_you_mean

            raise UsageError(f"{path}: unknown key {key!r}{did_you_mean(key, _KEYS)}")
    facts = table.get("facts", {})
    if type(facts) is not dict:
        raise UsageError(f"{path}: facts has to be a table, such as facts.gpu_cc = 9.0")
    folder = os.path.dirname(path)
    return Case(
        _text(path, table, "root"),
        _text(path, table, "version"),
        checked(facts, f"{path}: facts"),
        _files(path, table["files"]) if "files" in table else _configs(folder),
    )


def _text(path: str, table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and type(value) is not str:
        raise UsageError(f"{path}: {key} has to be text in quotes")
    return value


def _files(path: str, value: Any) -> tuple[str, ...]:
    if type(value) is not list or not all(type(one) is str for one in value):
        raise UsageError(f"{path}: files has to be an array of file names")
    for name in value:
        if os.path.basename(name) != name or name in ("", ".", ".."):
            raise UsageError(f"{path}: files names {name!r}, which is not in the same folder")
    folder = os.path.dirname(path)
    return tuple(os.path.join(folder, name) for name in value)


def _configs(folder: str) -> tuple[str, ...]:
    try:
        names = sorted(os.listdir(folder or "."))
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror or error}") from error
    return tuple(
        os.path.join(folder, name) for name in names if name.endswith(".toml") and name != CASE
    )
