"""How values and sentences look in what a migration says."""

from __future__ import annotations

from typing import Any

from pytest_prime_train.findings import KeyPath, format_key

_LONGEST = 60


def show(value: Any) -> str:
    """A value as TOML writes it, shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    elif isinstance(value, list):
        text = "[" + ", ".join(show(item) for item in value) + "]"
    elif isinstance(value, dict):
        text = "{ " + ", ".join(f"{key} = {show(item)}" for key, item in value.items()) + " }"
    else:
        text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def clause(sentence: str) -> str:
    """A sentence as the end of another one."""
    text = sentence.rstrip(".")
    first = text.split(" ", 1)[0]
    # Names and abbreviations keep their capitals.
    return text if len(first) > 1 and not first[1:].islower() else text[:1].lower() + text[1:]


def dotted(path: KeyPath) -> str:
    """A key as users know it."""
    return format_key(path)
