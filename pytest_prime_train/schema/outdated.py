"""Unknown keys that another version of prime-rl knows: what became of them, and since when.

Loaded only for files with unknown keys.
"""

from __future__ import annotations

from typing import Any

from pytest_prime_train.config.resolve import Config, parse_key
from pytest_prime_train.findings import KeyPath, Problem, format_key
from pytest_prime_train.schema.lifetimes import change_of, dotted, names, versions_of
from pytest_prime_train.schema.versions import VERSIONS


def outdated(path: KeyPath, place: str, config: Config) -> Problem | None:
    """What to say of a key that other versions know; ``None`` for one that never was.

    Args:
        path: The unknown key, as the file has it.
        place: Its table in words.
        config: Of the file.
    """
    judging = VERSIONS.index(config.version)
    name = dotted(path)
    mask = versions_of(config.root, name)
    earlier = names(mask & ((1 << judging) - 1))
    if not earlier:
        later = names(mask)
        if not later:
            return None
        return Problem(
            path,
            f"prime-rl {config.version} has no key {str(path[-1])!r} in {place}: "
            f"it came with {later[0]}",
            f"Remove {format_key(path)}, or run prime-rl {later[0]} or newer.",
            id="unknown-key",
        )
    message = (
        f"prime-rl {config.version} has no key {str(path[-1])!r} in {place} any more: "
        f"{earlier[-1]} was the last version to read it"
    )
    change = change_of(config.root, name, config.version)
    if change is None:
        return Problem(path, message, "", id="outdated-key")
    message += f", and since {change.since} {_as_clause(change.message)}"
    key = format_key(path)
    if change.new:
        new = written(change.new, path)
        same_table = new.rpartition(".")[0] == key.rpartition(".")[0]
        cure = f"{'Rename' if same_table else 'Move'} {key} to {new}."
        if type(config.lookup(parse_key(new))) is dict and not _is_table(config, path):
            cure = f"Remove {key}; what it did is settled by the keys of [{new}]."
    elif change.new is None:
        cure = f"Remove {key}."
    else:
        cure = ""
    return Problem(path, message, cure, id="outdated-key")


def _is_table(config: Config, path: KeyPath) -> bool:
    if not config.has_written(path):  # It was moved before it was refused.
        return True
    value: Any = config.raw
    for part in path:
        value = value[part]
    return type(value) in (dict, list)


def _as_clause(sentence: str) -> str:
    """A sentence as the end of another one."""
    text = sentence.rstrip(".")
    first = text.split(" ", 1)[0]
    # Names and abbreviations keep their capitals.
    return text if len(first) > 1 and not first[1:].islower() else text[:1].lower() + text[1:]


def written(key: str, path: KeyPath) -> str:
    """A key as users write it, its elements of arrays numbered as in the path it replaces.

    >>> written("train.source[].env", ("env", 2, "id"))
    'train.source.2.env'
    """
    numbers = [str(part) for part in path if type(part) is int]
    pieces = key.split("[]")
    text = pieces[0]
    for place, piece in enumerate(pieces[1:]):
        text += f".{numbers[place] if place < len(numbers) else 0}{piece}"
    return text
