"""Sentences of rules: the values that a file has, and the key to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_prime_train.findings import Problem, format_key

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Block


def key(block: Block, name: str) -> str:
    """The key that a user changes, dotted from the top of the file."""
    return format_key(block.home(name) if name else block.path())


def said(block: Block, *names: str) -> str:
    """The keys with their values, such as ``max_steps = 5 and seq_len = 2048 (the default)``."""
    from pytest_prime_train.schema.faults import show

    told = []
    for name in names:
        value = block.get(name)
        shown = f"{key(block, name)} = {show(value)}"
        if not is_written(block, name):
            shown = f"{key(block, name)} is not set" if value is None else f"{shown} (the default)"
        elif value is None:
            shown = f'{key(block, name)} = "None"'
        if shown not in told:
            told.append(shown)
    return f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else told[0]


def shown(value: Any) -> str:
    """A value as TOML has it."""
    from pytest_prime_train.schema.faults import show

    return show(value)


def is_written(block: Block, name: str) -> bool:
    """Whether the file writes the key itself, or the shared key that it is taken from."""
    return block.config.has_written(block.home(name))


def broken(block: Block, names: tuple[str, ...], message: str, cure: str) -> Problem:
    """A problem at the first of the keys that the file writes.

    Args:
        block: The part that the names are relative to.
        names: Keys of which a change of any cures the problem, the likeliest first.
        message: What is wrong.
        cure: The exact key and value.
    """
    for name in names:
        if is_written(block, name):
            value = block.get(name)
            part = "key" if type(value) in (dict, list) else "value"
            return Problem(block.home(name), message, cure, "key" if part == "key" else "value")
    return Problem(block.home(names[0]), message, cure)
