"""The settings of a run: each with its value, and where that came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_prime_train.checker import Checker
from pytest_prime_train.config.settings import readers
from pytest_prime_train.report.console import clean

DEFAULT = "default"
"""What is said of a setting that nobody has settled."""

# Where a field of the settings is called otherwise.
_FIELDS = {"prime-rl-version": "version"}
_TABLES = frozenset(("roots", "overlays", "per-file-ignores"))
# What a setting may be called as well.
_SECOND_NAMES = frozenset(("prime-budget",))

COMMAND_LINE = "command line"
"""What is said of a setting that an option gives."""


def settings_of(checker: Checker, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every setting with its name, value and origin.

    Args:
        checker: The run.
        given: Options of the command line, by the names of their settings; those with an empty
            value were not given.
    """
    return [
        {"name": name, "value": value, "origin": origin}
        for name, value, origin in _rows(checker, given)
    ]


def _rows(checker: Checker, given: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    settings = checker.settings
    for name in sorted({*readers(), *given} - _SECOND_NAMES):
        found = getattr(settings, _FIELDS.get(name, name.replace("-", "_")), None)
        value, origin = _plain(name, found), settings.origins.get(name, DEFAULT)
        if given.get(name):
            value, origin = given[name], COMMAND_LINE
        if name == "prime-rl-version" and not value:
            value, origin = checker.schema.version, checker.pin.reason or DEFAULT
        yield name, value if value is not None else "", origin


def _plain(name: str, value: Any) -> Any:
    """A value as JSON has it: pairs of a glob and what it stands for are an object."""
    if name in _TABLES:
        return {key: list(one) if type(one) is tuple else one for key, one in value}
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if type(value) is tuple else value


def render_settings(rows: list[dict[str, Any]], *, as_json: bool) -> str:
    """The settings, one on a line, or as one JSON document; with a last newline."""
    if as_json:
        return json.dumps({"version": 1, "settings": rows}, indent=2) + "\n"
    lines = [
        f"{row['name']} = {clean(json.dumps(row['value'], ensure_ascii=False))}"
        f"  # {clean(row['origin'])}"
        for row in rows
    ]
    return "".join(f"{line}\n" for line in lines)
